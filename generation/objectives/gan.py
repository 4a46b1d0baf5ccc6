"""The conditional GAN's objective (Goodfellow et al. 2014; Mirza & Osindero 2014): discriminator, then generator."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from generation.models.gan2d import initialise_level
from generation.objectives.adversarial import LOSSES, as_logits, augment, mean_loss, squared_gradient
from generation.objectives.statistics import drawn_shares, statistics
from generation.objectives.trained import Parts, Trained
from generation.recipes import CganOptions
from generation.registry import load_nets
from generation.scaling import Scaler
from shared.features.augment import mask_stripe
from shared.features.batches import Augmentation, Batches
from shared.features.spec import FeatureSpec
from shared.runs.ranks import Share


def build(options: CganOptions, spec: FeatureSpec, n_classes: int, batches: Batches, accelerator: Accelerator) -> Parts:
    """The parts of the (conditional) GAN on spectrograms."""
    make_generator, make_discriminator = load_nets(options)
    scaler = Scaler.of(options.scaling, batches)
    size = {"width": options.width} if options.net == "style" else {}
    generator = make_generator(n_classes, latent=options.latent, shape=spec.shape, output=options.output, **size)
    if options.net == "style":
        x = scaler.forward(torch.from_numpy(np.concatenate(list(batches.each_clip()))))
        generator.gaussian.set(*statistics(x, torch.from_numpy(drawn_shares(batches, n_classes))))
    else:
        initialise_level(generator, scaler.mean(batches))
    objective = GanObjective(
        generator,
        make_discriminator(n_classes, shape=spec.shape, spectral_norm=options.spectral_norm, **size),
        scaler,
        accelerator,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        momentum=options.momentum,
        loss=options.loss,
        penalty=options.penalty,
        penalty_every=options.penalty_every,
        augment=augment if options.augment else None,
        average=options.average,
    )
    return Parts(objective, objective.sampled, scaler, augment=masks(options, spec))


def masks(options: CganOptions, spec: FeatureSpec) -> Augmentation | None:
    """The augmentation of --masking: silence a stripe of bands and one of frames in each clip of (B, M, T)."""
    if not options.masking:
        return None

    def mask(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        for axis, widest in ((1, options.frequency_mask), (2, options.time_mask)):
            x = mask_stripe(x, axis, widest, rng, fill=spec.silence)
        return x, y

    return mask


class GanObjective(Trained):
    """Every step updates the discriminator, then the generator.

    Args:
        generator: (z (B, Z), y (B,)) -> (B, 1, M, T); ``latent`` is Z.
        discriminator: (x (B, 1, M, T), y (B,)) -> logits (B,), or a tuple of logits (B, P) of patches.
        scaler: scales real features to the generator's range.
        momentum: first beta of both Adams.
        loss: a key of ``adversarial.LOSSES``.
        penalty: weight of (R1 + R2) / 2 in the discriminator's loss, added at every ``penalty_every``-th step with that
            multiple of its weight; computed in float32, because second derivatives are too coarse in bfloat16.
        augment: function of spectrograms, applied to real and fake ones before the discriminator.
        average: decay of the generator's moving average (Karras et al. 2018), from which samples are drawn; 0 for none.
    """

    parts = ("generator", "discriminator", "adam_g", "adam_d")

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        scaler: Scaler,
        accelerator: Accelerator,
        *,
        learning_rate: float = 2e-4,
        weight_decay: float = 0.0,
        momentum: float = 0.5,
        loss: str = "bce",
        penalty: float = 0.0,
        penalty_every: int = 4,
        augment: Callable[[Tensor], Tensor] | None = None,
        average: float = 0.0,
    ) -> None:
        groups = [[net.to(memory_format=torch.channels_last)] for net in (generator, discriminator)]
        self.averaged = None
        if average:  # copied before accelerate replaces the forward method
            decay = functools.partial(_move, decay=average)
            self.averaged = AveragedModel(generator, device=accelerator.device, multi_avg_fn=decay)
        super().__init__(accelerator, *groups, lr=learning_rate, betas=(momentum, 0.999), weight_decay=weight_decay)
        self.latent, self.scaler, self.augment = generator.latent, scaler, augment or (lambda x: x)
        self.discriminator_loss, self.generator_loss = LOSSES[loss]
        self.penalty, self.penalty_every, self.steps = penalty, penalty_every, 0

    @property
    def sampled(self) -> nn.Module:
        """The generator that makes the samples."""
        return self._part("generator") if self.averaged is None else self.averaged.module

    def step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """One update of the discriminator on features x (B, M, T) and fakes, then one of the generator."""
        z, share = torch.randn(len(x), self.latent, device=x.device), Share(len(x))
        with share.own_draws():
            return self._step(*share(self.scaler.forward(x)[:, None], y, z), share)

    def _step(self, real: Tensor, y: Tensor, z: Tensor, share: Share) -> dict[str, Tensor]:
        """The updates on real clips (B, 1, M, T) and noise z (B, Z), the rows of ``share``."""
        fake = self.generator(z, y).float()

        seen_real, seen_fake = self.augment(real), self.augment(fake.detach())
        real_logits, fake_logits = (as_logits(self.discriminator(seen, y)) for seen in (seen_real, seen_fake))
        d_loss = loss = mean_loss(self.discriminator_loss, real_logits, fake_logits)
        if self.penalty and self.steps % self.penalty_every == 0:
            loss = loss + self.penalty_every * self.penalty / 2 * self._squared_gradients(seen_real, seen_fake, y)
        self.update(self.adam_d, loss, share)

        self.discriminator.requires_grad_(False)  # this update needs no gradients of the discriminator's weights
        compared = [logits.detach() for logits in real_logits]  # a second pass would differ by one update only
        g_loss = mean_loss(self.generator_loss, compared, as_logits(self.discriminator(self.augment(fake), y)))
        self.discriminator.requires_grad_(True)
        self.update(self.adam_g, g_loss, share)
        self.steps += 1
        if self.averaged is not None:
            self.averaged.update_parameters(self._part("generator"))
        return {
            "discriminator/loss": d_loss,
            "generator/loss": g_loss,
            "real/probability": _probability(real_logits),
            "fake/probability": _probability(fake_logits),
        }

    def _squared_gradients(self, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        """R1 + R2, by the discriminator's forward method without accelerate's bfloat16."""
        net = self._part("discriminator")
        return sum(squared_gradient(lambda x: type(net).forward(net, x, y), x) for x in (real, fake))

    def state_dict(self) -> dict[str, Any]:
        averaged = {} if self.averaged is None else {"averaged": self.averaged.state_dict()}
        return super().state_dict() | averaged | {"steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.steps = state["steps"]
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])


def _move(averaged: list[Tensor], current: list[Tensor], count: Tensor, *, decay: float) -> None:
    """Move averages towards the current weights, faster at first: the initial weights are soon forgotten."""
    torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + int(count)) / (10 + int(count))))


def _probability(logits: list[Tensor]) -> Tensor:
    return torch.stack([x.sigmoid().mean() for x in logits]).mean()
