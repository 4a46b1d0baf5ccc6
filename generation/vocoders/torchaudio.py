"""torchaudio's inversion of mels by InverseMelScale and GriffinLim; the only module that imports torchaudio.

torchaudio 2.11, its last release, loads a C++ extension that is linked against CUDA and so fails to import beside a
CPU-only torch. Its transforms are pure Python, so an empty module replaces the extension, but only if the import fails
with OSError.
"""

import importlib
import sys
import types

import torch
import torch.nn.functional as F
from torch import Tensor

from generation.vocoders.inverse_mel import unscaled
from generation.vocoders.inverse_stft import fades
from generation.vocoders.vocoder import Vocoder
from shared.features.spec import FeatureSpec


def _import_torchaudio() -> types.ModuleType:
    try:
        return importlib.import_module("torchaudio")
    except OSError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
        extension = sys.modules["torchaudio._extension"] = types.ModuleType("torchaudio._extension")
        extension._IS_TORCHAUDIO_EXT_AVAILABLE = extension._IS_ALIGN_AVAILABLE = False
        extension._check_cuda_version = lambda: None
        extension.fail_if_no_align = lambda function: _unavailable
        return importlib.import_module("torchaudio")


def _unavailable(*args: object, **kwargs: object) -> None:
    raise RuntimeError("torchaudio's compiled extension does not load here")


transforms = _import_torchaudio().transforms


class TorchaudioVocoder(Vocoder):
    """Mel spectrograms (B, M, T) in "log1p" or "ln" -> waveforms (B, N), by torchaudio's transforms at their defaults.

    Both run on the CPU, where lstsq has a driver for filterbanks of any rank. GriffinLim starts from random phases with
    a fixed seed.
    """

    name, kinds = "torchaudio", ("log_mel",)

    def __init__(self, spec: FeatureSpec, *, device: torch.device | str = "cpu") -> None:
        super().__init__(spec)
        slaney = spec.convention == "librosa"
        self.fades = fades(spec)
        self.magnitude = transforms.InverseMelScale(
            1 + spec.n_fft // 2,
            spec.n_mels,
            sample_rate=spec.sr,
            f_min=spec.fmin,
            f_max=spec.fmax,
            norm="slaney" if slaney else None,
            mel_scale="slaney" if slaney else "htk",
            driver="gelsd",
        )
        self.griffin_lim = transforms.GriffinLim(
            spec.n_fft, hop_length=spec.hop_length, power=spec.power, length=spec.n_samples
        )

    def invert(self, S: Tensor) -> Tensor:
        mel = unscaled(S.cpu().float()[..., : self.spec.clip_frames], self.spec)
        mel = F.pad(mel, (0, 1 + self.spec.n_samples // self.spec.hop_length - mel.shape[-1]))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.griffin_lim(self.magnitude(mel)) * self.fades
