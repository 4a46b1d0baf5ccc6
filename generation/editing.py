"""What a flow generator can make besides new sounds of a class: mixtures of classes, variations, filled gaps."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from generation.sampling import Sampler
from shared.audio import load_audio
from shared.errors import AudioError, UserError
from shared.features.transforms import TRANSFORMS

FADE_SECONDS = 0.02  # from a recording to the filled gap and back


def weights(label: str, classes: Sequence[str]) -> Tensor | None:
    """The weights (K,) of a mixture such as "siren:0.5,dog_bark:0.5", which add up to 1; None if it is a class.

    Raises:
        UserError: a mixture of unknown classes, or with impossible weights.
    """
    if label in classes or ":" not in label:
        return None
    found = torch.zeros(len(classes))
    for part in label.split(","):
        name, _, share = part.strip().rpartition(":")
        if name not in classes or not re.fullmatch(r"\d*\.?\d+", share):
            raise UserError(
                f"--label {label}: {part} is not CLASS:SHARE with one of the classes {', '.join(classes)}; "
                "an example: siren:0.5,dog_bark:0.5"
            )
        found[classes.index(name)] += float(share)
    if not found.sum() > 0:
        raise UserError(f"--label {label}: the shares are all 0; give at least one above 0")
    return found / found.sum()


@dataclasses.dataclass(frozen=True)
class Edit:
    """A given sound to vary or to fill in.

    Attributes:
        y: the sound (N,) at the generator's sampling rate.
        clean: its scaled spectrogram (M, T).
        start: time of the path at which to begin: 1 minus the strength of the variation.
        gap: start and end in seconds of the part to fill in; None varies the whole sound.
    """

    y: np.ndarray
    clean: Tensor
    start: float
    gap: tuple[float, float] | None

    @classmethod
    def of(cls, sampler: Sampler, path: Path, *, strength: float, gap: tuple[float, float] | None) -> "Edit":
        """Read a sound file for a generator.

        Raises:
            UserError: the generator makes only new sounds, the file cannot be used, or the gap is not inside the sound.
        """
        spec = sampler.vocoder.spec
        if not hasattr(sampler.generator, "guidance"):
            raise UserError(f"--variation-of {path}: only a flow generator varies sounds; train one with train_flow.py")
        if gap is not None and not 0 <= gap[0] < gap[1] <= spec.duration:
            raise UserError(f"--gap {gap[0]:g} {gap[1]:g}: must lie within 0 to {spec.duration:g} s, start first")
        try:
            y = load_audio(path, sr=spec.sr, duration=spec.duration)
        except AudioError as error:
            raise UserError(f"--variation-of {path}: {error}; give another sound file") from error
        S = torch.from_numpy(TRANSFORMS[spec.kind](y, spec))
        device = next(sampler.generator.parameters()).device
        return cls(y, sampler.scaler.forward(S[None])[0].to(device), 0.0 if gap else 1.0 - strength, gap)

    def arguments(self, sampler: Sampler) -> dict[str, object]:
        """Arguments of the generator's forward."""
        kept, spec = None, sampler.vocoder.spec
        if self.gap:
            seconds = torch.arange(self.clean.shape[-1], device=self.clean.device) * spec.hop_length / spec.sr
            kept = (seconds < self.gap[0]) | (seconds > self.gap[1])
        return {"clean": self.clean, "start": self.start, "kept": kept}

    def insert(self, made: np.ndarray, sr: int) -> np.ndarray:
        """The recording with ``made`` (B, N) in its gap, cross-faded; without a gap, ``made`` itself."""
        if not self.gap:
            return made
        seconds = np.arange(made.shape[1]) / sr
        inside = np.minimum(seconds - self.gap[0], self.gap[1] - seconds) / FADE_SECONDS
        share = np.clip(inside + 0.5, 0, 1).astype(np.float32)
        return share * made + (1 - share) * self.y[: made.shape[1]]
