"""The description of a network from which the Keras and the PyTorch model are both built."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

import numpy as np

from shared.features.spec import FeatureSpec
from shared.search import Between, OneOf

Pooling = Literal["mean", "mean+max", "flatten"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """Blocks of Conv, ReLU, BatchNorm, MaxPool 2; a pooling; dense layers with dropout; logits.

    "mean+max" pooling averages over bands, then adds the mean and the maximum over frames (PANNs, Kong et al. 2020).
    """

    widths: Annotated[tuple[int, ...], OneOf(((16, 32, 64), (32, 64, 128), (16, 32, 64, 128)))] = (32, 64, 128)
    """Channels of the convolutional blocks; each block halves bands and frames. None for a head on embeddings."""
    kernel: int = 3
    """Width of a convolution, in bands and in frames."""
    pooling: Annotated[Pooling, OneOf(("mean", "mean+max"))] = "mean"
    """How the last feature map becomes a vector: mean, mean+max (over frames, after the mean over bands) or flatten."""
    dense: tuple[int, ...] = (128,)
    """Units of the dense layers before the logits."""
    dropout: Annotated[float, Between(0.0, 0.7)] = 0.3
    """Share of the dense layers' activations dropped while training."""
    members: int = 1
    """Networks trained side by side whose probabilities are averaged."""
    centre: Annotated[bool, OneOf((False, True))] = False
    """Subtract each clip's mean level, which makes the model level-invariant."""
    standardise: Annotated[bool, OneOf((False, True))] = False
    """Shift and scale every band by its mean and deviation over the training clips."""


@dataclasses.dataclass(frozen=True)
class Network:
    """An architecture with the input and output sizes of given data.

    Attributes:
        shape: (M, T) of the input; T is None if the network takes any number of frames.
        n_classes: K.
    """

    architecture: Architecture
    shape: tuple[int, int | None]
    n_classes: int

    @classmethod
    def of(cls, architecture: Architecture, spec: FeatureSpec, n_classes: int, *, crop: float | None) -> "Network":
        """The network for clips of ``spec``; with ``crop`` (seconds) it takes any number of frames unless flattened."""
        any_length = crop is not None and architecture.pooling != "flatten"
        return cls(architecture, (spec.shape[0], None if any_length else spec.shape[1]), n_classes)

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the Keras and the PyTorch constructor."""
        return {"shape": self.shape, "n_classes": self.n_classes} | vars(self.architecture)

    @property
    def linear(self) -> bool:
        return not self.architecture.widths and not self.architecture.dense

    @property
    def pooled(self) -> int:
        """The number of inputs of a member's dense layers."""
        arch = self.architecture
        area = math.prod(flat_shape(self.shape, arch.widths)) if arch.pooling == "flatten" else 1
        return (1, *arch.widths)[-1] * area

    @property
    def embedding(self) -> int:
        """The number of inputs of all members' last layers."""
        arch = self.architecture
        return arch.members * (arch.dense[-1] if arch.dense else self.pooled)


def flat_shape(shape: tuple[int, int | None], widths: Sequence[int]) -> tuple[int, int]:
    """Bands and frames of the last feature map."""
    bands, frames = shape
    return bands >> len(widths), frames >> len(widths)


@dataclasses.dataclass(frozen=True)
class BandStatistics:
    """Mean and variance of every band over the training clips: float32 (M,)."""

    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, batches: Iterable[np.ndarray], *, centre: bool = False) -> "BandStatistics":
        """From batches (B, M, T), one in memory at a time; ``centre`` first subtracts each clip's mean level."""
        count, total, square = 0, 0.0, 0.0
        for x in batches:
            x = x.astype(np.float64)
            if centre:
                x -= x.mean(axis=(1, 2), keepdims=True)
            count += x.shape[0] * x.shape[2]
            total, square = total + x.sum(axis=(0, 2)), square + (x**2).sum(axis=(0, 2))
        mean = total / count
        variance = np.maximum(square / count - mean**2, 1e-6)  # a constant band must not be divided by 0
        return cls(mean.astype(np.float32), variance.astype(np.float32))
