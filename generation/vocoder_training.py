"""Trains a neural vocoder: finds the sounds, opens the run, trains on random crops, evaluates on held-out clips."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from generation.models.stft_discriminator import MultiResolution
from generation.models.vocos import Vocos
from generation.objectives.vocoder import VocoderObjective
from generation.rundir import write_clips
from generation.stft import LogMel
from generation.training import choose_precision, training_rows
from generation.vocoder_options import VocoderTrainingOptions
from generation.vocoders.neural import save_vocoder
from shared.audio import AUDIO_SUFFIXES, load_audio, write_wav
from shared.data.datasets import Dataset
from shared.errors import UserError
from shared.features.batches import Augmentation, Batches
from shared.features.shards import Features
from shared.features.spec import FeatureSpec
from shared.features.transforms import mel_filterbank
from shared.report.plots import plot_history, spectrogram_png
from shared.runs import ranks
from shared.runs.loop import fit as run_loop
from shared.runs.loop import make_accelerator
from shared.runs.run import Run, peak_memory_mib
from shared.runs.start import Clips, find_data, load_clips, once, open_run
from shared.runs.timing import training_cost

HELD_OUT = 32  # clips that an epoch is evaluated on, at most
LISTENED = 8  # clips that are written through the vocoder at the end


def train(options: VocoderTrainingOptions) -> None:
    """Train the vocoder of these options: resume an unfinished run, do nothing if it is finished.

    Raises:
        UserError: no usable sounds, too few recordings to hold some out, or a folder that holds another run.
    """
    ranks.start()
    ranks.refuse("train_vocoder trains in one process")
    dataset, spec = find_data(options), options.spec
    waveforms = FeatureSpec(kind="waveform", sr=spec.sr, duration=spec.duration)
    clips = load_clips(options, with_extra(dataset, options.extra_dir), waveforms, segmented=True)
    rows = np.arange(len(clips.manifest))
    if options.holdout_share > 0:
        own = np.flatnonzero(clips.manifest.path.isin(set(dataset.manifest.path)))
        inside = training_rows(
            clips.manifest.iloc[own].reset_index(drop=True), share=options.holdout_share, seed=options.seed
        )
        rows = np.setdiff1d(rows, np.delete(own, inside))
    run = open_run(
        options,
        clips,
        default_dir="vocoder",
        extendable=frozenset({"epochs"}),
        details={"features": dataclasses.asdict(spec)},
    )
    once(run, lambda: fit(options, dataset, clips, rows, run))


def with_extra(dataset: Dataset, folders: Sequence[Path]) -> Dataset:
    """The data set with all sounds in ``folders`` and below, without hidden files, each a recording of its own.

    Raises:
        UserError: a folder without sounds.
    """
    tables, known = [dataset.manifest], set(dataset.manifest.path)
    for folder in folders:
        paths = [str(path) for path in sorted(folder.rglob("[!.]*")) if path.suffix.lower() in AUDIO_SUFFIXES]
        if not paths:
            raise UserError(f"--extra-dir {folder}: holds no sounds ({', '.join(sorted(AUDIO_SUFFIXES))})")
        new = [path for path in paths if path not in known]
        known.update(new)
        names = {"label": folder.resolve().name, "official": "", "split": ""}
        tables.append(pd.DataFrame({"path": new, "group": new}, dtype=object).assign(**names))
    return dataclasses.replace(dataset, manifest=pd.concat(tables, ignore_index=True))


def random_crops(size: int) -> Augmentation:
    """Cut waveforms x (B, N) to random parts (B, size), not from the zeros that pad a short clip."""

    def crop(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        lengths = x.shape[1] - (x[:, ::-1] != 0).argmax(axis=1)  # a silent clip keeps its length
        starts = rng.integers(0, np.maximum(lengths - size, 0) + 1)
        return np.stack([row[start : start + size] for row, start in zip(x, starts, strict=True)]), y

    return crop


def fit(options: VocoderTrainingOptions, dataset: Dataset, clips: Clips, rows: np.ndarray, run: Run) -> None:
    """Train on the clips at ``rows`` up to ``options.epochs``. Every epoch saves the vocoder.

    At the end write plots/curves.png, reconstructions/ and metrics.json with the figures of the last epoch.
    """
    write_clips(run.dir, dataset, clips.manifest.path.iloc[rows])
    held = clips.features.take(np.setdiff1d(np.arange(len(clips.features)), rows))
    spec, size = options.spec, round(options.crop_seconds * options.spec.sr)
    torch.manual_seed(options.seed)
    precision = choose_precision(options, "auto", 1 + size // spec.hop_length)
    accelerator = make_accelerator(options.device, precision, deterministic=options.deterministic)
    crops = random_crops(size)
    labels, how = np.zeros(len(rows), int), {"batch_size": options.batch_size, "seed": options.seed, "shuffle": True}
    batches = Batches(clips.features.take(rows), labels, augment=crops, **how)
    objective = VocoderObjective(
        Vocos(
            n_mels=spec.n_mels,
            n_fft=spec.n_fft,
            hop_length=spec.hop_length,
            width=options.width,
            blocks=options.blocks,
            filterbank=torch.from_numpy(mel_filterbank(spec)),
        ),
        MultiResolution(),
        LogMel(spec),
        accelerator,
        learning_rate=options.learning_rate,
        adversarial_from=options.adversarial_from,
        degraded=options.degraded_share,
        heldout=evenly(held, HELD_OUT),
    )
    network = objective.average
    where = f"on {accelerator.device}, {len(held)} held out"
    print(f"{batches.clips} clips of at most {spec.duration:g} s {where}", flush=True)

    def save(epoch: int) -> None:
        save_vocoder(run.dir, network, spec)

    run_loop(objective, batches, run, epochs=options.epochs, device=accelerator.device, on_epoch=save)
    history = run.history()
    plot_history(run.dir / "plots" / "curves.png", history)
    listen(objective, evenly(held if len(held) else batches.features, LISTENED), run.dir / "reconstructions", spec.sr)
    for path in sorted((run.dir / "reconstructions").glob("*.wav")):
        run.events.file(len(history), path)
        picture = spectrogram_png(load_audio(path, sr=spec.sr), spec)
        run.events.image(len(history), f"spectrograms/{path.stem}", picture)
    run.finish(
        {
            "recipe": options.recipe,
            "model/parameters": sum(p.numel() for p in network.parameters()),
            "memory/peak_mib": peak_memory_mib(),
            "precision": precision,
            "skipped": len(clips.rejects),
            **training_cost(history),
            **{key: value for key, value in history[-1].items() if key != "epoch" and not key.startswith("time/")},
        }
    )
    print(f"{run.dir}: trained to epoch {len(history)}; use it with --vocoder neural --vocoder-dir {run.dir}")


def evenly(features: Features, count: int) -> torch.Tensor | None:
    """At most ``count`` waveforms (n, N), evenly from all; None if there are none."""
    chosen = np.unique(np.linspace(0, len(features) - 1, min(count, len(features))).round().astype(int))
    return torch.from_numpy(features[chosen]) if len(chosen) else None


def listen(objective: VocoderObjective, y: torch.Tensor, folder: Path, sr: int) -> None:
    """Write waveforms y (n, N) as <n>_original.wav, and what the vocoder makes of their mels as <n>_neural.wav."""
    S = objective.mel(y.to(objective.accelerator.device))
    pairs = zip(y.numpy(), objective.restore(S, length=y.shape[-1]).cpu().numpy(), strict=True)
    for number, (original, restored) in enumerate(pairs):
        write_wav(folder / f"{number:02d}_original.wav", original, sr)
        write_wav(folder / f"{number:02d}_neural.wav", restored, sr)
