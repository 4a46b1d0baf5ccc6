"""The parts of the (conditional) GAN on spectrograms, put together."""

import torch

from generation.models import gan2d, linear_gan
from generation.objectives.gan import GanObjective
from generation.recipes import CganOptions
from generation.sampling import Sampler
from generation.scaling import Scaler
from generation.training import choose_precision, make_batches, open_vocoder, train
from shared.runs.loop import make_accelerator
from shared.runs.run import Run
from shared.runs.start import Clips

NETS = {
    "dcgan": (gan2d.Generator, gan2d.Discriminator),
    "linear": (linear_gan.Generator, linear_gan.Discriminator),
}


def fit(clips: Clips, options: CganOptions, run: Run) -> None:
    """Train, or go on training, to ``options.epochs``."""
    torch.manual_seed(options.seed)
    spec, n_classes = clips.features.spec, len(clips.classes)
    precision = choose_precision(options.precision, spec.shape[-1])
    accelerator = make_accelerator(options.device, precision)
    vocoder = open_vocoder(options, spec, accelerator.device)
    batches = make_batches(clips, options)
    scaler = Scaler.of(options.scaling, batches)
    make_generator, make_discriminator = NETS[options.net]
    generator = make_generator(n_classes, latent=options.latent, shape=spec.shape, output=options.output)
    gan2d.begin_at(generator, scaler.mean(batches))
    objective = GanObjective(
        generator,
        make_discriminator(n_classes, shape=spec.shape, spectral_norm=options.spectral_norm),
        scaler,
        accelerator,
        learning_rate=options.learning_rate,
        weight_decay=options.weight_decay,
        masks=(options.frequency_mask, options.time_mask) if options.masking else None,
    )
    sampler = Sampler(accelerator.unwrap_model(objective.generator), scaler, vocoder, clips.classes)
    details = {"precision": precision, "skipped": len(clips.rejects)}
    train(objective, sampler, batches, options, run, model="gan", device=accelerator.device, details=details)
