"""Generators and critics of the conditional WGAN-GP: dense, or convolutional.

Generators map (z (B, Z), y (B,)) or, given phases, (z, y, phase (B, 1, F, T)) -> (B, C, F, T) in [-1, 1]; critics map
(x (B, C, F, T), y) or (x, y, phase) -> scores (B,). No critic has batch norm because the penalty is on the gradient of
each clip's score, which must not depend on the other clips (Gulrajani et al. 2017, section 4).
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from generation.models.conditioning import Condition, branch, linear, strided
from generation.models.gan2d import reduced
from generation.models.layers import dense, doubling, halving

Phase = Literal["none", "input", "branch"]  # not used; as another input; through dense layers of its own


class Generator(nn.Module):
    """Adds projections of noise and condition, and turns the sum into an image (C, F, T).

    A subclass creates ``noise``, ``condition`` and ``layers`` in ``build``; ``WIDTHS`` are its default widths.
    """

    WIDTHS: tuple[int, ...]

    def __init__(
        self,
        n_classes: int,
        *,
        latent: int = 100,
        shape: Sequence[int] = (128, 128),
        channels: int = 1,
        phase: Phase = "none",
        widths: Sequence[int] = (),
    ) -> None:
        super().__init__()
        widths = list(widths or self.WIDTHS)
        self.arguments = {"n_classes": n_classes, "latent": latent, "shape": list(shape), "channels": channels}
        self.arguments |= {"phase": phase, "widths": widths}
        self.latent, self.channels = latent, channels
        self.build(n_classes, (channels, *shape), phase, widths)

    def forward(self, z: Tensor, y: Tensor, *phase: Tensor) -> Tensor:
        return self.layers(self.noise(z) + self.condition(y, *phase))


class DenseGenerator(Generator):
    """Dense layers; the condition enters the first one."""

    WIDTHS = (128, 256, 512)

    def build(self, n_classes: int, image: tuple[int, int, int], phase: Phase, widths: list[int]) -> None:
        given = {"none": None, "input": linear, "branch": branch}[phase]
        self.noise = nn.Linear(self.latent, widths[0])
        self.condition = Condition(n_classes, widths[0], phase=given and given(image[1:], widths[0]))
        layers = [nn.LeakyReLU(0.2), *dense(widths), nn.Linear(widths[-1], math.prod(image)), nn.Tanh()]
        self.layers = nn.Sequential(*layers, nn.Unflatten(1, image))


class ConvGenerator(Generator):
    """Noise and condition form a small map (C, F / 16, T / 16), and transposed convolutions double it four times."""

    WIDTHS = (128, 64, 32, 16)

    def build(self, n_classes: int, image: tuple[int, int, int], phase: Phase, widths: list[int]) -> None:
        start = (widths[0], *reduced(image[1:], len(widths)))
        size = math.prod(start)
        given = strided(widths[::-1]) if phase == "input" else branch(image[1:], size) if phase == "branch" else None
        self.noise = nn.Linear(self.latent, size)
        self.condition = Condition(n_classes, size, phase=given)
        self.layers = nn.Sequential(nn.Unflatten(1, start), nn.ReLU(), *doubling((*widths, image[0])), nn.Tanh())


class DenseCritic(nn.Module):
    """Dense layers of equal width with dropout. The condition enters the first one, the label as a learned image."""

    def __init__(
        self,
        n_classes: int,
        *,
        shape: Sequence[int] = (128, 128),
        channels: int = 1,
        phase: bool = False,
        widening: int = 1,
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        width = 512 * widening
        self.pixels = linear((channels, *shape), width)
        given = linear(shape, width) if phase else None
        self.condition = Condition(n_classes, width, phase=given, pixels=math.prod(shape))
        layers: list[nn.Module] = [nn.LeakyReLU(0.2), nn.Dropout(dropout)]
        for _ in range(2):
            layers += [nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1), nn.Flatten(0))

    def forward(self, x: Tensor, y: Tensor, *phase: Tensor) -> Tensor:
        return self.layers(self.pixels(x) + self.condition(y, *phase))


class ConvCritic(nn.Module):
    """Four strided convolutions. A learned image of the label is another channel, and the phase image one more."""

    def __init__(
        self,
        n_classes: int,
        *,
        shape: Sequence[int] = (128, 128),
        channels: int = 1,
        phase: bool = False,
        widening: int = 1,
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.condition = Condition(n_classes, math.prod(shape))
        widths = [channels + 1 + phase, *(widening * width for width in (16, 32, 64, 128))]
        layers = [*halving(widths), nn.Dropout(dropout), nn.Conv2d(widths[-1], 1, reduced(shape, 4))]
        self.layers = nn.Sequential(*layers, nn.Flatten(0))

    def forward(self, x: Tensor, y: Tensor, *phase: Tensor) -> Tensor:
        label = self.condition(y).view(-1, 1, *self.shape)
        return self.layers(torch.cat([x, label, *phase], dim=1))
