"""The training of the conditional GAN: builds nets, objective and sampler, and listens to them after every epoch."""

import numpy as np
import torch

from generation.models.gan2d import Discriminator, Generator
from generation.objectives.gan import GanObjective
from generation.recipes import CganOptions
from generation.sampler import Sampler
from generation.scaling import Scaler
from generation.vocoders import make_vocoder
from shared.audio import write_wav
from shared.batches import Batches
from shared.cli import Clips
from shared.loop import bfloat16_pays, make_accelerator
from shared.loop import fit as run_loop
from shared.plots import plot_history, plot_spectrograms
from shared.runs import Run, peak_memory_mib
from shared.timing import training_cost


def fit(clips: Clips, options: CganOptions, run: Run) -> None:
    """Train, or go on training, to ``options.epochs``; the figures of the last epoch go to metrics.json."""
    torch.manual_seed(options.seed)
    spec, classes = clips.features.spec, clips.classes
    labels = np.searchsorted(classes, clips.manifest.label)
    batches = Batches(clips.features, labels, batch_size=options.batch_size, seed=options.seed, shuffle=True)
    scaler = Scaler.of(options.scaling, batches)
    precision = options.precision
    if precision == "auto":
        precision = "bfloat16" if bfloat16_pays() else "float32"
    accelerator = make_accelerator(options.device, precision)
    print(f"{len(labels)} clips of {len(classes)} classes, {precision} on {accelerator.device}", flush=True)

    objective = GanObjective(
        Generator(len(classes), latent=options.latent, shape=spec.shape),
        Discriminator(len(classes), shape=spec.shape, spectral_norm=options.spectral_norm),
        scaler,
        accelerator,
        learning_rate=options.learning_rate,
        masks=(options.frequency_mask, options.time_mask) if options.masking else None,
    )
    iterations = options.griffin_lim_iterations
    vocoder = make_vocoder("griffin-lim", spec, device=accelerator.device, iterations=iterations)
    sampler = Sampler(accelerator.unwrap_model(objective.generator), scaler, vocoder, classes)

    def listen(epoch: int) -> None:
        sampler.save(run.dir)
        if (epoch + 1) % options.sample_every == 0 or epoch + 1 == options.epochs:
            write_samples(sampler, run, epoch + 1, seed=options.seed)

    run_loop(objective, batches, run, epochs=options.epochs, device=accelerator.device, on_epoch=listen)
    history = run.history()
    plot_history(run.dir / "plots" / "curves.png", history)
    run.finish(
        {
            "model": "cgan",
            "recipe": options.recipe,
            "classes": classes,
            "precision": precision,
            "model/parameters": sum(p.numel() for p in sampler.generator.parameters()),
            "memory/peak_mib": peak_memory_mib(),
            "skipped": len(clips.rejects),
        }
        | training_cost(history)
        | {key: value for key, value in history[-1].items() if key != "epoch" and not key.startswith("time/")}
    )
    print(f"{run.dir}: {len(history)} epochs; sounds in {run.dir / 'gan_generated_audio'}")


def write_samples(sampler: Sampler, run: Run, epoch: int, *, seed: int) -> None:
    """One wav a class and one figure of all classes; the same noise each epoch, so progress can be heard."""
    spec = sampler.vocoder.spec
    S = sampler.spectrograms(sampler.classes, seed=seed)
    for label, y in zip(sampler.classes, sampler.vocoder(S).cpu().numpy(), strict=True):
        write_wav(run.dir / "gan_generated_audio" / f"{label}_ep{epoch}.wav", y, spec.sr)
    plot_spectrograms(
        run.dir / "gan_spectrogram_plots" / f"epoch_{epoch:03d}.png",
        dict(zip(sampler.classes, S[..., : spec.clip_frames].cpu().numpy(), strict=True)),
        sr=spec.sr,
        hop_length=spec.hop_length,
        title=f"generated after epoch {epoch}",
        unit="ln(1 + mel power)",
    )
