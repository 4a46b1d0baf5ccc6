"""The linear-spectrogram GAN: dense layers and a stack of transposed convolutions against a dense discriminator."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from generation.models.gan2d import OUTPUTS
from generation.models.layers import dense, doubling, normalise_spectrally, with_label


class Generator(nn.Module):
    """Noise z (B, Z) and ordinals y (B,) -> spectrograms (B, 1, F, T).

    Two dense layers make a small map, and transposed convolutions double it until it covers (F, T), which may be of any
    size: the excess is cut off. The dense layers have no batch norm because the last batch may hold a single clip.
    """

    def __init__(
        self,
        n_classes: int,
        *,
        latent: int = 1024,
        shape: Sequence[int] = (1025, 179),
        output: str = "tanh",
        hidden: int = 512,
        widths: Sequence[int] = (64, 32, 16, 8),
        norm: bool = True,
    ) -> None:
        super().__init__()
        self.arguments = {"n_classes": n_classes, "latent": latent, "shape": list(shape), "output": output}
        self.n_classes, self.latent, self.shape = n_classes, latent, tuple(shape)
        self.start = (widths[0], *(-(-size // 2 ** len(widths)) for size in shape))
        self.dense = nn.Sequential(
            nn.Linear(latent + n_classes, hidden), nn.ReLU(), nn.Linear(hidden, math.prod(self.start)), nn.ReLU()
        )
        self.layers = nn.Sequential(*doubling((*widths, 1), norm=norm), OUTPUTS[output]())

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        h = self.dense(with_label(z, y, self.n_classes)).unflatten(1, self.start)
        bands, frames = self.shape
        return self.layers(h)[..., :bands, :frames]


class Discriminator(nn.Module):
    """Spectrograms x (B, 1, F, T) and ordinals y (B,) -> logits (B,), positive for real: dense layers only."""

    def __init__(self, n_classes: int, *, shape: Sequence[int] = (1025, 179), spectral_norm: bool = False) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.layers = nn.Sequential(*dense((math.prod(shape) + n_classes, 256, 64)), nn.Linear(64, 1))
        if spectral_norm:
            normalise_spectrally(self, nn.Linear)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.layers(with_label(x.flatten(1), y, self.n_classes)).flatten()
