"""Generator and discriminator of the conditional DCGAN on spectrograms."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generation.models.layers import doubling, halving, normalise_spectrally, with_label
from shared.errors import UserError

OUTPUTS = {"tanh": nn.Tanh, "relu": nn.ReLU, "none": nn.Identity}


def reduced(shape: Sequence[int], layers: int) -> tuple[int, int]:
    """(M, T) after ``layers`` halvings."""
    factor = 2**layers
    if any(size % factor for size in shape):
        raise UserError(f"spectrogram shape {tuple(shape)}: bands and frames must be divisible by {factor}")
    return shape[0] // factor, shape[1] // factor


def _initialise(net: nn.Module) -> None:
    """DCGAN's initial weights (Radford et al. 2015): N(0, 0.02), batch-norm scales N(1, 0.02), zero biases.

    With torch's weights the discriminator wins within one epoch, and the generator's gradient vanishes. Linear layers,
    which DCGAN does not have, keep torch's: at 0.02 the label would have little effect beside the spectrogram.
    """
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
            nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)


@torch.no_grad()
def initialise_level(generator: nn.Module, level: float) -> None:
    """Set the last bias so that the untrained generator's output has the mean ``level``.

    Spectrograms are mostly quiet, and with a small learning rate a GAN hardly reaches their level from the middle of
    the range. The output of a tanh starts within +-0.999, where it still has a gradient.
    """
    *_, last, activation = generator.layers
    last.bias.fill_(math.atanh(max(-0.999, min(level, 0.999))) if isinstance(activation, nn.Tanh) else level)


class Generator(nn.Module):
    """Noise z (B, Z) and ordinals y (B,) -> spectrograms (B, 1, M, T), with tanh in [-1, 1].

    Noise and one-hot label are concatenated and projected to (C, M / 16, T / 16); four layers then double both sizes.
    """

    def __init__(
        self, n_classes: int, *, latent: int = 100, shape: Sequence[int] = (128, 512), output: str = "tanh"
    ) -> None:
        super().__init__()
        self.arguments = {"n_classes": n_classes, "latent": latent, "shape": list(shape), "output": output}
        self.n_classes, self.latent = n_classes, latent
        self.start = (256, *reduced(shape, 4))
        self.project = nn.Linear(latent + n_classes, math.prod(self.start))
        self.layers = nn.Sequential(*doubling((256, 128, 64, 32, 1)), OUTPUTS[output]())
        _initialise(self)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        h = self.project(with_label(z, y, self.n_classes))
        return self.layers(h.unflatten(1, self.start).contiguous(memory_format=torch.channels_last))


class Discriminator(nn.Module):
    """Spectrograms x (B, 1, M, T) and ordinals y (B,) -> logits (B,), positive for real.

    The second input channel is a learned (M, T) image of the one-hot label.
    """

    def __init__(self, n_classes: int, *, shape: Sequence[int] = (128, 512), spectral_norm: bool = False) -> None:
        super().__init__()
        self.n_classes, self.shape = n_classes, tuple(shape)
        self.condition = nn.Linear(n_classes, math.prod(shape))
        layers = halving((2, 32)) + halving((32, 64, 128, 256), norm=True)
        self.layers = nn.Sequential(*layers, nn.Conv2d(256, 1, reduced(shape, 4)))
        _initialise(self)
        if spectral_norm:
            normalise_spectrally(self, nn.Conv2d, nn.Linear)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        condition = self.condition(F.one_hot(y, self.n_classes).to(x.dtype)).view(-1, 1, *self.shape)
        h = torch.cat([x.to(condition.dtype), condition], dim=1).contiguous(memory_format=torch.channels_last)
        return self.layers(h).flatten()
