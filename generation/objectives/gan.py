"""The conditional GAN's objective: non-saturating BCE, discriminator then generator (Goodfellow 2014; Mirza 2014)."""

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F

from generation.models.gan2d import initialise_level
from generation.objectives.trained import Parts, Trained
from generation.recipes import CganOptions
from generation.registry import load_nets
from generation.scaling import Scaler
from shared.features.augment import mask_stripe
from shared.features.batches import Augmentation, Batches
from shared.features.spec import FeatureSpec


def build(options: CganOptions, spec: FeatureSpec, n_classes: int, batches: Batches, accelerator: Accelerator) -> Parts:
    """The parts of the (conditional) GAN on spectrograms."""
    make_generator, make_discriminator = load_nets(options)
    scaler = Scaler.of(options.scaling, batches)
    generator = make_generator(n_classes, latent=options.latent, shape=spec.shape, output=options.output)
    initialise_level(generator, scaler.mean(batches))
    objective = GanObjective(
        generator,
        make_discriminator(n_classes, shape=spec.shape, spectral_norm=options.spectral_norm),
        scaler,
        accelerator,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
    )
    return Parts(objective, accelerator.unwrap_model(objective.generator), scaler, augment=masks(options, spec))


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
        discriminator: (x (B, 1, M, T), y (B,)) -> logits (B,).
        scaler: scales real features to the generator's range.
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
    ) -> None:
        groups = ([net.to(memory_format=torch.channels_last)] for net in (generator, discriminator))
        super().__init__(accelerator, *groups, lr=learning_rate, betas=(0.5, 0.999), weight_decay=weight_decay)
        self.latent, self.scaler = generator.latent, scaler

    def step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """One update of the discriminator on features x (B, M, T) and fakes, then one of the generator."""
        real = self.scaler.forward(x)[:, None]
        z = torch.randn(len(x), self.latent, device=x.device)
        fake = self.generator(z, y)

        real_logits, fake_logits = self.discriminator(real, y), self.discriminator(fake.detach(), y)
        d_loss = _bce(real_logits, 1.0) + _bce(fake_logits, 0.0)
        self.update(self.adam_d, d_loss)

        self.discriminator.requires_grad_(False)  # this update needs no gradients of the discriminator's weights
        g_loss = _bce(self.discriminator(fake, y), 1.0)
        self.discriminator.requires_grad_(True)
        self.update(self.adam_g, g_loss)
        return {
            "discriminator/loss": d_loss,
            "generator/loss": g_loss,
            "real/probability": real_logits.float().sigmoid().mean(),
            "fake/probability": fake_logits.float().sigmoid().mean(),
        }


def _bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits.float(), torch.full_like(logits, target, dtype=torch.float32))
