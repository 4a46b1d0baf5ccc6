"""Conditional flow matching on log-mels: the network that estimates the clean spectrogram, and the generator around it.

x_t = t x + (1 - t) noise leads from noise (t = 0) to a clean spectrogram (t = 1): Lipman et al. 2023. The network
estimates x from x_t, t and the class.
"""

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from generation.models.gaussian import Gaussian, of_class
from shared.runs.loop import bfloat16_pays

CHUNK = 16  # sounds made together
LONGER = 2.0  # largest ratio of a step to the one before, so that no estimate is extrapolated far
GUIDED = 0.02, 0.9  # times between which guidance acts (Kynkäänniemi et al. 2024); elsewhere it costs variety


class Block(nn.Module):
    """A transformer block with scale, shift and gates given by the condition (Peebles & Xie 2023: adaLN-Zero).

    Dropout sets channels of the gates to zero, the same for all tokens of a clip: drawn for each token, it would take
    a tenth of a step.
    """

    def __init__(self, width: int, *, heads: int, condition: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = nn.Linear(condition, 6 * width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.drop = nn.Dropout(dropout)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        nn.init.ones_(self.modulation.bias.data.view(6, width)[2::3])  # open gates: a short training needs them

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        """Tokens h (B, L, D), condition c (B, C) -> (B, L, D)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(c)[:, None].chunk(6, dim=-1)
        q, k, v = self.qkv(modulate(h, shift1, scale1)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        h = h + self.drop(gate1) * self.out(attention(q, k, v).transpose(1, 2).flatten(2))
        return h + self.drop(gate2) * self.mlp(modulate(h, shift2, scale2))


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention of (B, heads, L, D). For so few tokens, torch's fused kernel is slower on a CPU."""
    if q.is_cuda:
        return F.scaled_dot_product_attention(q, k, v)
    return (q * q.shape[-1] ** -0.5 @ k.mT).softmax(dim=-1).to(v.dtype) @ v


def modulate(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return torch.addcmul(shift, F.layer_norm(h, h.shape[-1:]), 1 + scale)


class LocalBlock(nn.Module):
    """Two 3 x 3 convolutions on patches h (B, rows, L, C), with scale, shift and gate given by the condition."""

    def __init__(self, channels: int, *, condition: int) -> None:
        super().__init__()
        self.modulation = nn.Linear(condition, 3 * channels)
        self.convolutions = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        nn.init.ones_(self.modulation.bias.data.view(3, channels)[2])

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        shift, scale, gate = self.modulation(c)[:, None, None].chunk(3, dim=-1)
        residual = modulate(h, shift, scale).permute(0, 3, 1, 2)
        for number, convolution in enumerate(self.convolutions):
            residual = convolution(F.silu(residual) if number else residual)
        return h + gate * residual.permute(0, 2, 3, 1)


class FlowNet(nn.Module):
    """Noised spectrograms x_t (B, M, T), times t (B,) and ordinals y (B,) -> estimates of the clean x (B, M, T).

    Ordinal K stands for an unknown class. The spectrogram is cut into patches. Convolutions on the patches' grid find
    what is local in time and frequency (a burst, a harmonic); between them, a transformer with one token for each
    column of patches finds the course over time and the spectrum as a whole.

    The estimate starts from the best linear one of the class's normal distribution (``Gaussian``). The network sees it
    and adds its output, scaled to about unit variance at every t (as in Karras et al. 2022, EDM, where the linear part
    is one number). So an untrained network already makes noise with the class's spectrum and texture, and a short
    training is spent on what tells sounds from such noise.

    Args:
        shape: (M, T), divisible by ``patch``, the bands and frames of one.
        channels: of the convolutions.
        local_depth: blocks of convolutions before the transformer, and as many after it.
    """

    def __init__(
        self,
        n_classes: int,
        *,
        shape: Sequence[int],
        width: int = 256,
        depth: int = 4,
        heads: int = 4,
        patch: Sequence[int] = (2, 4),
        channels: int = 64,
        local_depth: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        bands, frames = shape
        self.n_classes, self.patch, self.rows = n_classes, tuple(patch), bands // patch[0]
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(n_classes + 1, width)
        self.stem = nn.Linear(2 * math.prod(patch), channels)
        self.row = nn.Parameter(0.3 * torch.randn(self.rows, 1, channels))
        self.before, self.after = (
            nn.ModuleList(LocalBlock(channels, condition=width) for _ in range(local_depth)) for _ in range(2)
        )
        self.into, self.back = nn.Linear(self.rows * channels, width), nn.Linear(width, self.rows * channels)
        self.blocks = nn.ModuleList(Block(width, heads=heads, condition=width, dropout=dropout) for _ in range(depth))
        self.modulation, self.last_modulation = nn.Linear(width, 2 * width), nn.Linear(width, 2 * channels)
        self.last = nn.Linear(channels, math.prod(patch))
        for layer in (self.modulation, self.last_modulation, self.last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.label.weight, std=0.3)  # about as large as the times' part
        self.gaussian = Gaussian(n_classes, shape)
        positions = torch.linspace(0, 1, frames // patch[1])
        self.register_buffer("positions", sinusoids(positions, width), persistent=False)

    def forward(self, x_t: Tensor, t: Tensor, y: Tensor) -> Tensor:
        t = t[:, None, None]
        scale = (t.square() + (1 - t).square()).sqrt()  # the standard deviation of x_t
        linear = self.gaussian.linear_estimate(x_t, t, y)
        output = self.output(torch.cat([x_t / scale, linear], dim=1), t[:, 0, 0], y).float()
        return linear + self.gaussian.remaining(t, y) * output

    def output(self, x: Tensor, t: Tensor, y: Tensor) -> Tensor:
        """The network itself: x_t of unit variance and its linear estimate, together x (B, 2 M, T), -> (B, M, T)."""
        c = F.silu(self.time(sinusoids(t, self.time[0].in_features)) + of_class(self.label.weight, y))
        bands, frames = self.patch
        patches = x.unflatten(1, (2, self.rows, bands)).unflatten(-1, (-1, frames)).permute(0, 2, 4, 1, 3, 5)
        detail = self.stem(patches.flatten(3))  # (B, rows, L, C)
        detail = detail + self.row.to(detail.dtype)
        for block in self.before:
            detail = block(detail, c)
        h = self.into(detail.transpose(1, 2).flatten(2)) + self.positions.to(detail.dtype)  # (B, L, D)
        for block in self.blocks:
            h = block(h, c)
        h = self.back(modulate(h, *self.modulation(c)[:, None].chunk(2, dim=-1)))
        h = detail + h.unflatten(2, (self.rows, -1)).transpose(1, 2)
        for block in self.after:
            h = block(h, c)
        h = self.last(F.silu(modulate(h, *self.last_modulation(c)[:, None, None].chunk(2, dim=-1))))
        return h.unflatten(3, self.patch).permute(0, 1, 3, 2, 4).flatten(3).flatten(1, 2)


def sinusoids(t: Tensor, width: int) -> Tensor:
    """Times or positions t (N,) in [0, 1] -> (N, width)."""
    angles = t[:, None] * torch.exp(torch.linspace(0, math.log(1000), width // 2, device=t.device))
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Generator(nn.Module):
    """Noise z (B, M T) and a class each, y (B,) or weights (B, K), -> scaled log-mels (B, 1, M, T).

    Each step goes towards an estimate of the clean spectrogram that is extrapolated from this and the last evaluation:
    DPM-Solver++(2M) (Lu et al. 2022). Euler's method with as many steps loses 14 % of the spread of spectra.

    Attributes:
        steps: evaluations from noise to spectrogram.
        guidance: factor on the difference that the class makes (Ho & Salimans 2022); 1 is no guidance.
    """

    def __init__(self, n_classes: int, *, shape: Sequence[int], steps: int = 32, guidance: float = 3.0, **net) -> None:
        super().__init__()
        self.arguments = {"n_classes": n_classes, "shape": list(shape), "steps": steps, "guidance": guidance, **net}
        self.net = FlowNet(n_classes, shape=shape, **net)
        self.shape, self.latent, self.steps, self.guidance = tuple(shape), math.prod(shape), steps, guidance

    def forward(
        self, z: Tensor, y: Tensor, *, clean: Tensor | None = None, start: float = 0.0, kept: Tensor | None = None
    ) -> Tensor:
        """With a ``clean`` spectrogram (M, T), make variations of it.

        Args:
            start: time at which the path begins, from the noised ``clean``: 0 keeps nothing of it, 1 everything.
            kept: frames (T,) that stay as in ``clean``; the others are filled in.
        """
        how = {"clean": clean, "start": start, "kept": kept}
        with torch.autocast(z.device.type, torch.bfloat16, enabled=bfloat16_pays(z.device)):
            return torch.cat(
                [self._integrate(*part, **how) for part in zip(z.split(CHUNK), y.split(CHUNK), strict=True)]
            ).float()

    def _integrate(self, z: Tensor, y: Tensor, *, clean: Tensor | None, start: float, kept: Tensor | None) -> Tensor:
        z = z.unflatten(1, self.shape)
        x = z if clean is None else start * clean + (1 - start) * z
        u = torch.linspace(0, 1, self.steps + 1)
        grid = u.square() / (u.square() + (1 - u).square())  # small steps at the start, for the course, and at the end
        times = [t for t in grid.tolist() if t > start]
        before, last = 0.0, x
        for t, following in itertools.pairwise([start, *times]):
            found, further = self.estimate(x, t, y), 0.0  # the first and the last step do not extrapolate
            if before > 0 and following < 1:
                further = min((logit(following) - logit(t)) / (logit(t) - logit(before)), LONGER) / 2
            x = x + (following - t) / (1 - t) * (found + further * (found - last) - x)
            before, last = t, found
            if kept is not None:  # as in RePaint (Lugmayr et al. 2022), without its repetitions
                x = torch.where(kept, following * clean + (1 - following) * z, x)
        return x[:, None]

    def estimate(self, x: Tensor, t: float, y: Tensor) -> Tensor:
        """The clean spectrogram that x (B, M, T) of time t leads to, with guidance."""
        at = x.new_full((len(x),), t)
        clean = self.net(x, at, y)
        if self.guidance == 1 or not GUIDED[0] <= t <= GUIDED[1]:
            return clean
        unknown = self.net(x, at, torch.full((len(x),), self.net.n_classes, device=x.device))
        return unknown + self.guidance * (clean - unknown)


def logit(t: float) -> float:
    """Half the logarithm of the signal-to-noise ratio at the time t, on whose scale the solver measures its steps."""
    return math.log(t / (1 - t))
