"""The training of any generator: the loop, listening after every epoch, the run folder's last words."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from generation.recipes import GeneratorOptions
from generation.sampling import Sampler
from generation.vocoders import Vocoder, make_vocoder
from shared.audio import write_wav
from shared.features.batches import Batches
from shared.features.spec import FeatureSpec
from shared.report.plots import plot_features, plot_history
from shared.runs.loop import Objective, bfloat16_pays
from shared.runs.loop import fit as run_loop
from shared.runs.run import Run, peak_memory_mib
from shared.runs.start import Clips
from shared.runs.timing import training_cost

NARROW = 32  # frames: fewer become one where the networks, which halve them four times, are narrowest


def make_batches(clips: Clips, options: GeneratorOptions) -> Batches:
    """All clips in a new order each epoch, with the ordinals of their classes."""
    labels = np.searchsorted(clips.classes, clips.manifest.label)
    return Batches(clips.features, labels, batch_size=options.batch_size, seed=options.seed, shuffle=True)


def choose_precision(precision: str, frames: int) -> str:
    """ "auto" as what pays here for maps of so many frames; with AMX, oneDNN's bfloat16 convolutions read memory that
    nothing was written to where stride leaves one frame of many bands, so short sounds are computed in float32.
    """
    if precision != "auto":
        return precision
    return "bfloat16" if bfloat16_pays() and frames >= NARROW else "float32"


def open_vocoder(options: GeneratorOptions, spec: FeatureSpec, device: torch.device) -> Vocoder:
    """The vocoder of --vocoder for what the network makes: before training, so that one that fails costs nothing."""
    return make_vocoder(
        options.vocoder,
        spec,
        device=device,
        iterations=options.griffin_lim_iterations,
        hifigan_path=options.hifigan_path,
    )


def train(
    objective: Objective,
    sampler: Sampler,
    batches: Batches,
    options: GeneratorOptions,
    run: Run,
    *,
    model: str,
    device: torch.device,
    extra: Callable[[int], None] | None = None,
    details: dict[str, Any] | None = None,
) -> None:
    """Train, or go on training, to ``options.epochs``; the figures of the last epoch go to metrics.json.

    Args:
        model: the family, "gan" or "vae": it names the folders of sounds and figures.
        extra: called with the number of every epoch that is listened to, to write more.
        details: more for metrics.json.
    """
    print(f"{batches.clips} clips of {len(sampler.classes)} classes on {device}", flush=True)

    def listen(epoch: int) -> None:
        sampler.save(run.dir)
        if (epoch + 1) % options.sample_every == 0 or epoch + 1 == options.epochs:
            write_samples(sampler, run, epoch + 1, model=model, seed=options.seed)
            if extra is not None:
                extra(epoch + 1)

    run_loop(objective, batches, run, epochs=options.epochs, device=device, on_epoch=listen)
    history = run.history()
    plot_history(run.dir / "plots" / "curves.png", history)
    last = {key: value for key, value in history[-1].items() if key != "epoch" and not key.startswith("time/")}
    run.finish(
        {
            "model": model,
            "recipe": options.recipe,
            "classes": sampler.classes,
            "model/parameters": sum(p.numel() for p in sampler.generator.parameters()),
            "memory/peak_mib": peak_memory_mib(),
        }
        | (details or {})
        | training_cost(history)
        | last
    )
    print(f"{run.dir}: {len(history)} epochs; sounds in {run.dir / f'{model}_generated_audio'}")


def write_samples(sampler: Sampler, run: Run, epoch: int, *, model: str, seed: int) -> None:
    """One wav a class and one figure of all classes; the same noise each epoch, so progress can be heard."""
    S = sampler.arrays(sampler.classes, seed=seed)
    sounds = sampler.vocoder(S).cpu().numpy()
    for label, y in zip(sampler.classes, sounds, strict=True):
        write_wav(run.dir / f"{model}_generated_audio" / f"{label}_ep{epoch}.wav", y, sampler.vocoder.spec.sr)
    plot_features(
        run.dir / f"{model}_spectrogram_plots" / f"epoch_{epoch:03d}.png",
        dict(zip(sampler.classes, S.cpu().numpy(), strict=True)),
        sampler.vocoder.spec,
        title=f"generated after epoch {epoch}",
    )
