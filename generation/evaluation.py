"""What generation/evaluate.py compares: samples, real clips and noise as a classifier hears them, and their figures."""

import dataclasses
import math
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from classification.inference.classifier import Classifier
from shared.audio import decode, fix_length, resample, sampling_rate, seconds
from shared.data.datasets import Dataset, audio_files, load_dataset, segments
from shared.data.splits import assign_splits
from shared.errors import UserError
from shared.evaluation import distances
from shared.features.cache import FeatureCache
from shared.features.transforms import TRANSFORMS
from shared.files import read_json

LOWER, HIGHER, LIKE_FLOOR = "lower", "higher", "as the floor"
METRICS = {  # name -> what the table calls it, and where it should go
    "frechet": ("Fréchet distance (FAD)", LOWER),
    "frechet_infinity": ("FAD-infinity", LOWER),
    "frechet_by_label": ("Fréchet by label, diagonal / D", LOWER),
    "kernel_distance": ("KAD", LOWER),
    "inception_score": ("inception score", HIGHER),
    "accuracy": ("classifier's accuracy", HIGHER),
    "precision": ("precision", HIGHER),
    "recall": ("recall", HIGHER),
    "density": ("density", HIGHER),
    "coverage": ("coverage", HIGHER),
    "spectral_norm": ("diversity: spectral norm", LIKE_FLOOR),
    "within_class_distance": ("diversity: distance in a class", LIKE_FLOOR),
    "nearest_distance": ("distance to the nearest train clip", LIKE_FLOOR),
    "copies": ("share nearer than 95 % of the floor", LIKE_FLOOR),
}
SUSPICIOUS = 0.05  # share of real held-out clips that are as near to a training clip by chance
ONE_CLASS = "all"  # what every clip is labelled where samples and reference share no label
_SAMPLE_NAME = re.compile(r"(?P<label>.+?)_(?:ep)?\d+")  # <label>_<n> of sample.py, <label>_ep<n> of the cGAN's epochs


@dataclasses.dataclass(frozen=True, eq=False)
class Heard:
    """N clips as the classifier hears them: features (N, D), probabilities (N, K); ``manifest`` row i is clip i."""

    manifest: pd.DataFrame
    features: np.ndarray
    probabilities: np.ndarray

    def __len__(self) -> int:
        return len(self.manifest)

    def take(self, rows: Sequence[int] | np.ndarray) -> "Heard":
        manifest = self.manifest.iloc[rows].reset_index(drop=True)
        return Heard(manifest, self.features[rows], self.probabilities[rows])


def list_samples(folder: Path) -> pd.DataFrame:
    """The sounds of a folder: path, and the label of <label>_<n>.wav or, in any other layout, what load_dataset finds.

    Raises:
        UserError: no such folder, or no sounds in it.
    """
    if folder.is_dir() and (files := audio_files(folder)):
        names = [_SAMPLE_NAME.fullmatch(path.stem) for path in files]
        return pd.DataFrame({"path": files, "label": [name["label"] if name else "" for name in names]}, dtype=object)
    return load_dataset(folder).manifest[["path", "label"]]


def windows(manifest: pd.DataFrame, *, duration: float, most: int, seed: int) -> pd.DataFrame:
    """The sounds as clips of what the classifier hears at once, in seconds; at most so many, in the order they had."""
    clips = segments(manifest, duration=duration)
    return clips if len(clips) <= most else clips.sample(most, random_state=seed).sort_index().reset_index(drop=True)


def hear(classifier: Classifier, manifest: pd.DataFrame, cache: FeatureCache, *, n_jobs: int | None) -> Heard:
    """The usable clips of a manifest; the others are named.

    Raises:
        UserError: none is usable.
    """
    clips = cache.build(list(manifest.path), offsets=list(manifest.offset), n_jobs=n_jobs)
    for path, reason in list(clips.rejects.items())[:5]:
        print(f"skipped {path}: {reason}")
    if not clips.kept:
        path, reason = next(iter(clips.rejects.items()))
        raise UserError(f"none of {len(manifest)} files is usable; the first, {path}: {reason}")
    manifest = manifest.iloc[clips.kept].reset_index(drop=True)
    features, probabilities = (
        compute(clips.features[[i]][0] for i in range(len(manifest)))
        for compute in (classifier.features, classifier.probabilities)
    )
    return Heard(manifest, features, probabilities)


