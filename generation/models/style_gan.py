"""Generator with styles and noise at every scale, and projection discriminator that scores patches of three sizes.

The residual blocks have no normalisation (R3GAN: Huang et al. 2024); the condition scales their channels, as styles do
in StyleGAN2 (Karras et al. 2020).
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generation.models.gan2d import OUTPUTS, reduced
from generation.models.gaussian import Gaussian
from generation.models.layers import TransposedConvolution, normalise_spectrally

SCALES = 3  # halvings of the spectrogram; 344 frames allow no more
WIDENING = (1, 2, 4, 8)  # channels of each scale as multiples of the width, from the finest to the coarsest
STYLE = 128  # dimensions of the condition: class and global noise
DEPTH = math.sqrt(2 * SCALES)  # damps the last convolution of a block, as there are about this many blocks in a row


def _initialise(net: nn.Module) -> None:
    """He's initial weights for leaky ReLUs, zero biases, and a damped last convolution in every block (Fixup)."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(layer.weight, 0.2, mode="fan_in" if isinstance(layer, nn.Conv2d) else "fan_out")
            if isinstance(layer, nn.ConvTranspose2d):
                layer.weight.data *= 2  # each output sees a quarter of the kernel
            nn.init.zeros_(layer.bias)
    for part in net.modules():
        if isinstance(part, StyledBlock | Block):
            part.second.weight.data /= DEPTH
        elif isinstance(part, Projection):
            part.every.weight.data /= 10


class StyledBlock(nn.Module):
    """A residual block h (B, C, M, T) -> (B, C, M, T), given the style w (B, W) and noise (B, 1, M, T)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.style = nn.Linear(STYLE, 2 * channels)
        self.loudness = nn.Parameter(torch.full((channels, 1, 1), 0.1))  # of the noise, for each channel

    def forward(self, h: Tensor, w: Tensor, noise: Tensor) -> Tensor:
        scale, shift = self.style(w)[..., None, None].chunk(2, dim=1)
        x = self.first(F.leaky_relu(h, 0.2)) * (1 + scale) + shift
        x = x + (self.loudness * noise).to(x.dtype)
        return h + self.second(F.leaky_relu(x, 0.2))


class Generator(nn.Module):
    """Noise z (B, Z) and ordinals y (B,) -> spectrograms (B, 1, M, T).

    The first ``style`` dimensions of z are the global noise. The others are a noise image for each scale, so a sound
    depends on z alone. The network starts from the same values at every frame, so the noise images decide what happens
    when. The finest image becomes a draw from the class's normal distribution, to which the network adds its output:
    untrained, it already makes noise with the class's spectrum and texture.

    Args:
        latent: dimensions of the global noise; ``self.latent`` counts the noise images, too.
        width: channels at the finest scale.
    """

    def __init__(
        self,
        n_classes: int,
        *,
        latent: int = 100,
        shape: Sequence[int] = (80, 344),
        output: str = "none",
        width: int = 24,
    ) -> None:
        super().__init__()
        self.arguments = {"n_classes": n_classes, "latent": latent, "shape": list(shape), "output": output}
        self.arguments["width"] = width
        reduced(shape, SCALES)  # refuses other shapes
        self.sizes = [(shape[0] >> scale, shape[1] >> scale) for scale in range(SCALES, -1, -1)]
        self.style, self.latent = latent, latent + sum(map(math.prod, self.sizes))
        widths = [width * factor for factor in reversed(WIDENING)]
        self.gaussian = Gaussian(n_classes, shape)
        self.classes = nn.Embedding(n_classes, STYLE)
        self.mapping = nn.Sequential(nn.Linear(latent + STYLE, STYLE), nn.LeakyReLU(0.2), nn.Linear(STYLE, STYLE))
        self.start = nn.Parameter(torch.randn(widths[0], self.sizes[0][0], 1))  # the same at all times
        self.start_noise = nn.Parameter(torch.randn(widths[0], 1, 1))
        self.blocks = nn.ModuleList(StyledBlock(channels) for channels in widths)
        self.doublings = nn.ModuleList(TransposedConvolution(a, b, 4, 2, 1) for a, b in pairwise(widths))
        self.layers = nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 3, padding=1), OUTPUTS[output]())
        _initialise(self)
        nn.init.zeros_(self.layers[1].weight)

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        z, *images = z.split([self.style, *map(math.prod, self.sizes)], dim=1)
        drawn = self.gaussian.draw(images.pop().view(-1, *self.sizes[-1]), y)[:, None]
        w = self.mapping(torch.cat([z, self.classes(y)], dim=1))
        h = self.start + self.start_noise * images[0].view(-1, 1, *self.sizes[0])
        h = h.contiguous(memory_format=torch.channels_last)
        for scale, (block, size, image) in enumerate(zip(self.blocks, self.sizes, [*images, drawn], strict=True)):
            if scale:
                h = self.doublings[scale - 1](h)
            h = block(h, w, image.view(-1, 1, *size))
        return self.layers[-1](drawn + self.layers[:-1](h).float())


class Block(nn.Module):
    """A residual block h (B, C, M, T) -> (B, C, M, T)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        return h + self.second(F.leaky_relu(self.first(F.leaky_relu(h, 0.2)), 0.2))


class Projection(nn.Module):
    """Features h (B, C, M, T) and ordinals y (B,) -> a logit for each place (B, M * T): Miyato & Koyama 2018."""

    def __init__(self, n_classes: int, channels: int) -> None:
        super().__init__()
        self.every = nn.Conv2d(channels, 1, 1)
        self.classes = nn.Embedding(n_classes, channels)
        nn.init.normal_(self.classes.weight, std=0.1 * channels**-0.5)

    def forward(self, h: Tensor, y: Tensor) -> Tensor:
        h = F.leaky_relu(h, 0.2)
        return (self.every(h)[:, 0] + torch.einsum("bcmt,bc->bmt", h, self.classes(y))).flatten(1)


class Discriminator(nn.Module):
    """Spectrograms x (B, 1, M, T) and ordinals y (B,) -> logits (B, P) of patches of three sizes, positive for real.

    The smallest patches show texture, the largest half a second. One more map at the coarsest scale is the deviation
    over the batch, so that samples that are all alike give themselves away (Karras et al. 2018).
    """

    def __init__(
        self, n_classes: int, *, shape: Sequence[int] = (80, 344), spectral_norm: bool = False, width: int = 24
    ) -> None:
        super().__init__()
        reduced(shape, SCALES)
        widths = [1, *(width * factor for factor in WIDENING[1:])]
        self.halvings = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in pairwise(widths))
        self.blocks = nn.ModuleList(Block(channels) for channels in widths[1:])
        self.compare = nn.Conv2d(widths[-1] + 1, widths[-1], 3, stride=2, padding=1)
        self.projections = nn.ModuleList(Projection(n_classes, channels) for channels in (*widths[2:], widths[-1]))
        _initialise(self)
        if spectral_norm:
            normalise_spectrally(self, nn.Conv2d)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        """The logits of each size of patch: (B, P) with P places."""
        h, maps = x.contiguous(memory_format=torch.channels_last), []
        for halving, block in zip(self.halvings, self.blocks, strict=True):
            h = block(halving(h))
            maps.append(h)
        deviation = (h.float().var(dim=0, unbiased=False) + 1e-8).sqrt().mean()
        alike = deviation.to(h.dtype).expand(len(h), 1, *h.shape[2:])
        maps.append(self.compare(F.leaky_relu(torch.cat([h, alike], dim=1), 0.2)))
        return tuple(project(h, y) for project, h in zip(self.projections, maps[1:], strict=True))
