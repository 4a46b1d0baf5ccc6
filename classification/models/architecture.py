"""One description of a network, from which both twins are built."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from shared.features.spec import FeatureSpec

Pooling = Literal["mean", "mean+max", "flatten"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """Blocks of Conv, ReLU, BatchNorm, MaxPool 2; a pooling; dense layers; logits.

    Attributes:
        shape: (M, T) of the input; T is None where any number of frames may come.
        n_classes: K.
        widths: channels of each block.
        kernel: bands and frames each convolution sees.
        pooling: "mean" over bands and frames; "mean+max" of the frames after the mean over bands, added (PANNs,
            Kong et al. 2020); "flatten" keeps every place.
        dense: units of the dense layers before the logits, each followed by dropout.
        dropout: share dropped.
        members: networks side by side, R.
        centre: whether the mean level is taken out of what is seen of a clip.
        standardise: whether every band is shifted and scaled by statistics that are part of the weights.
    """

    shape: tuple[int, int | None]
    n_classes: int
    widths: Sequence[int] = (32, 64, 128)
    kernel: int = 3
    pooling: Pooling = "mean"
    dense: Sequence[int] = (128,)
    dropout: float = 0.3
    members: int = 1
    centre: bool = False
    standardise: bool = False

    @classmethod
    def of(cls, options: Mapping[str, Any], spec: FeatureSpec, n_classes: int) -> "Architecture":
        """From a run's options, as they stand in config.json."""
        names = {field.name for field in dataclasses.fields(cls)} & options.keys()
        frames = spec.shape[1] if options["pooling"] == "flatten" or options["crop"] is None else None
        return cls(shape=(spec.shape[0], frames), n_classes=n_classes, **{name: options[name] for name in names})

    @property
    def flat_shape(self) -> tuple[int, int]:
        """Bands and frames of the last map."""
        bands, frames = self.shape
        blocks = len(self.widths)
        return bands >> blocks, frames >> blocks


@dataclasses.dataclass(frozen=True)
class BandStatistics:
    """Mean and variance of every band over the training clips: float32 (M,)."""

    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, batches: Iterable[np.ndarray], *, centre: bool = False) -> "BandStatistics":
        """From batches of (B, M, T), one in memory at a time; ``centre`` takes out each clip's mean level first."""
        count, total, square = 0, 0.0, 0.0
        for x in batches:
            x = x.astype(np.float64)
            if centre:
                x -= x.mean(axis=(1, 2), keepdims=True)
            count += x.shape[0] * x.shape[2]
            total, square = total + x.sum(axis=(0, 2)), square + (x**2).sum(axis=(0, 2))
        mean = total / count
        variance = np.maximum(square / count - mean**2, 1e-6)  # a band that never changes
        return cls(mean.astype(np.float32), variance.astype(np.float32))
