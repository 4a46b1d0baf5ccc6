"""Measure what each representation loses: python tests/round_trip.py --data-dir DIR

Each clip is converted to the representation and, by its vocoder, back to sound. The error is the spectral convergence
||A - B|| / ||A|| of the STFT magnitudes A of the clip and B of the sound, after B is scaled to the level of A.

With --vocoder-dir, a neural vocoder is compared with Griffin-Lim, on clips that it was not trained on or, with
--model-dir, on a generator's spectrograms: python tests/round_trip.py --data-dir DIR --vocoder-dir RUN
"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import tyro

from classification.inference.classifier import Classifier
from classification.rundir import read_run
from generation.objectives.spectral import multi_resolution_stft
from generation.rundir import mark_trained_on
from generation.sampling import Sampler
from generation.vocoders.neural import load_vocoder
from generation.vocoders.vocoder import AUTO, make_vocoder
from shared.audio import load_audio
from shared.data.datasets import load_dataset
from shared.data.demo_data import make_demo_data
from shared.errors import UserError, run_entry
from shared.features.spec import PRESETS, FeatureSpec
from shared.features.transforms import TRANSFORMS, log_mel, stft
from shared.files import DEMO_DIR


@dataclasses.dataclass(kw_only=True)
class RoundTripOptions:
    """Measure the round-trip error of every representation that can be converted back to sound."""

    data_dir: Path | None = None
    """Folder of sounds; None uses the demo sounds."""
    clips: int = 48
    """Number of clips to measure, taken evenly from the folder; with --model-dir, of sounds to generate."""
    vocoder_dir: Path | None = None
    """Run of generation/train_vocoder.py to compare with Griffin-Lim."""
    iterations: tuple[int, ...] = (6, 32, 100)
    """Griffin-Lim's numbers of iterations to compare."""
    model_dir: Path | None = None
    """Run of a generator, whose spectrograms are compared instead of real clips."""
    classifier: Path | None = None
    """Run of a PyTorch classifier, to measure its accuracy on the sounds."""


def error(y: np.ndarray, back: np.ndarray, spec: FeatureSpec) -> float:
    """The spectral convergence of the sound ``back`` (N,) with the clip y (N,)."""
    A, B = (np.abs(stft(s, n_fft=spec.n_fft, hop_length=spec.hop_length)) for s in (y, back))
    return float(np.linalg.norm(A - B * (A * B).sum() / max((B * B).sum(), 1e-12)) / max(np.linalg.norm(A), 1e-12))


@dataclasses.dataclass(frozen=True)
class Material:
    """What the vocoders are compared on: spectrograms S (B, M, T), their classes and, of real clips, the sounds."""

    title: str
    spec: FeatureSpec
    S: torch.Tensor
    labels: list[str]
    originals: list[np.ndarray]


def clips_of(options: RoundTripOptions) -> Material:
    """Clips that the vocoder was not trained on; all clips if it held none out."""
    spec = load_vocoder(options.vocoder_dir)[1]
    dataset = load_dataset(options.data_dir or make_demo_data(DEMO_DIR))
    table = mark_trained_on(dataset, options.vocoder_dir, asked=False)[0]
    held = table[table.held_out] if table.held_out.any() else table
    held = held.iloc[:: max(1, len(held) // options.clips)]
    sounds = [load_audio(path, sr=spec.sr, duration=spec.duration) for path in held.path]
    S = torch.from_numpy(np.stack([log_mel(y, spec) for y in sounds]))
    what = "held-out clips" if table.held_out.any() else "clips, none of them held out,"
    return Material(f"{len(S)} {what} of {dataset.root}", spec, S, list(held.label), sounds)


def generated(options: RoundTripOptions) -> Material:
    """Spectrograms of a generator, equally many of each class."""
    sampler = Sampler.load(options.model_dir, device="cpu")
    labels = [sampler.classes[i % len(sampler.classes)] for i in range(options.clips)]
    title = f"{len(labels)} spectrograms of {options.model_dir}"
    return Material(title, sampler.vocoder.spec, sampler.arrays(labels, seed=0), labels, [])


def compare(options: RoundTripOptions) -> None:
    """Print each vocoder's errors, how many of its sounds a classifier names right, and its speed."""
    if options.classifier and read_run(options.classifier, flag="--classifier")[0]["options"]["framework"] != "torch":
        raise UserError(
            f"--classifier {options.classifier}: is a Keras run; a process holds one framework, use PyTorch"
        )
    classifier = Classifier.load(options.classifier) if options.classifier else None
    material = generated(options) if options.model_dir else clips_of(options)
    spec, S = material.spec, material.S
    vocoders = {"neural": make_vocoder("neural", spec, vocoder_dir=options.vocoder_dir)}
    for n in options.iterations:
        vocoders[f"griffin-lim, {n} iterations"] = make_vocoder("griffin-lim", spec, iterations=n)

    def accuracy(sounds: Sequence[np.ndarray]) -> str:
        if classifier is None:
            return ""
        found = [prediction.label for prediction in classifier.predict_batch(sounds, spec.sr)]
        return f", accuracy {np.mean(np.equal(found, material.labels)):.1%}"

    print(f"{material.title}; {torch.get_num_threads()} threads")
    if material.originals and classifier:
        print(f"untouched{accuracy(material.originals)}")
    for name, vocoder in vocoders.items():
        vocoder(S[:1])  # warm up
        began = time.perf_counter()
        sounds = [vocoder(row[None])[0].numpy() for row in S]
        speed = len(S) * spec.duration / (time.perf_counter() - began)
        differences = [
            np.abs(log_mel(y, spec) - row)[:, : spec.clip_frames] for y, row in zip(sounds, S.numpy(), strict=True)
        ]
        figures = f"log-mel error {np.mean(differences):.3f}"
        if material.originals:
            pairs = (map(torch.from_numpy, pair) for pair in zip(sounds, material.originals, strict=True))
            distances = [float(multi_resolution_stft(y[None], x[None])) for y, x in pairs]
            figures += f", multi-resolution STFT distance {np.mean(distances):.3f}"
        print(f"{name}: {figures}{accuracy(sounds)}, {speed:.0f} times real time", flush=True)


def main() -> None:
    options = tyro.cli(RoundTripOptions)
    if options.vocoder_dir:
        return compare(options)
    paths = load_dataset(options.data_dir or make_demo_data(DEMO_DIR)).manifest.path
    paths = paths[:: max(1, len(paths) // options.clips)]
    print(f"{len(paths)} clips of {options.data_dir or DEMO_DIR}: median error (minimum to maximum)")
    for name, spec in PRESETS.items():
        if spec.kind == "log_mel" and not spec.keeps_level:
            print(f"{name}: cannot be converted back, because decibels relative to a clip's maximum lose its level")
            continue
        vocoder, errors = make_vocoder("auto", spec), []
        for path in paths:
            y = load_audio(path, sr=spec.sr, duration=spec.duration)
            S = TRANSFORMS[spec.kind](y, spec)
            errors.append(error(y, vocoder(torch.from_numpy(S)[None])[0].numpy(), spec))
        low, median, high = np.quantile(errors, [0, 0.5, 1])
        print(f"{name} with {AUTO[spec.kind]}: {median:.3f} ({low:.3f} to {high:.3f})", flush=True)


if __name__ == "__main__":
    run_entry(main)
