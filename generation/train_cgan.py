"""Train the conditional GAN: python generation/train_cgan.py --data-dir DIR --out-dir RUN"""

import dataclasses

from generation.recipes import RECIPES, CganOptions
from shared.cli import Clips, load_clips, once, open_run, parse
from shared.errors import UserError, run_entry
from shared.features import PRESETS
from shared.runs import Run, peak_memory_mib

SPEC = PRESETS["cgan"]


def main() -> None:
    options = parse(CganOptions, RECIPES)
    clips = load_clips(options, SPEC)
    if len(clips.manifest) < 2:
        raise UserError(f"--data-dir {clips.dataset.root}: one usable clip only; a GAN needs more")
    details = {"features": dataclasses.asdict(SPEC)}
    run = open_run(
        options, clips, default_dir=f"cgan-{options.recipe}", extendable=frozenset({"epochs"}), details=details
    )
    once(run, lambda: train(clips, options, run))


def train(clips: Clips, options: CganOptions, run: Run) -> None:
    """Build the nets, train them, leave the figures of the last epoch in metrics.json."""
    import numpy as np
    import torch

    from generation.models.gan2d import Discriminator, Generator
    from generation.objectives.gan import GanObjective
    from generation.sampler import Sampler
    from generation.scaling import Scaler
    from generation.vocoders import make_vocoder
    from shared.batches import Batches
    from shared.loop import bfloat16_pays, fit, make_accelerator
    from shared.plots import plot_history

    torch.manual_seed(options.seed)
    labels = np.searchsorted(clips.classes, clips.manifest.label)
    batches = Batches(clips.features, labels, batch_size=options.batch_size, seed=options.seed, shuffle=True)
    scaler = Scaler.of(options.scaling, batches)
    precision = options.precision
    if precision == "auto":
        precision = "bfloat16" if bfloat16_pays() else "float32"
    accelerator = make_accelerator(options.device, precision)
    print(f"{len(labels)} clips of {len(clips.classes)} classes, {precision} on {accelerator.device}", flush=True)

    objective = GanObjective(
        Generator(len(clips.classes), latent=options.latent, shape=SPEC.shape),
        Discriminator(len(clips.classes), shape=SPEC.shape, spectral_norm=options.spectral_norm),
        scaler,
        accelerator,
        learning_rate=options.learning_rate,
        masks=(options.frequency_mask, options.time_mask) if options.masking else None,
    )
    vocoder = make_vocoder("griffin-lim", SPEC, device=accelerator.device, iterations=options.griffin_lim_iterations)
    sampler = Sampler(accelerator.unwrap_model(objective.generator), scaler, vocoder, clips.classes)

    def listen(epoch: int) -> None:
        sampler.save(run.dir)
        if (epoch + 1) % options.sample_every == 0 or epoch + 1 == options.epochs:
            write_samples(sampler, run, epoch + 1, seed=options.seed)

    fit(objective, batches, run, epochs=options.epochs, device=accelerator.device, on_epoch=listen)
    history = run.history()
    plot_history(run.dir / "plots" / "curves.png", history)
    run.finish(
        {
            "model": "cgan",
            "recipe": options.recipe,
            "classes": clips.classes,
            "precision": precision,
            "train/epochs": len(history),
            "time/epoch_seconds": float(np.median([epoch["time/epoch_seconds"] for epoch in history])),
            "time/clips_per_second": float(np.median([epoch["time/clips_per_second"] for epoch in history])),
            "time/train_seconds": sum(epoch["time/epoch_seconds"] for epoch in history),
            "memory/peak_mib": peak_memory_mib(),
            "model/parameters": sum(p.numel() for p in sampler.generator.parameters()),
            "skipped": len(clips.rejects),
        }
        | {key: value for key, value in history[-1].items() if key != "epoch" and not key.startswith("time/")}
    )
    print(f"{run.dir}: {len(history)} epochs; sounds in {run.dir / 'gan_generated_audio'}")


def write_samples(sampler, run: Run, epoch: int, *, seed: int) -> None:
    """One wav a class and one figure of all classes; the same noise each epoch, so progress can be heard."""
    from shared.audio import write_wav
    from shared.plots import plot_spectrograms

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


if __name__ == "__main__":
    run_entry(main)
