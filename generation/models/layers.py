"""Stacks of layers that several networks share, and the concatenation of the label."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm


def dense(widths: Sequence[int]) -> list[nn.Module]:
    """Linear layers from each width to the next, each followed by a leaky ReLU."""
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(0.2)]
    return layers


def halving(channels: Sequence[int], *, norm: bool = False) -> list[nn.Module]:
    """Strided convolutions that halve F and T, each followed by batch norm (if ``norm``) and a leaky ReLU."""
    layers: list[nn.Module] = []
    for c_in, c_out in itertools.pairwise(channels):
        normalised = [nn.BatchNorm2d(c_out)] if norm else []
        layers += [nn.Conv2d(c_in, c_out, 4, 2, 1), *normalised, nn.LeakyReLU(0.2, inplace=True)]
    return layers


class TransposedConvolution(nn.ConvTranspose2d):
    """ConvTranspose2d with the same results, but in training the bias's gradient is computed apart from the kernel's.

    On a CPU, both together take up to twice as long.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        y = F.conv_transpose2d(x, self.weight, stride=self.stride, padding=self.padding)
        return y.add_(self.bias.to(y.dtype)[:, None, None])


def doubling(channels: Sequence[int], *, norm: bool = True) -> list[nn.Module]:
    """Transposed convolutions that double F and T, with batch norm (if ``norm``) and a ReLU between them."""
    layers: list[nn.Module] = [TransposedConvolution(channels[0], channels[1], 4, 2, 1)]
    for c_in, c_out in itertools.pairwise(channels[1:]):
        normalised = [nn.BatchNorm2d(c_in)] if norm else []
        layers += [*normalised, nn.ReLU(inplace=True), TransposedConvolution(c_in, c_out, 4, 2, 1)]
    return layers


def normalise_spectrally(net: nn.Module, *kinds: type[nn.Module]) -> None:
    """Divide the weights of all layers of these kinds by their largest singular value (Miyato et al. 2018)."""
    for layer in [m for m in net.modules() if isinstance(m, kinds)]:
        spectral_norm(layer)


def with_label(x: Tensor, y: Tensor, n_classes: int) -> Tensor:
    """Concatenate the one-hot label: values x (B, D) and ordinals y (B,) -> (B, D + K)."""
    return torch.cat([x, F.one_hot(y, n_classes).to(x.dtype)], dim=1)
