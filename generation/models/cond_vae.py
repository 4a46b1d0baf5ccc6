"""The conditional VAE on spectrograms of labelled sounds (Sohn, Lee & Yan 2015)."""

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from generation.models import linear_gan
from generation.models.layers import with_label


class Encoder(nn.Module):
    """Spectrograms x (B, F, T) of any shape and ordinals y (B,) -> mean and log variance (B, Z) of the posterior.

    A pooling after every convolution halves F and T. The one-hot label is concatenated to the features.
    """

    def __init__(self, n_classes: int, *, latent: int = 10, shape: Sequence[int] = (128, 128)) -> None:
        super().__init__()
        self.n_classes = n_classes
        layers: list[nn.Module] = []
        for c_in, c_out in itertools.pairwise((1, 8, 16, 32, 64)):
            layers += [nn.Conv2d(c_in, c_out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
        self.layers = nn.Sequential(*layers)
        bins, frames = (-(-size // 16) for size in shape)  # four halvings
        self.posterior = nn.Sequential(
            nn.Linear(64 * bins * frames + n_classes, 256), nn.ReLU(), nn.Linear(256, 2 * latent)
        )

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        h = self.layers(x[:, None]).flatten(1)
        mean, log_variance = self.posterior(with_label(h, y, self.n_classes)).chunk(2, dim=1)
        return mean, log_variance


class Decoder(linear_gan.Generator):
    """Noise z (B, Z) and ordinals y (B,) -> spectrograms (B, F, T) in [-1, 1].

    The generator of the linear GAN, with two transposed convolutions and no batch norm.
    """

    def __init__(self, n_classes: int, *, latent: int = 10, shape: Sequence[int] = (128, 128)) -> None:
        super().__init__(n_classes, latent=latent, shape=shape, hidden=256, widths=(32, 16), norm=False)
        self.arguments = {"n_classes": n_classes, "latent": latent, "shape": list(shape)}

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        return super().forward(z, y).squeeze(1)
