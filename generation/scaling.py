"""How features become a network's [-1, 1] and come back."""

import dataclasses
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from shared.features.batches import Batches


@dataclasses.dataclass(frozen=True)
class Scaler:
    """[low, high] <-> [-1, 1].

    Attributes:
        how: "dataset" scales by the data's extremes; "clip" by each clip's own, whose level is then lost, so the way
            back uses the data's; "none" changes nothing.
        low, high: the extremes of the training data.
    """

    how: Literal["dataset", "clip", "none"]
    low: float
    high: float

    @classmethod
    def of(cls, how: Literal["dataset", "clip", "none"], batches: Batches) -> "Scaler":
        """The extremes of all clips, read a batch at a time."""
        low, high = np.transpose([(x.min(), x.max()) for x, _ in batches()])
        return cls(how, float(low.min()), float(high.max()))

    def forward(self, S: Tensor) -> Tensor:
        """Features (B, ...) -> what the networks see."""
        if self.how == "none":
            return S
        low, high = torch.tensor(self.low), torch.tensor(self.high)
        if self.how == "clip":
            axes = tuple(range(1, S.ndim))
            low, high = S.amin(dim=axes, keepdim=True), S.amax(dim=axes, keepdim=True)
        return 2 * (S - low) / (high - low).clamp(min=1e-6) - 1

    def mean(self, batches: Batches) -> float:
        """The mean of all clips as the networks see them."""
        return float(np.mean([self.forward(torch.from_numpy(x)).mean().item() for x, _ in batches()]))

    def inverse(self, x: Tensor) -> Tensor:
        """(B, ...) of a network -> features within [low, high]."""
        S = x if self.how == "none" else (x + 1) / 2 * (self.high - self.low) + self.low
        return S.clamp(self.low, self.high)
