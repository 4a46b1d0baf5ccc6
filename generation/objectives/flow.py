"""The objective of conditional flow matching: estimate the clean spectrogram at random times (Lipman et al. 2023)."""

import copy
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional as F

from generation.flow_recipes import FlowOptions
from generation.models.flow_net import FlowNet, Generator
from generation.objectives.trained import Parts, Trained, follow
from generation.registry import load_nets
from generation.scaling import Scaler
from shared.features.batches import Augmentation, Batches
from shared.features.spec import FeatureSpec

PRIOR = 30  # clips of all classes that count beside a class's own, whose variances rest on few recordings
LONGEST = 0.3  # norm of a step's gradient: without a limit, one step in some thousands throws the training back
CURVES = 4  # cosines over the bands that make a smooth change of the spectrum
STEADY = 3  # power of the steadiness that an equaliser's size is proportional to
CENTRE, SPREAD = -1.2, 1.5  # of the logit of the times trained on: what tells classes apart is decided early


def build(options: FlowOptions, spec: FeatureSpec, n_classes: int, batches: Batches, accelerator: Accelerator) -> Parts:
    """The parts of the flow model."""
    scaler = Scaler.of("bands", batches)
    size = {name: getattr(options, name) for name in ("width", "depth", "heads", "dropout")}
    generator = load_nets(options)[0](
        n_classes, shape=spec.shape, steps=options.steps, guidance=options.guidance, **size
    )
    changes = ("gain", "equalise", "blend", "time_shift")
    augment = partial(vary, silence=spec.silence, **{name: getattr(options, name) for name in changes})
    generator.net.set_statistics(*statistics(scaler, batches, n_classes, augment))
    objective = FlowObjective(
        generator.to(accelerator.device),
        scaler,
        accelerator,
        learning_rate=options.learning_rate,
        average=options.average,
        label_dropout=options.label_dropout,
        tolerance=options.overfit,
    )
    return Parts(objective, generator, scaler, augment=augment)


def statistics(
    scaler: Scaler, batches: Batches, n_classes: int, augment: Augmentation
) -> tuple[Tensor, Tensor, Tensor]:
    """What the linear estimate needs of the training clips, augmented, each weighted by how often it is drawn.

    Returns:
        The mean spectra (K + 1, M) of each class and of all clips; the variances (K + 1, F, M) of the modulation
        frequencies, F = T // 2 + 1, along directions (F, M, M) in which the bands of all clips are uncorrelated.
        White noise has the variance 1.
    """
    clips, _ = augment(np.concatenate(list(batches.each_clip())), batches.labels, np.random.default_rng(batches.seed))
    x, y = scaler.forward(torch.from_numpy(clips)), torch.from_numpy(batches.labels)
    drawn = torch.ones(len(x)) if batches.weights is None else torch.from_numpy(batches.weights).float()
    shares = [drawn * (y == k) / drawn[y == k].sum() for k in range(n_classes)] + [drawn / drawn.sum()]
    means = torch.stack([torch.einsum("n,nmt->m", share, x) / x.shape[-1] for share in shares])
    everything = coefficients(x, means[-1]) * shares[-1].sqrt()[:, None]
    basis = torch.linalg.eigh(smooth(torch.stack([(X.mT @ X.conj()).real for X in everything]))).eigenvectors
    of_all = powers(everything, basis).sum(dim=1)
    variances = []
    for share, mean in zip(shares, means, strict=True):
        own = torch.einsum("n,fnm->fm", share, powers(coefficients(x, mean), basis))
        count = 1 / share.square().sum()  # as many clips as would be this certain, if all counted the same
        variances.append(smooth((count * own + PRIOR * of_all) / (count + PRIOR)))
    return means, torch.stack(variances).clamp(min=1e-4), basis


def powers(coefficients: Tensor, basis: Tensor) -> Tensor:
    """The squared magnitudes of complex (F, N, M) along the directions (F, M, M)."""
    return (coefficients @ basis.to(coefficients.dtype)).abs().square()


def coefficients(x: Tensor, mean: Tensor) -> Tensor:
    """The modulation frequencies of clips x (N, M, T) minus their mean spectrum (M,): complex (F, N, M)."""
    return torch.fft.rfft(x - mean[:, None], norm="ortho").permute(2, 0, 1)


def smooth(S: Tensor) -> Tensor:
    """The mean of S (F, ...) over five neighbouring frequencies; the three lowest stay as they are."""
    flat = S.flatten(1).T[None]
    means = F.avg_pool1d(flat, 5, stride=1, padding=2, count_include_pad=False)[0].T.reshape(S.shape)
    return torch.cat([S[:3], means[3:]])


