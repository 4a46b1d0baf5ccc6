"""The neural vocoder of generation/train_vocoder.py: saved in its run, loaded from there, used on mels."""

import dataclasses
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from generation.models.vocos import Vocos, fixed_noise
from generation.rundir import VOCODER, VOCODER_WEIGHTS
from generation.vocoders.inverse_stft import fades
from generation.vocoders.vocoder import Vocoder
from shared.errors import UserError
from shared.features.spec import FeatureSpec
from shared.files import read_json, replacing, write_json

MELS = ("kind", "sr", "n_fft", "hop_length", "n_mels", "fmin", "fmax", "power", "convention", "scaling")


def save_vocoder(run_dir: Path, network: Vocos, spec: FeatureSpec) -> None:
    """Write vocoder.json and vocoder.safetensors; each file appears complete or not at all."""
    write_json(run_dir / VOCODER, {"arguments": network.arguments, "features": dataclasses.asdict(spec)})
    with replacing(run_dir / VOCODER_WEIGHTS) as temporary:
        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, temporary)


def load_vocoder(run_dir: Path | None) -> tuple[nn.Module, FeatureSpec]:
    """The network of a run, finished or still training, and the spec that it was trained for.

    Raises:
        UserError: no run is given, it has no vocoder, or one that cannot be loaded.
    """
    if run_dir is None:
        raise UserError("--vocoder neural: needs --vocoder-dir RUN, a run of generation/train_vocoder.py")
    if not (run_dir / VOCODER).is_file() or not (run_dir / VOCODER_WEIGHTS).is_file():
        problem = "no trained vocoder; give the run folder that generation/train_vocoder.py wrote"
        raise UserError(f"--vocoder-dir {run_dir}: {problem}")
    try:
        description = read_json(run_dir / VOCODER)
        network = Vocos(**description["arguments"])
        network.load_state_dict(load_file(run_dir / VOCODER_WEIGHTS))
        return network.eval(), FeatureSpec(**description["features"])
    except Exception as error:  # safetensors and torch raise many types for a damaged file
        reason = str(error).strip().split("\n", 1)[0]
        raise UserError(
            f"--vocoder-dir {run_dir}: its vocoder cannot be loaded ({reason}); damaged, or of another version: "
            "train it again"
        ) from error


class NeuralVocoder(Vocoder):
    """Mel spectrograms (B, M, T) -> waveforms (B, N), batched, on any device; equal mels give equal sounds.

    Args:
        path: run of generation/train_vocoder.py.

    Raises:
        UserError: mels that differ, other than in their length, from those it was trained on; or as load_vocoder.
    """

    name, kinds = "neural", ("log_mel",)

    def __init__(self, spec: FeatureSpec, *, device: torch.device | str = "cpu", path: Path | None = None) -> None:
        super().__init__(spec, device=device)
        network, trained = load_vocoder(path)
        wrong = [name for name in MELS if getattr(spec, name) != getattr(trained, name)]
        if wrong:
            known, given = (", ".join(f"{name} {getattr(s, name)}" for name in wrong) for s in (trained, spec))
            raise UserError(f"--vocoder-dir {path}: was trained for {known}, not {given}; use --vocoder auto")
        self.network = network.to(device)
        self.fades = fades(spec).to(device)

    def invert(self, S: Tensor) -> Tensor:
        missing = self.spec.clip_frames - S.shape[-1]  # below 0: padding after the clip
        S = F.pad(S.to(self.fades)[..., : self.spec.clip_frames], (0, max(0, missing)), mode="replicate")
        return self.network(S, fixed_noise(self.network.noise, S), length=self.spec.n_samples) * self.fades
