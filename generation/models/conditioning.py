"""What a generator or critic is told beside its input: a class and, where it is given one, a phase image of it."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from generation.models.layers import dense, halving


class Condition(nn.Module):
    """Ordinals y (B,) and, with ``phase``, phase images (B, 1, F, T) -> what is added to a layer (B, width).

    To add is to concatenate before a linear layer, but each part begins on a scale of its own: a label beside
    thousands of pixels would hardly be seen.

    Args:
        phase: a net from phase images to (B, width), or None where there are none.
        pixels: what the label is embedded in, before a linear layer makes that (width,): as many values as the input
            has pixels, and it is learned as fast as they are. 0 embeds it in (width,).
    """

    def __init__(self, n_classes: int, width: int, *, phase: nn.Module | None = None, pixels: int = 0) -> None:
        super().__init__()
        self.label, self.phase = nn.Embedding(n_classes, pixels or width), phase
        self.project = nn.Linear(pixels, width) if pixels else nn.Identity()

    def forward(self, y: Tensor, *phase: Tensor) -> Tensor:
        h = nn.functional.embedding(y, self.project(self.label.weight))
        return h if self.phase is None else h + self.phase(*phase)


def linear(shape: Sequence[int], width: int) -> nn.Sequential:
    """Phase images (B, 1, *shape) -> (B, width): as pixels of the input."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), width))


def branch(shape: Sequence[int], width: int) -> nn.Sequential:
    """Phase images (B, 1, *shape) -> (B, width): through dense layers of their own."""
    return nn.Sequential(nn.Flatten(), *dense((math.prod(shape), 256, 128)), nn.Linear(128, width))


def strided(widths: Sequence[int]) -> nn.Sequential:
    """Phase images (B, 1, F, T) -> (B, C * F / 2**n * T / 2**n): through n convolutions that halve, the last C wide."""
    return nn.Sequential(*halving((1, *widths))[:-1], nn.Flatten())