def vary(
    x: np.ndarray,
    y: np.ndarray,
    rng: np.random.Generator,
    *,
    silence: float,
    gain: float,
    equalise: float,
    blend: float,
    time_shift: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """New clips from each clip of x (B, M, T), so that fewer recordings are learned by heart.

    Args:
        silence: the lowest value, which stays as it is.
        gain: a clip's level changes by at most this many dB either way.
        equalise: a steady clip's spectrum changes by a smooth random curve whose root mean square is this many dB, as
            another microphone or place would change it; that of a clip that varies in time by less, because its mean
            spectrum is a smaller part of what can be learned by heart.
        blend: its mean spectrum moves by a random share of up to ``blend`` to that of another clip of its class.
        time_shift: whether clips are rotated by a random number of frames.
    """
    clips, bands, frames = x.shape
    if time_shift:
        places = (rng.integers(frames, size=clips)[:, None] + np.arange(frames)) % frames
        x = np.take_along_axis(x, places[:, None], axis=2)
    curves = np.cos(np.pi * np.arange(1, CURVES + 1)[:, None] * (np.arange(bands) + 0.5) / bands) * (2 / CURVES) ** 0.5
    weights = rng.standard_normal((clips, CURVES))
    weights *= equalise * CURVES**0.5 / np.linalg.norm(weights, axis=1, keepdims=True)
    weights *= steadiness(x)[:, None] ** STEADY
    decibels = rng.uniform(-gain, gain, size=(clips, 1)) + weights @ curves
    nepers = decibels * math.log(10) / 20
    heard = x > silence + 1e-3
    if blend:
        partners = np.empty(clips, dtype=int)
        for label in np.unique(y):
            rows = np.flatnonzero(y == label)
            partners[rows] = rng.choice(rows, size=len(rows))
        mean = np.where(heard, x, 0).sum(axis=2) / np.maximum(heard.sum(axis=2), 1)
        mean = np.where(heard.any(axis=2), mean, np.nan)
        nepers = nepers + rng.uniform(0, blend, size=(clips, 1)) * np.nan_to_num(mean[partners] - mean)
    return np.where(heard, np.maximum(x + nepers.astype(np.float32)[:, :, None], np.float32(silence)), x), y


def steadiness(x: np.ndarray) -> np.ndarray:
    """The share of the variance of each clip of x (B, M, T) that its mean spectrum explains: (B,), 1 if it is steady."""
    return x.mean(axis=2).var(axis=1) / np.maximum(x.var(axis=(1, 2)), 1e-6)


def draw_times(count: int, random: torch.Generator | None = None) -> Tensor:
    """Logit-normal times (B,), one in each of B equally probable intervals, so that batches differ less."""
    u = (torch.randperm(count, generator=random) + torch.rand(count, generator=random)) / count
    return (CENTRE + SPREAD * torch.special.ndtri(u.clamp(1e-4, 1 - 1e-4))).sigmoid()


class FlowObjective(Trained):
    """The squared error of the estimate, divided by that of the linear estimate: 1 means that nothing was learned.

    Args:
        generator: its ``net``, which is sampled, becomes the moving average of the network that is trained.
        average: decay of the moving average, shorter during the first steps.
        label_dropout: share of the clips whose class is hidden, which guidance needs.
        tolerance: stop when the loss on the held-out clips has risen by this share above its lowest value.
    """

    parts = ("net", "adam")

    def __init__(
        self,
        generator: Generator,
        scaler: Scaler,
        accelerator: Accelerator,
        *,
        learning_rate: float = 6e-4,
        average: float = 0.999,
        label_dropout: float = 0.15,
        tolerance: float = 0.05,
        warm_up: int = 100,
    ) -> None:
        super().__init__(accelerator, [copy.deepcopy(generator.net)], lr=learning_rate)
        self.average, self.scaler = generator.net.requires_grad_(False).eval(), scaler
        self.learning_rate, self.warm_up = learning_rate, warm_up
        self.decay, self.label_dropout, self.tolerance = average, label_dropout, tolerance
        self.steps, self.lowest, self.latest = 0, math.inf, math.inf

    def step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """One update on features x (B, M, T) of ordinals y (B,)."""
        self.adam.param_groups[0]["lr"] = self.learning_rate * min(1.0, (self.steps + 1) / self.warm_up)
        t = draw_times(len(x)).to(x.device)
        hidden = torch.rand(len(y), device=y.device) < self.label_dropout
        y = torch.where(hidden, self.average.n_classes, y)
        loss = self.losses(self.net, self.scaler.forward(x), t, y, torch.randn_like(x)).mean()
        self.update(self.adam, loss, longest=LONGEST)
        self.steps += 1
        follow(self.average, self._part("net"), decay=self.decay, steps=self.steps)
        return {"train/loss": loss}

    def losses(self, net: FlowNet, x: Tensor, t: Tensor, y: Tensor, noise: Tensor) -> Tensor:
        """The weighted squared errors (B,) of clean x (B, M, T) at times t (B,) with this noise (B, M, T)."""
        at = t[:, None, None]
        error = (net(at * x + (1 - at) * noise, t, y) - x).square().mean(dim=(1, 2))
        return error / self.average.remaining(at, y)[:, 0, 0].square()

    @property
    def stop_reason(self) -> str:
        if self.latest <= (1 + self.tolerance) * self.lowest:
            return ""
        return f"the loss on held-out clips rose from {self.lowest:.3f} to {self.latest:.3f}: it learns clips by heart"

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> dict[str, float]:
        if self.held_out is None:
            return {}
        self.latest = self.held_out_loss()
        self.lowest = min(self.lowest, self.latest)
        return {"val/loss": self.latest}

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """The average network's loss on the held-out clips, with the same times and noise in every epoch."""
        random, device = torch.Generator().manual_seed(0), self.accelerator.device
        total = 0.0
        for features, labels in self.held_out():
            x, y = self.scaler.forward(torch.from_numpy(features)).to(device), torch.from_numpy(labels).to(device)
            t, noise = draw_times(len(x), random), torch.randn(x.shape, generator=random)
            with self.accelerator.autocast():
                total += self.losses(self.average, x, t.to(device), y, noise.to(device)).sum().item()
        return total / self.held_out.clips

    def state_dict(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("steps", "lowest", "latest")}
        return super().state_dict() | own | {"average": self.average.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.average.load_state_dict(state["average"])
        self.steps, self.lowest, self.latest = (state[name] for name in ("steps", "lowest", "latest"))