def hear_noise(classifier: Classifier, labels: Sequence[str], like: Sequence[Path], *, seed: int) -> Heard:
    """White Gaussian noise under these labels, each clip as long and as loud (RMS) as one of ``like``, in turn, and of
    its sampling rate: a narrow band alone tells no sound from noise.
    """
    rng, spec, arrays = np.random.default_rng(seed), classifier.spec, []
    for i in range(len(labels)):
        y, sr = decode(like[i % len(like)], duration=spec.duration)
        noise = rng.standard_normal(len(y)).astype(np.float32) * np.sqrt(np.mean(y**2))
        noise = resample(noise, sr, spec.sr)
        arrays.append(TRANSFORMS[spec.kind](fix_length(noise, size=spec.n_samples), spec))
    manifest = pd.DataFrame({"path": "", "label": labels})
    return Heard(manifest, classifier.features(arrays), classifier.probabilities(arrays))


def halves(real: Heard, *, seed: int) -> tuple[Heard, Heard]:
    """The reference's train and held-out clips: half of its recordings each, the classes spread as evenly as they go.

    Raises:
        UserError: too few recordings.
    """
    if real.manifest.group.nunique() < 2:
        raise UserError("its usable clips are of one recording; the floor needs two or more")
    split = assign_splits(real.manifest, how="grouped", val_share=0, fold=0, folds=2, seed=seed).split
    return tuple(real.take(np.flatnonzero(split == side)) for side in ("train", "test"))


def matching(held: Heard, samples: Heard, *, seed: int) -> Heard:
    """As many held-out clips as there are samples, of each label as many where they share labels; or as there are."""
    rng = np.random.default_rng(seed)
    wanted = samples.manifest.label.value_counts()
    order = rng.permutation(len(held))
    labels = held.manifest.label.to_numpy()[order]
    if set(wanted.index) <= set(labels):
        turn = pd.Series(labels).groupby(labels).cumcount().to_numpy()
        return held.take(np.sort(order[turn < wanted.reindex(labels).to_numpy()]))
    return held.take(np.sort(order[: len(samples)]))


