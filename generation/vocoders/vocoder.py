"""The vocoders by name. A vocoder turns spectrograms (B, bands, frames) into waveforms (B, N)."""

from pathlib import Path

import torch
from torch import Tensor

from generation.registry import load
from shared.errors import UserError
from shared.features.spec import FeatureSpec


class Vocoder:
    """The contract: a vocoder is built for one spec, and refuses a spec that it cannot invert.

    A subclass inverts features of its ``kinds`` in ``invert``; mels must be scaled "log1p" or "ln".

    Raises:
        UserError: a spec that it cannot invert, or spectrograms of another shape than the spec's.
    """

    name: str
    kinds: tuple[str, ...]

    def __init__(self, spec: FeatureSpec, *, device: torch.device | str = "cpu") -> None:
        if spec.kind not in self.kinds or (spec.kind == "log_mel" and not spec.keeps_level):
            kinds = " or ".join("log_mel scaled log1p or ln" if kind == "log_mel" else kind for kind in self.kinds)
            given = f"{spec.kind} scaled {spec.scaling}"
            raise UserError(f"--vocoder {self.name}: inverts {kinds}, not {given}; use auto or other --features")
        self.spec, self.device = spec, device

    @torch.no_grad()
    def __call__(self, S: Tensor) -> Tensor:
        """Spectrograms (B, M, T) scaled as ``spec`` says -> waveforms (B, N), N = spec.n_samples, at spec.sr Hz."""
        if S.shape[1:] != self.spec.shape:
            expected = ", ".join(map(str, self.spec.shape))
            raise UserError(f"{self.name} was given shape {tuple(S.shape)}; expected (B, {expected})")
        return self.invert(S)


class Waveform(Vocoder):
    """Waveforms (B, N) -> (B, N), limited to [-1, 1]."""

    name, kinds = "waveform", ("waveform",)

    def invert(self, S: Tensor) -> Tensor:
        return S.float().clamp(-1, 1)


VOCODERS = {  # imported when chosen: torchaudio and librosa are slow to import
    "griffin-lim": "generation.vocoders.griffin_lim:GriffinLimVocoder",
    "torchaudio": "generation.vocoders.torchaudio:TorchaudioVocoder",
    "hifigan": "generation.vocoders.hifigan:HifiGanVocoder",
    "neural": "generation.vocoders.neural:NeuralVocoder",
    "istft": "generation.vocoders.inverse_stft:InverseStft",
    "waveform": "generation.vocoders.vocoder:Waveform",
    "mfcc": "generation.vocoders.griffin_lim:MfccVocoder",
}
AUTO = {
    "log_mel": "griffin-lim",
    "stft": "griffin-lim",
    "amplitude_phase": "istft",
    "waveform": "waveform",
    "mfcc": "mfcc",
}


def make_vocoder(
    name: str,
    spec: FeatureSpec,
    *,
    device: torch.device | str = "cpu",
    iterations: int = 6,
    hifigan_path: Path | None = None,
    vocoder_dir: Path | None = None,
) -> Vocoder:
    """The vocoder of that name for that spec, ready to run.

    Args:
        name: a key of VOCODERS, or "auto" for the default of these features.
        iterations: phase iterations of griffin-lim and mfcc.
        hifigan_path: hifigan's checkpoint or a folder with one; None downloads NVIDIA's published model.
        vocoder_dir: neural's run, which generation/train_vocoder.py wrote.

    Raises:
        UserError: an unknown name, a spec that it cannot invert, or weights that cannot be loaded.
    """
    name = AUTO[spec.kind] if name == "auto" else name
    if name not in VOCODERS:
        raise UserError(f"--vocoder {name}: unknown; choose auto or one of {', '.join(VOCODERS)}")
    if hifigan_path and name != "hifigan":
        raise UserError(f"--hifigan-path {hifigan_path}: --vocoder is {name}; give --vocoder hifigan with it")
    if vocoder_dir and name != "neural":
        raise UserError(f"--vocoder-dir {vocoder_dir}: --vocoder is {name}; give --vocoder neural with it")
    more = {"hifigan": {"path": hifigan_path}, "neural": {"path": vocoder_dir}}.get(name, {})
    if name in ("griffin-lim", "mfcc"):
        more = {"iterations": iterations}
    return load(VOCODERS[name])(spec, device=device, **more)
