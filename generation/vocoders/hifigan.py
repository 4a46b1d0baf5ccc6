"""HiFi-GAN: mels -> linear magnitude -> the mels it was trained on -> waveform by a trained network."""

from pathlib import Path

import torch
from torch import Tensor

from generation.vocoders.hifigan_checkpoint import PUBLISHED_SPEC, load_generator
from generation.vocoders.inverse_mel import InverseMel
from generation.vocoders.inverse_stft import fades
from generation.vocoders.vocoder import Vocoder
from shared.errors import UserError
from shared.features.spec import FeatureSpec
from shared.features.transforms import mel_filterbank

FLOOR = 1e-5  # mel magnitudes are clamped to this, as in its training
EPSILON = 1e-9  # added to the power before the root, as in meldataset.py of jik876/hifi-gan


class HifiGanVocoder(Vocoder):
    """Mel spectrograms, scaled by "log1p" or "ln", -> waveforms, batched, on any device.

    HiFi-GAN pads a clip by (n_fft - hop) / 2 samples, so that its frame t is centred at sample (t + 1/2) hop, while
    ours is centred at t hop. Our frames are therefore its frames of the same clip delayed by half a hop, and half a hop
    is cut from the beginning of its output.

    Args:
        path: a checkpoint or a folder with one; None downloads NVIDIA's. See hifigan_checkpoint.load_generator.

    Raises:
        UserError: a spec other than "log1p" or "ln" mels of its sampling rate, FFT size and hop; or as load_generator.
    """

    name, kinds = "hifigan", ("log_mel",)

    def __init__(self, spec: FeatureSpec, *, device: torch.device | str = "cpu", path: Path | None = None) -> None:
        super().__init__(spec, device=device)
        names = ("sr", "n_fft", "hop_length")
        ours, needed = (", ".join(f"{name} {getattr(s, name)}" for name in names) for s in (spec, PUBLISHED_SPEC))
        if ours != needed:
            raise UserError(f"--vocoder hifigan: needs {needed}; these spectrograms have {ours}; use griffin-lim")
        self.generator = load_generator(path).to(device)
        self.inverse = InverseMel(spec, device=device)
        self.filterbank = torch.from_numpy(mel_filterbank(PUBLISHED_SPEC)).to(device)  # (M, F)
        self.fades = fades(spec).to(device)

    def invert(self, S: Tensor) -> Tensor:
        start = self.spec.hop_length // 2
        mels = torch.nn.functional.pad(self.mels(S), (0, 1), mode="replicate")  # for the half hop at the end
        return self.generator(mels)[:, 0, start : start + self.spec.n_samples] * self.fades

    def mels(self, S: Tensor) -> Tensor:
        """(B, M, T) mels -> (B, 80, clip_frames) ln(max(mel magnitude, 1e-5)), as jik876's mel_spectrogram."""
        magnitude = (self.inverse(S) ** 2 + EPSILON).sqrt()
        return (self.filterbank @ magnitude).clamp(min=FLOOR).log()