def judge(
    x: Heard, train: Heard, floor: Heard, *, classes: Sequence[str], common: Collection[str], seed: int
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """The figures of ``x`` against the train clips, by the names in METRICS, and those of each label.

    Args:
        floor: the held-out clips, whose nearness to the train clips is what chance brings about.
        classes: names of the K classes the classifier knows; clips of others are left out of the accuracy.
        common: labels that samples and reference share; without one all clips count as one class.
    """
    (real_x, real_labels), (own_x, own_labels) = (_labelled(heard, common) for heard in (train, x))
    frechet = distances.frechet_by_label(real_x, real_labels, own_x, own_labels)
    right = _right(x, classes)
    nearest = distances.nearest(train.features, x.features)[1]
    by_chance = np.quantile(distances.nearest(train.features, floor.features)[1], SUSPICIOUS)
    figures = {
        "frechet": distances.frechet(train.features, x.features),
        "frechet_infinity": distances.frechet_infinity(train.features, x.features, seed=seed),
        "frechet_by_label": _mean(frechet.values()),
        "kernel_distance": distances.kernel_distance(train.features, x.features),
        "inception_score": distances.inception_score(x.probabilities),
        "accuracy": _mean(right),
        **distances.neighbourhoods(train.features, x.features),
        "spectral_norm": distances.spectral_norm(x.features),
        "within_class_distance": distances.within_class_distance(own_x, own_labels),
        "nearest_distance": float(np.median(nearest)),
        "copies": float((nearest < by_chance).mean()),
    }
    labels = x.manifest.label
    by_label = {
        str(k): {"clips": int((labels == k).sum()), "accuracy": _mean(right[labels == k]), "frechet": frechet.get(k)}
        for k in sorted(labels.unique())
    }
    return figures, by_label


def _labelled(heard: Heard, common: Collection[str]) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of the clips whose label is in common; all of them as one class where none is."""
    labels = heard.manifest.label.to_numpy()
    if not common:
        return heard.features, np.full(len(labels), ONE_CLASS)
    rows = np.isin(labels, list(common))
    return heard.features[rows], labels[rows]


def _right(heard: Heard, classes: Sequence[str]) -> np.ndarray:
    """1 where the classifier names the clip's label, 0 where another, NaN where it does not know the label: (N,)."""
    labels = heard.manifest.label
    right = np.asarray(classes)[heard.probabilities.argmax(axis=1)] == labels.to_numpy()
    return np.where(labels.isin(classes), right, np.nan)


def _mean(values: Any) -> float:
    """The mean of what is a number; NaN where nothing is."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


def closest(samples: Heard, real: Heard, *, count: int = 5) -> list[dict[str, Any]]:
    """The samples nearest to any real clip, nearest first: what to listen to for copies."""
    place, distance = distances.nearest(real.features, samples.features)

    def name(clips: Heard, row: int) -> str:
        path, offset = clips.manifest.path[row], clips.manifest.offset[row]
        return f"{path} at {offset:g} s" if offset else str(path)

    return [
        {"sample": name(samples, i), "real": name(real, place[i]), "distance": float(distance[i])}
        for i in np.argsort(distance, kind="stable")[:count]
    ]


def notes_on(made: Heard, train: Heard, floor: Heard, *, classifier: Classifier, common: Collection[str]) -> list[str]:
    """What a reader must know of the clips to believe the figures."""
    notes = []
    few, size = min(len(made), len(train), len(floor)), made.features.shape[1]
    if few <= size:
        notes.append(
            f"FEWER CLIPS THAN FEATURES ({len(made)} samples, {len(train)} train clips, {len(floor)} of the floor, "
            f"{size} features): the Fréchet distance is far too large and FAD-infinity still is; set them beside the "
            "floor's only, and rather believe KAD, precision, recall, density and coverage"
        )
    if len(floor) < len(made):
        notes.append(f"the floor has {len(floor)} clips, the samples {len(made)}: its Fréchet distance is too large")
    labels = made.manifest.label
    if not common:
        notes.append("samples and reference share no label: all clips count as one class")
    elif strange := int((~labels.isin(common)).sum()):
        notes.append(f"{strange} samples are of no class of the reference: left out of the figures by label")
    if unknown := sorted(set(labels) - set(classifier.classes)):
        names = ", ".join(label or "(no label)" for label in unknown[:5])
        notes.append(f"the classifier knows no class {names}: its accuracy leaves these samples out")
    if train.manifest.group.nunique() == train.manifest.path.nunique():
        notes.append("each real clip counts as a recording of its own: if some are not, the floor is too low")
    own, real = (np.median([seconds(path) for path in clips.manifest.path[:50]]) for clips in (made, train))
    if own < 0.9 * min(real, classifier.spec.duration):
        notes.append(
            f"the samples last {own:.2g} s, the real clips {real:.2g} s: what they lack is heard as silence, which "
            "alone sets them apart"
        )
    own, real = (int(np.median([sampling_rate(path) for path in clips.manifest.path[:50]])) for clips in (made, train))
    if own < min(real, classifier.spec.sr):
        notes.append(
            f"the samples have a sampling rate of {own} Hz, the real clips of {real} Hz: the high sounds they lack "
            "alone set them apart; a reference resampled to the samples' rate would tell more"
        )
    if any(clips.manifest.offset.any() for clips in (made, train)):
        notes.append(f"longer sounds are heard in windows of {classifier.spec.duration:g} s, and each counts as a clip")
    return notes


def notes_on_run(run_dir: Path, dataset: Dataset) -> list[str]:
    """Whether the classifier was trained on the reference, as far as its run tells, and how it does on other sounds."""
    config, metrics = read_json(run_dir / "config.json"), read_json(run_dir / "metrics.json")
    known = Path(config["data"]["root"]).resolve() == dataset.root.resolve()
    if (run_dir / "predictions.csv").is_file():
        judged = pd.read_csv(run_dir / "predictions.csv", dtype=str)
        seen = {(label, Path(path).name) for label, path in zip(judged.label, judged.path, strict=True)}
        here = zip(dataset.manifest.label, (path.name for path in dataset.manifest.path), strict=True)
        known = known or not seen.isdisjoint(here)
    if not known:
        return []
    accuracy = metrics.get(f"{metrics.get('reported_on')}/accuracy")
    unheard = "" if accuracy is None else f"; on recordings it had not heard it was {accuracy:.3f}"
    return [f"the classifier was trained on clips of this reference, so the floor's accuracy flatters{unheard}"]


def report(evaluation: dict[str, Any]) -> str:
    """The table, the accuracy by label, the closest pair and the notes."""
    rows = {METRICS[name][0]: row for name, row in evaluation["metrics"].items()}
    table = pd.DataFrame(rows).T[["samples", "floor", "ceiling", "better"]]
    lines = [table.map(lambda v: v if isinstance(v, str) else _number(v)).to_string()]
    for label, row in evaluation["by_label"]["samples"].items():
        lines.append(f"  {label or '(no label)'}: {row['clips']} samples, accuracy {_number(row['accuracy'])}")
    first = evaluation["closest"][0]
    lines.append(f"nearest to a real clip: {first['sample']} to {first['real']}, at {_number(first['distance'])}")
    return "\n".join(lines + [f"note: {note}" for note in evaluation["notes"]])


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}"


def without_nan(value: Any) -> Any:
    """The same with None where a figure is not a number: JSON has no other word for it."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
