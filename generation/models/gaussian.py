"""What is known of a class without training: the normal distribution of its spectrograms."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def of_class(table: Tensor, y: Tensor) -> Tensor:
    """Rows of ``table`` (K + 1, ...) for ordinals y (B,), or their mixture for weights y (B, K): (B, ...)."""
    if y.is_floating_point():
        weights = y.view(*y.shape, *[1] * (table.ndim - 1))
        return (weights * table[:-1]).sum(dim=1)
    return table[y]


class Gaussian(nn.Module):
    """Spectrograms (M, T) of each class and, as ordinal K, of all clips: a mean spectrum, and variances around it.

    At each of the F = T // 2 + 1 modulation frequencies, the bands vary independently along M directions. So a draw has
    the spectrum and the texture of its class, and the best linear estimate of a noised clip is a Wiener filter.

    Buffers, computed from training clips by ``objectives.statistics.statistics``:
        mean (K + 1, M), variance (K + 1, F, M), and the directions ``basis`` (F, M, M) of all classes.
    """

    def __init__(self, n_classes: int, shape: Sequence[int]) -> None:
        super().__init__()
        bands, frames = shape
        self.register_buffer("mean", torch.zeros(n_classes + 1, bands))
        self.register_buffer("variance", torch.ones(n_classes + 1, frames // 2 + 1, bands))
        self.register_buffer("basis", torch.eye(bands).repeat(frames // 2 + 1, 1, 1))
        share = torch.full((frames // 2 + 1,), 2.0)  # of a modulation frequency in a band's variance
        share[0] = 1.0
        share[frames // 2 :] = 2.0 - (frames + 1) % 2
        self.register_buffer("share", share / math.prod(shape), persistent=False)

    def set(self, mean: Tensor, variance: Tensor, basis: Tensor) -> None:
        """Copy the statistics of the training clips into the buffers, which have the same shapes."""
        for buffer, value in ((self.mean, mean), (self.variance, variance), (self.basis, basis)):
            buffer.copy_(value)

    def draw(self, noise: Tensor, y: Tensor) -> Tensor:
        """White noise (B, M, T) -> spectrograms (B, M, T) of the classes y."""
        return self._filter(noise, of_class(self.mean, y)[:, :, None], of_class(self.variance, y).sqrt())

    def linear_estimate(self, x_t: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """The best linear estimate of x from x_t = t x + (1 - t) noise (B, M, T) at times t (B, 1, 1)."""
        mean, variance = of_class(self.mean, y)[:, :, None], of_class(self.variance, y)
        gain = t * variance / (t.square() * variance + (1 - t).square())
        return self._filter(x_t.float() - t * mean, mean, gain)

    def remaining(self, t: Tensor, y: Tensor) -> Tensor:
        """The standard deviation of the linear estimate's error at times t (B, 1, 1): (B, 1, 1)."""
        noise, variance = (1 - t).square(), of_class(self.variance, y)
        error = variance * noise / (t.square() * variance + noise)  # of each direction and modulation frequency
        return (error * self.share[:, None]).sum(dim=(1, 2), keepdim=True).sqrt()

    def _filter(self, x: Tensor, mean: Tensor, gain: Tensor) -> Tensor:
        """x (B, M, T) with gains (B, F, M) along the directions, plus ``mean`` (B, M, 1)."""
        with torch.autocast(x.device.type, enabled=False):
            X = torch.view_as_real(torch.fft.rfft(x)).permute(2, 0, 3, 1)  # (F, B, 2, M)
            c = (X.flatten(1, 2) @ self.basis).view(X.shape) * gain.transpose(0, 1)[:, :, None]
            X = (c.flatten(1, 2) @ self.basis.mT).view(X.shape).permute(1, 3, 0, 2).contiguous()
            return mean + torch.fft.irfft(torch.view_as_complex(X), n=x.shape[-1])
