"""Scales features to the networks' range and back."""

import dataclasses
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from shared.features.batches import Batches

ScalingName = Literal["dataset", "clip", "bands", "none"]


@dataclasses.dataclass(frozen=True)
class Scaler:
    """Maps [low, high] to [-1, 1] and back, or standardises each band.

    Attributes:
        how: "dataset" scales by ``low`` and ``high``; "clip" scales by the extremes of each clip, which loses the
            clip's level, so the inverse uses ``low`` and ``high``; "bands" subtracts each band's mean and divides by
            its standard deviation; "none" scales nothing.
        low, high: the extremes of the training data.
        means, deviations: of each band over the training clips (M,), for "bands".
    """

    how: ScalingName
    low: float
    high: float
    means: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()

    @classmethod
    def of(cls, how: ScalingName, batches: Batches) -> "Scaler":
        """The scaler for these clips, which are read a batch at a time."""
        low, high = np.transpose([(x.min(), x.max()) for x in batches.each_clip()])
        limits = float(low.min()), float(high.max())
        if how != "bands":
            return cls(how, *limits)
        # sums per band in float64 over the clips and frames of spectrograms (B, M, T)
        count, total, squares = 0, 0.0, 0.0
        for x in batches.each_clip():
            x = x.astype(np.float64)
            count, total, squares = count + x[:, 0].size, total + x.sum((0, 2)), squares + np.square(x).sum((0, 2))
        means = total / count
        deviations = np.sqrt(np.maximum(squares / count - means**2, 1e-6))
        return cls(how, *limits, tuple(means.tolist()), tuple(deviations.tolist()))

    def _bands(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Means and deviations (M, 1), on the device of ``like``."""
        values = torch.tensor([self.means, self.deviations], dtype=torch.float32, device=like.device)
        return values[0][:, None], values[1][:, None]

    def forward(self, S: Tensor) -> Tensor:
        """Features (B, ...) -> input of the networks."""
        if self.how == "none":
            return S
        if self.how == "bands":
            means, deviations = self._bands(S)
            return (S - means) / deviations
        low, high = torch.tensor(self.low), torch.tensor(self.high)
        if self.how == "clip":
            axes = tuple(range(1, S.ndim))
            low, high = S.amin(dim=axes, keepdim=True), S.amax(dim=axes, keepdim=True)
        return 2 * (S - low) / (high - low).clamp(min=1e-6) - 1

    def mean(self, batches: Batches) -> float:
        """The mean of all clips after scaling."""
        return float(np.mean([self.forward(torch.from_numpy(x)).mean().item() for x in batches.each_clip()]))

    def inverse(self, x: Tensor) -> Tensor:
        """Output of a network (B, ...) -> features within [low, high]."""
        if self.how == "none":
            S = x
        elif self.how == "bands":
            means, deviations = self._bands(x)
            S = x * deviations + means
        else:
            S = (x + 1) / 2 * (self.high - self.low) + self.low
        return S.clamp(self.low, self.high)
