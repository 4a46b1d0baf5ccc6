"""Scales features to the networks' range [-1, 1] and back."""

import dataclasses
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from shared.features.batches import Batches


@dataclasses.dataclass(frozen=True)
class Scaler:
    """Maps [low, high] to [-1, 1] and back.

    Attributes:
        how: "dataset" scales by ``low`` and ``high``; "clip" scales by the extremes of each clip, which loses the
            clip's level, so the inverse uses ``low`` and ``high``; "none" scales nothing.
        low, high: the extremes of the training data.
    """

    how: Literal["dataset", "clip", "none"]
    low: float
    high: float

    @classmethod
    def of(cls, how: Literal["dataset", "clip", "none"], batches: Batches) -> "Scaler":
        """The scaler for these clips, which are read a batch at a time."""
        low, high = np.transpose([(x.min(), x.max()) for x, _ in batches()])
        return cls(how, float(low.min()), float(high.max()))

    def forward(self, S: Tensor) -> Tensor:
        """Features (B, ...) -> input of the networks."""
        if self.how == "none":
            return S
        low, high = torch.tensor(self.low), torch.tensor(self.high)
        if self.how == "clip":
            axes = tuple(range(1, S.ndim))
            low, high = S.amin(dim=axes, keepdim=True), S.amax(dim=axes, keepdim=True)
        return 2 * (S - low) / (high - low).clamp(min=1e-6) - 1

    def mean(self, batches: Batches) -> float:
        """The mean of all clips after scaling."""
        return float(np.mean([self.forward(torch.from_numpy(x)).mean().item() for x, _ in batches()]))

    def inverse(self, x: Tensor) -> Tensor:
        """Output of a network (B, ...) -> features within [low, high]."""
        S = x if self.how == "none" else (x + 1) / 2 * (self.high - self.low) + self.low
        return S.clamp(self.low, self.high)
