"""Trains any generator: selects the clips, opens the run, trains the networks, writes sounds and figures."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from generation import diversity
from generation.listening import sounds_of, write_samples
from generation.model_card import write_card
from generation.objectives.trained import Parts
from generation.recipes import GeneratorOptions
from generation.registry import Kind, kind_of, load
from generation.rundir import EVALUATION, write_clips
from generation.sampling import Sampler
from generation.vocoders.vocoder import make_vocoder
from shared.data.splits import assign_splits, draw_weights
from shared.errors import UserError
from shared.features.batches import Batches
from shared.files import read_json
from shared.report.plots import plot_history
from shared.runs import ranks
from shared.runs.events import recorded
from shared.runs.loop import bfloat16_pays, make_accelerator, pick_device
from shared.runs.loop import fit as run_loop
from shared.runs.options import CommonOptions, Precision
from shared.runs.run import Run, peak_memory_mib
from shared.runs.start import Clips, find_data, load_clips, once, open_run
from shared.runs.timing import duration, training_cost

TIMED_STEPS, WARM_UP = 12, 4  # steps that --minutes times, and the first of them that do not count
NARROW = 32  # frames; with fewer, the four halvings in a network leave one frame


def train(options: GeneratorOptions) -> None:
    """Train the generator of these options: resume an unfinished run, do nothing if it is finished.

    Raises:
        UserError: too few clips, too few recordings to hold some out, or a folder that holds another run; several
            processes for a generator that one process trains.
    """
    kind = kind_of(options)
    ranks.start()
    if not kind.several:
        ranks.refuse(f"train_{kind.name.replace('-', '_')} trains in one process")
    clips, held_out = find_clips(options)
    default_dir = f"{kind.name}-{getattr(options, kind.choice)}"
    if options.minutes is not None:
        before = (options.out_dir or Path("runs") / default_dir) / "config.json"
        if ranks.agreed(before.is_file()) and not options.overwrite:  # the epochs were chosen when the run began
            options.epochs = read_json(before)["options"]["epochs"]
        else:
            options.epochs = epochs_within(options, kind, clips, held_out)
    run = open_run(
        options,
        clips,
        default_dir=default_dir,
        extendable=frozenset({"epochs"}),
        details={"features": dataclasses.asdict(clips.features.spec)},
    )
    work = fit if ranks.is_first() else take_part
    once(run, lambda: work(options, kind, clips, held_out, run))


def find_clips(options: GeneratorOptions) -> tuple[Clips, Clips | None]:
    """The usable clips to train on, and those of the recordings that --holdout-share holds out.

    With --no-conditional all clips have one class, named after the data folder.
    """
    clips = load_clips(options, find_data(options), options.spec, segmented=options.segment_seconds is not None)
    if len(clips.manifest) < 2:
        raise UserError(f"--data-dir {clips.dataset.root}: has only one usable clip; a generator needs two or more")
    parts = {"train": clips}
    if options.holdout_share > 0:
        rows = training_rows(clips.manifest, share=options.holdout_share, seed=options.seed)
        parts = {"train": clips.take(rows), "test": clips.take(np.setdiff1d(np.arange(len(clips.manifest)), rows))}
        print(f"{len(parts['test'].manifest)} of {len(clips.manifest)} clips are held out", flush=True)
    if not options.conditional:
        name = clips.dataset.root.resolve().name
        parts = {k: dataclasses.replace(part, manifest=part.manifest.assign(label=name)) for k, part in parts.items()}
    return parts["train"], parts.get("test")


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


def make_batches(options: GeneratorOptions, clips: Clips, held_out: Clips | None) -> tuple[Batches, Batches | None]:
    """The training batches, and those of the held-out clips of the same classes."""
    weights = None if options.balance is None else draw_weights(clips.manifest, balance=options.balance)
    how = {"batch_size": options.batch_size, "seed": options.seed}
    labels = np.searchsorted(clips.classes, clips.manifest.label)
    batches = Batches(clips.features, labels, shuffle=True, weights=weights, **how)
    if held_out is not None:
        held_out = held_out.take(np.flatnonzero(held_out.manifest.label.isin(clips.classes)))
    if held_out is None or held_out.manifest.empty:
        return batches, None
    return batches, Batches(held_out.features, np.searchsorted(clips.classes, held_out.manifest.label), **how)


def fit(options: GeneratorOptions, kind: Kind, clips: Clips, held_out: Clips | None, run: Run) -> None:
    """Train up to ``options.epochs``. Every epoch saves the generator, every --sample-every epochs also sounds.

    At the end write plots/curves.png, metrics.json with the figures of the last epoch, and MODEL_CARD.md.
    """
    write_clips(run.dir, clips.dataset, clips.manifest.path)
    parts, batches, sampler, device, precision = prepare(options, kind, clips, held_out)
    print(f"{batches.clips} clips of {len(clips.classes)} classes on {device}", flush=True)

    def listen(epoch: int) -> dict[str, float]:
        sampler.save(run.dir)
        if (epoch + 1) % options.sample_every and epoch + 1 < options.epochs:
            return {}
        write_samples(sampler, run.dir, epoch + 1, family=kind.family, seed=options.seed)
        if kind.listen:
            load(kind.listen)(parts.objective, sampler, batches, run.dir, epoch + 1, seed=options.seed)
        if recorded(epoch + 1, every=options.sample_every, epochs=options.epochs):
            for path in sounds_of(run.dir, kind.family, epoch + 1):
                run.events.file(epoch, path)
        what = {"epoch": epoch + 1, "epochs": options.epochs, "seed": options.seed}
        return diversity.watch(sampler, batches, run.history(), **what)

    run_loop(parts.objective, batches, run, epochs=options.epochs, device=device, on_epoch=listen)
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
            "vocoder": sampler.vocoder.name,
            "skipped": len(clips.rejects),
            **parts.details,
            **training_cost(history),
            **diversity.last(history),
            **{key: value for key, value in history[-1].items() if key != "epoch" and not key.startswith("time/")},
        }
    )
    write_card(run.dir)
    print(f"{run.dir}: trained to epoch {len(history)}; sounds in {run.dir / f'{kind.family}_generated_audio'}")


def take_part(options: GeneratorOptions, kind: Kind, clips: Clips, held_out: Clips | None, run: Run) -> None:
    """The part of ``fit`` of all processes of a launch but the first: train, without writing anything."""
    parts, batches, _, device, _ = prepare(options, kind, clips, held_out)
    run_loop(parts.objective, batches, run, epochs=options.epochs, device=device)


def prepare(
    options: GeneratorOptions, kind: Kind, clips: Clips, held_out: Clips | None
) -> tuple[Parts, Batches, Sampler, torch.device, str]:
    """All that a training needs: networks and objective, batches, sampler, device, precision."""
    torch.manual_seed(options.seed)
    spec = clips.features.spec
    precision = choose_precision(options, kind.auto_precision, spec.shape[-1])
    accelerator = make_accelerator(options.device, precision, deterministic=options.deterministic)
    with ranks.first_alone():  # made before training, so that a missing vocoder fails at once; it may be downloaded
        vocoder = make_vocoder(options.vocoder, spec, device=accelerator.device, **options.vocoder_details)
    batches, held_out = make_batches(options, clips, held_out)
    parts = load(kind.build)(options, spec, len(clips.classes), batches, accelerator)
    batches.augment, parts.objective.held_out = parts.augment, held_out
    sampler = Sampler(parts.generator, parts.scaler, vocoder, clips.classes, parts.phases)
    return parts, batches, sampler, accelerator.device, precision


def epochs_within(options: GeneratorOptions, kind: Kind, clips: Clips, held_out: Clips | None) -> int:
    """The epochs that fit into --minutes, by the time of a few steps, a validation and a set of sounds.

    The networks that are timed are thrown away, so the training that follows does not depend on it.
    """
    parts, batches, sampler, device, _ = prepare(options, kind, clips, held_out)

    def seconds(work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    def step(i: int) -> None:
        parts.objective.step(*(torch.from_numpy(part).to(device) for part in batches.get(0, i % len(batches))))
        if device.type == "cuda":
            torch.cuda.synchronize()

    each = [seconds(lambda i=i: step(i)) for i in range(TIMED_STEPS)]
    between = seconds(lambda: parts.objective.end_epoch(0, {}))
    sounds = seconds(lambda: sampler.vocoder(sampler.arrays(sampler.classes, seed=options.seed)))
    # the mean, because not every step of a GAN has a gradient penalty
    epoch = len(batches) * float(np.mean(each[WARM_UP:])) + between + sounds / options.sample_every
    epochs = ranks.agreed(max(1, int(60 * options.minutes / epoch)))
    print(f"--minutes {options.minutes:g}: {epochs} epochs of about {duration(epoch)}", flush=True)
    return epochs


def choose_precision(options: CommonOptions, auto: Precision, frames: int) -> str:
    """The value of --precision; for "auto" that of ``auto``, or the faster arithmetic that is safe with these frames.

    On CPUs with AMX, oneDNN's bfloat16 convolutions read unwritten memory if a feature map is one frame wide, so short
    sounds are computed in float32.
    """
    precision = auto if options.precision == "auto" else options.precision
    if precision != "auto":
        return precision
    return "bfloat16" if bfloat16_pays(pick_device(options.device)) and frames >= NARROW else "float32"
