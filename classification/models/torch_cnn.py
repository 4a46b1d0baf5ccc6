"""The CNN in PyTorch, layer for layer the twin of keras_cnn.py."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from classification.models.architecture import Architecture, BandStatistics, flat_shape


class CNN(nn.Module):
    """(B, M, T) log-mels in dB -> every member's logits (B, R, K); ``log_probabilities`` are their mean's, (B, K).

    Batch norm has Keras's epsilon, 1e-3; the twin's momentum of 0.9 is 0.1 here, counted from the other end.

    Args:
        shape: (M, T); T may be None.
        statistics: what ``standardise`` shifts and scales the bands by.
        architecture: the fields of ``Architecture``.
    """

    def __init__(
        self,
        *,
        shape: tuple[int, int | None],
        n_classes: int,
        statistics: BandStatistics | None = None,
        **architecture: Any,
    ) -> None:
        super().__init__()
        self.arch = arch = Architecture(**architecture)
        if arch.standardise:
            zeros = np.zeros(shape[0], dtype=np.float32)
            statistics = statistics or BandStatistics(zeros, zeros + 1)
            self.register_buffer("mean", torch.tensor(statistics.mean)[:, None])
            self.register_buffer("variance", torch.tensor(statistics.variance)[:, None])
        self.members = nn.ModuleList(Member(arch, shape, n_classes) for _ in range(arch.members))

    def forward(self, x: Tensor) -> Tensor:
        x = self._levelled(x)
        return torch.stack([member(x) for member in self.members], dim=1)

    def _levelled(self, x: Tensor) -> Tensor:
        """What the members see: (B, M, T) -> (B, 1, M, T)."""
        if self.arch.centre:
            x = x - x.mean(dim=(1, 2), keepdim=True)
        if self.arch.standardise:
            x = (x - self.mean) / self.variance.sqrt()
        return x[:, None]

    def features(self, x: Tensor) -> Tensor:
        """What every member's last layer is given, side by side: (B, M, T) -> (B, D)."""
        x = self._levelled(x)
        return torch.cat([member.head[:-1](member.pooled(x)) for member in self.members], dim=1)

    def log_probabilities(self, x: Tensor) -> Tensor:
        return self(x).float().log_softmax(dim=2).logsumexp(dim=1) - math.log(len(self.members))


class Member(nn.Module):
    """One network: standardised (B, 1, M, T) -> logits (B, K)."""

    def __init__(self, arch: Architecture, shape: tuple[int, int | None], n_classes: int) -> None:
        super().__init__()
        self.pooling, self.blocks, self.head = arch.pooling, nn.Sequential(), nn.Sequential()
        size = 1
        for width in arch.widths:
            norm = nn.BatchNorm2d(width, eps=1e-3, momentum=0.1)
            self.blocks.extend([nn.Conv2d(size, width, arch.kernel, padding="same"), nn.ReLU(), norm, nn.MaxPool2d(2)])
            size = width
        if arch.pooling == "flatten":
            size *= math.prod(flat_shape(shape, arch.widths))
        for units in arch.dense:
            self.head.extend([nn.Linear(size, units), nn.ReLU(), nn.Dropout(arch.dropout)])
            size = units
        self.head.append(nn.Linear(size, n_classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pooled(x))

    def pooled(self, x: Tensor) -> Tensor:
        """What the dense layers are given: (B, C), or with "flatten" (B, C M' T')."""
        h = self.blocks(x)  # (B, C, M', T')
        if self.pooling == "mean":
            return h.mean(dim=(2, 3))
        if self.pooling == "mean+max":
            h = h.mean(dim=2)  # (B, C, T')
            return h.mean(dim=2) + h.amax(dim=2)
        return h.flatten(1)
