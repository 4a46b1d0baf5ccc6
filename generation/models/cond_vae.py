"""The conditional VAE on spectrograms of labelled sounds (Sohn, Lee & Yan 2015)."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Encoder(nn.Module):
    """Spectrograms x (B, F, T) of any shape and ordinals y (B,) -> mean and log variance (B, Z) of the posterior.

    Every convolution is followed by a pooling that halves the picture; the one-hot label joins the features.
    """

    def __init__(
        self,
        n_classes: int,
        *,
        latent: int = 10,
        shape: Sequence[int] = (128, 128),
        widths: Sequence[int] = (8, 16, 32, 64),
        hidden: int = 256,
    ) -> None:
        super().__init__()
        self.n_classes = n_classes
        layers: list[nn.Module] = []
        for c_in, c_out in itertools.pairwise((1, *widths)):
            layers += [nn.Conv2d(c_in, c_out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
        self.layers = nn.Sequential(*layers)
        bins, frames = (-(-size // 2 ** len(widths)) for size in shape)
        self.posterior = nn.Sequential(
            nn.Linear(widths[-1] * bins * frames + n_classes, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent)
        )

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        h = self.layers(x[:, None]).flatten(1)
        label = F.one_hot(y, self.n_classes).to(h.dtype)
        mean, log_variance = self.posterior(torch.cat([h, label], dim=1)).chunk(2, dim=1)
        return mean, log_variance


class Decoder(nn.Module):
    """Noise z (B, Z) and ordinals y (B,) -> spectrograms (B, F, T) in [-1, 1].

    Dense layers make a map of a quarter of the size, which two transposed convolutions double; what is too much is cut.
    """

    def __init__(
        self,
        n_classes: int,
        *,
        latent: int = 10,
        shape: Sequence[int] = (128, 128),
        widths: Sequence[int] = (32, 16),
        hidden: int = 256,
    ) -> None:
        super().__init__()
        self.arguments = {"n_classes": n_classes, "latent": latent, "shape": list(shape)}
        self.n_classes, self.latent, self.shape = n_classes, latent, tuple(shape)
        self.start = (widths[0], -(-shape[0] // 4), -(-shape[1] // 4))
        self.dense = nn.Sequential(
            nn.Linear(latent + n_classes, hidden),
            nn.ReLU(),
            nn.Linear(hidden, self.start[0] * self.start[1] * self.start[2]),
            nn.ReLU(),
        )
        self.layers = nn.Sequential(
            nn.ConvTranspose2d(widths[0], widths[1], 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(widths[1], 1, 4, 2, 1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        label = F.one_hot(y, self.n_classes).to(z.dtype)
        h = self.dense(torch.cat([z, label], dim=1)).unflatten(1, self.start)
        bins, frames = self.shape
        return self.layers(h)[:, 0, :bins, :frames]
