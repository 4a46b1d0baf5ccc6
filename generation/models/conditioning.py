"""The condition of a generator or critic: a class and, in some experiments, a phase image."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from generation.models.layers import dense, halving


class Condition(nn.Module):
    """Ordinals y (B,) and, with ``phase``, phase images (B, 1, F, T) -> a term (B, width) to add to a layer's output.

    Adding it is the same as concatenating the condition to the input of a linear layer, except that label and phase
    each have their own initial scale. Concatenated, a label would have little effect beside thousands of pixels.

    Args:
        phase: a net from phase images to (B, width), or None without phase images.
        pixels: size of the label's embedding, which a linear layer then maps to (width,). With an embedding as large
            as the input image, the label is learned as fast as the image. With 0 the label is embedded in
            (width,) directly.
    """

    def __init__(self, n_classes: int, width: int, *, phase: nn.Module | None = None, pixels: int = 0) -> None:
        super().__init__()
        self.label, self.phase = nn.Embedding(n_classes, pixels or width), phase
        self.project = nn.Linear(pixels, width) if pixels else nn.Identity()

    def forward(self, y: Tensor, *phase: Tensor) -> Tensor:
        h = nn.functional.embedding(y, self.project(self.label.weight))
        return h if self.phase is None else h + self.phase(*phase)


def linear(shape: Sequence[int], width: int) -> nn.Sequential:
    """Phase images (B, 1, *shape) -> (B, width), by one linear layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), width))


def branch(shape: Sequence[int], width: int) -> nn.Sequential:
    """Phase images (B, 1, *shape) -> (B, width), by dense layers of their own."""
    return nn.Sequential(nn.Flatten(), *dense((math.prod(shape), 256, 128)), nn.Linear(128, width))


def strided(widths: Sequence[int]) -> nn.Sequential:
    """Phase images (B, 1, F, T) -> (B, C * F / 2**n * T / 2**n), by n strided convolutions, the last to C channels."""
    return nn.Sequential(*halving((1, *widths))[:-1], nn.Flatten())
