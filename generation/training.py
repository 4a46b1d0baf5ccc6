"""Trains any generator: selects the clips, opens the run, trains the networks, writes sounds and figures."""

import dataclasses

import numpy as np
import pandas as pd
import torch

from generation.listening import write_samples
from generation.model_card import write_card
from generation.recipes import GeneratorOptions
from generation.registry import Kind, kind_of, load
from generation.rundir import EVALUATION, write_clips
from generation.sampling import Sampler
from generation.vocoders.vocoder import make_vocoder
from shared.data.splits import assign_splits
from shared.errors import UserError
from shared.features.batches import Batches
from shared.report.plots import plot_history
from shared.runs.loop import bfloat16_pays, make_accelerator, pick_device
from shared.runs.loop import fit as run_loop
from shared.runs.options import CommonOptions, Precision
from shared.runs.run import Run, peak_memory_mib
from shared.runs.start import Clips, find_data, load_clips, once, open_run
from shared.runs.timing import training_cost

NARROW = 32  # frames; with fewer, the four halvings in a network leave one frame


def train(options: GeneratorOptions) -> None:
    """Train the generator of these options: resume an unfinished run, do nothing if it is finished.

    Raises:
        UserError: too few clips, too few recordings to hold some out, or a folder that holds another run.
    """
    kind = kind_of(options)
    clips = find_clips(options)
    run = open_run(
        options,
        clips,
        default_dir=f"{kind.name}-{getattr(options, kind.choice)}",
        extendable=frozenset({"epochs"}),
        details={"features": dataclasses.asdict(clips.features.spec)},
    )
    once(run, lambda: fit(options, kind, clips, run))


def find_clips(options: GeneratorOptions) -> Clips:
    """The usable clips to train on, without the recordings that --holdout-share holds out.

    With --no-conditional all clips have one class, named after the data folder.
    """
    clips = load_clips(options, find_data(options), options.spec, segmented=options.segment_seconds is not None)
    if len(clips.manifest) < 2:
        raise UserError(f"--data-dir {clips.dataset.root}: has only one usable clip; a generator needs two or more")
    manifest, features = clips.manifest, clips.features
    if options.holdout_share > 0:
        rows = training_rows(manifest, share=options.holdout_share, seed=options.seed)
        print(f"{len(manifest) - len(rows)} of {len(manifest)} clips are held out", flush=True)
        manifest, features = manifest.iloc[rows].reset_index(drop=True), features.take(rows)
    if not options.conditional:
        manifest = manifest.assign(label=clips.dataset.root.resolve().name)
    return dataclasses.replace(clips, manifest=manifest, features=features)


def training_rows(manifest: pd.DataFrame, *, share: float, seed: int) -> np.ndarray:
    """The positions of the clips to train on, if ``share`` of the recordings is held out.

    Raises:
        UserError: too few recordings to hold some out.
    """
    try:
        split = assign_splits(manifest, val_share=0, test_share=share, seed=seed).split
    except UserError as error:
        why = str(error).partition(". ")[0]
        raise UserError(f"--holdout-share {share}: {why}. Add recordings, or use 0") from error
    return np.flatnonzero(split == "train")


def fit(options: GeneratorOptions, kind: Kind, clips: Clips, run: Run) -> None:
    """Train up to ``options.epochs``. Every epoch saves the generator, every --sample-every epochs also sounds.

    At the end write plots/curves.png, metrics.json with the figures of the last epoch, and MODEL_CARD.md.
    """
    write_clips(run.dir, clips.dataset, clips.manifest.path)
    torch.manual_seed(options.seed)
    spec = clips.features.spec
    precision = choose_precision(options, kind.auto_precision, spec.shape[-1])
    accelerator = make_accelerator(options.device, precision)
    # made before training, so that a missing vocoder fails at once
    vocoder = make_vocoder(options.vocoder, spec, device=accelerator.device, **options.vocoder_details)
    labels = np.searchsorted(clips.classes, clips.manifest.label)
    batches = Batches(clips.features, labels, batch_size=options.batch_size, seed=options.seed, shuffle=True)
    parts = load(kind.build)(options, spec, len(clips.classes), batches, accelerator)
    batches.augment = parts.augment
    sampler = Sampler(parts.generator, parts.scaler, vocoder, clips.classes, parts.phases)
    print(f"{batches.clips} clips of {len(clips.classes)} classes on {accelerator.device}", flush=True)

    def listen(epoch: int) -> None:
        sampler.save(run.dir)
        if (epoch + 1) % options.sample_every == 0 or epoch + 1 == options.epochs:
            write_samples(sampler, run.dir, epoch + 1, family=kind.family, seed=options.seed)
            if kind.listen:
                load(kind.listen)(parts.objective, sampler, batches, run.dir, epoch + 1, seed=options.seed)

    run_loop(parts.objective, batches, run, epochs=options.epochs, device=accelerator.device, on_epoch=listen)
    history = run.history()
    plot_history(run.dir / "plots" / "curves.png", history)
    (run.dir / EVALUATION).unlink(missing_ok=True)  # its figures are of an earlier epoch
    run.finish(
        {
            "model": kind.family,
            "recipe": options.recipe,
            "classes": clips.classes,
            "model/parameters": sum(p.numel() for p in parts.generator.parameters()),
            "memory/peak_mib": peak_memory_mib(),
            "precision": precision,
            "vocoder": vocoder.name,
            "skipped": len(clips.rejects),
            **parts.details,
            **training_cost(history),
            **{key: value for key, value in history[-1].items() if key != "epoch" and not key.startswith("time/")},
        }
    )
    write_card(run.dir)
    print(f"{run.dir}: trained to epoch {len(history)}; sounds in {run.dir / f'{kind.family}_generated_audio'}")


def choose_precision(options: CommonOptions, auto: Precision, frames: int) -> str:
    """The value of --precision; for "auto" that of ``auto``, or the faster arithmetic that is safe with these frames.

    On CPUs with AMX, oneDNN's bfloat16 convolutions read unwritten memory if a feature map is one frame wide, so short
    sounds are computed in float32.
    """
    precision = auto if options.precision == "auto" else options.precision
    if precision != "auto":
        return precision
    return "bfloat16" if bfloat16_pays(pick_device(options.device)) and frames >= NARROW else "float32"
