"""The linear-spectrogram GAN: dense layers and a stack of transposed convolutions against a dense discriminator."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm as normalise

from generation.models.gan2d import OUTPUTS


class Generator(nn.Module):
    """Noise z (B, Z) and ordinals y (B,) -> spectrograms (B, 1, F, T).

    Two dense layers make a small map that transposed convolutions double until it covers (F, T), of any size: what is
    too much is cut. The dense layers have no batch norm: the last batch may be a single clip.
    """

    def __init__(
        self,
        n_classes: int,
        *,
        latent: int = 1024,
        shape: Sequence[int] = (1025, 179),
        hidden: int = 512,
        widths: Sequence[int] = (64, 32, 16, 8),
        output: str = "tanh",
    ) -> None:
        super().__init__()
        self.arguments = {"n_classes": n_classes, "latent": latent, "shape": list(shape), "output": output}
        self.n_classes, self.latent, self.shape = n_classes, latent, tuple(shape)
        factor = 2 ** len(widths)
        self.start = (widths[0], -(-shape[0] // factor), -(-shape[1] // factor))
        self.dense = nn.Sequential(
            nn.Linear(latent + n_classes, hidden),
            nn.ReLU(),
            nn.Linear(hidden, self.start[0] * self.start[1] * self.start[2]),
            nn.ReLU(),
        )
        layers: list[nn.Module] = []
        for c_in, c_out in itertools.pairwise(widths):
            layers += [nn.ConvTranspose2d(c_in, c_out, 4, 2, 1), nn.BatchNorm2d(c_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], 1, 4, 2, 1), OUTPUTS[output]())

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        condition = F.one_hot(y, self.n_classes).to(z.dtype)
        h = self.dense(torch.cat([z, condition], dim=1)).unflatten(1, self.start)
        bands, frames = self.shape
        return self.layers(h)[..., :bands, :frames]


class Discriminator(nn.Module):
    """Spectrograms x (B, 1, F, T) and ordinals y (B,) -> logits (B,), positive for real: dense layers alone."""

    def __init__(
        self,
        n_classes: int,
        *,
        shape: Sequence[int] = (1025, 179),
        hidden: Sequence[int] = (256, 64),
        spectral_norm: bool = False,
    ) -> None:
        super().__init__()
        self.n_classes = n_classes
        sizes = (shape[0] * shape[1] + n_classes, *hidden)
        layers: list[nn.Module] = []
        for n_in, n_out in itertools.pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))
        if spectral_norm:
            for layer in [m for m in self.modules() if isinstance(m, nn.Linear)]:
                normalise(layer)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        condition = F.one_hot(y, self.n_classes).to(x.dtype)
        return self.layers(torch.cat([x.flatten(1), condition], dim=1)).flatten()
