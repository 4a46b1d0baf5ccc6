"""Generators and critics of the conditional WGAN-GP: dense, or convolutional.

Generators map (z (B, Z), y (B,)) or, given phases, (z, y, phase (B, 1, F, T)) -> (B, C, F, T) in [-1, 1]; critics map
(x (B, C, F, T), y) or (x, y, phase) -> scores (B,). No critic has batch norm: the penalty is on the gradient of each
clip's score, which may not depend on the other clips (Gulrajani et al. 2017, section 4).
"""

import itertools
import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from generation.models.conditioning import Condition, branch, linear, strided
from generation.models.gan2d import reduced

Phase = Literal["none", "input", "branch"]  # not given; beside the other inputs; through dense layers of its own


class DenseGenerator(nn.Module):
    """Dense layers alone; the condition enters the first."""

    def __init__(
        self,
        n_classes: int,
        *,
        latent: int = 100,
        shape: Sequence[int] = (128, 128),
        channels: int = 1,
        phase: Phase = "none",
        widths: Sequence[int] = (128, 256, 512),
    ) -> None:
        super().__init__()
        self.arguments = {"n_classes": n_classes, "latent": latent, "shape": list(shape), "channels": channels}
        self.arguments |= {"phase": phase, "widths": list(widths)}
        self.latent, self.channels = latent, channels
        given = {"none": None, "input": linear, "branch": branch}[phase]
        self.noise = nn.Linear(latent, widths[0])
        self.condition = Condition(n_classes, widths[0], phase=given and given(shape, widths[0]))
        layers: list[nn.Module] = [nn.LeakyReLU(0.2)]
        for n_in, n_out in itertools.pairwise(widths):
            layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(0.2)]
        layers += [nn.Linear(widths[-1], channels * math.prod(shape)), nn.Tanh()]
        self.layers = nn.Sequential(*layers, nn.Unflatten(1, (channels, *shape)))

    def forward(self, z: Tensor, y: Tensor, *phase: Tensor) -> Tensor:
        return self.layers(self.noise(z) + self.condition(y, *phase))


class DenseCritic(nn.Module):
    """Dense layers of one width, each with dropout; the condition enters the first, the label as a learned picture."""

    def __init__(
        self,
        n_classes: int,
        *,
        shape: Sequence[int] = (128, 128),
        channels: int = 1,
        phase: bool = False,
        width: int = 512,
        widening: int = 1,
        depth: int = 3,
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        width *= widening
        self.pixels = linear((channels, *shape), width)
        given = linear(shape, width) if phase else None
        self.condition = Condition(n_classes, width, phase=given, pixels=math.prod(shape))
        layers: list[nn.Module] = [nn.LeakyReLU(0.2), nn.Dropout(dropout)]
        for _ in range(depth - 1):
            layers += [nn.Linear(width, width), nn.LeakyReLU(0.2), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1), nn.Flatten(0))

    def forward(self, x: Tensor, y: Tensor, *phase: Tensor) -> Tensor:
        return self.layers(self.pixels(x) + self.condition(y, *phase))


class ConvGenerator(nn.Module):
    """Noise and condition make a small map (C, F / 16, T / 16) that transposed convolutions double four times."""

    def __init__(
        self,
        n_classes: int,
        *,
        latent: int = 100,
        shape: Sequence[int] = (128, 128),
        channels: int = 1,
        phase: Phase = "none",
        widths: Sequence[int] = (128, 64, 32, 16),
    ) -> None:
        super().__init__()
        self.arguments = {"n_classes": n_classes, "latent": latent, "shape": list(shape), "channels": channels}
        self.arguments |= {"phase": phase, "widths": list(widths)}
        self.latent, self.channels = latent, channels
        start = (widths[0], *reduced(shape, len(widths)))
        size = math.prod(start)
        given = strided(widths[::-1]) if phase == "input" else branch(shape, size) if phase == "branch" else None
        self.noise = nn.Linear(latent, size)
        self.condition = Condition(n_classes, size, phase=given)
        layers: list[nn.Module] = [nn.Unflatten(1, start), nn.ReLU()]
        for c_in, c_out in itertools.pairwise(widths):
            layers += [nn.ConvTranspose2d(c_in, c_out, 4, 2, 1), nn.BatchNorm2d(c_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1), nn.Tanh())

    def forward(self, z: Tensor, y: Tensor, *phase: Tensor) -> Tensor:
        return self.layers(self.noise(z) + self.condition(y, *phase))


class ConvCritic(nn.Module):
    """Four strided convolutions; the label is one more channel, a learned picture of it, and so is the phase."""

    def __init__(
        self,
        n_classes: int,
        *,
        shape: Sequence[int] = (128, 128),
        channels: int = 1,
        phase: bool = False,
        width: int = 16,
        widening: int = 1,
        depth: int = 4,
        dropout: float = 0.4,
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.condition = Condition(n_classes, math.prod(shape))
        widths = [channels + 1 + phase, *(width * widening * 2**i for i in range(depth))]
        layers: list[nn.Module] = []
        for c_in, c_out in itertools.pairwise(widths):
            layers += [nn.Conv2d(c_in, c_out, 4, 2, 1), nn.LeakyReLU(0.2)]
        layers += [nn.Dropout(dropout), nn.Conv2d(widths[-1], 1, reduced(shape, depth))]
        self.layers = nn.Sequential(*layers, nn.Flatten(0))

    def forward(self, x: Tensor, y: Tensor, *phase: Tensor) -> Tensor:
        label = self.condition(y).view(-1, 1, *self.shape)
        return self.layers(torch.cat([x, label, *phase], dim=1))
