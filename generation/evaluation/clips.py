"""The clips that an evaluation compares: samples, noise, and real clips that were trained on or held out."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from classification.inference.classifier import Classifier
from shared.audio import decode, fix_length, resample
from shared.data.datasets import audio_files, load_dataset, segments
from shared.data.splits import assign_splits
from shared.errors import UserError
from shared.features.cache import FeatureCache
from shared.features.transforms import TRANSFORMS
from shared.runs.sounds import sample_labels


@dataclasses.dataclass(frozen=True, eq=False)
class Embedded:
    """N clips as the classifier sees them: features (N, D) and probabilities (N, K) of ``classes``.

    Row i of ``manifest`` is clip i.
    """

    manifest: pd.DataFrame
    features: np.ndarray
    probabilities: np.ndarray
    classes: Sequence[str]

    def __len__(self) -> int:
        return len(self.manifest)

    def take(self, rows: np.ndarray) -> "Embedded":
        """The clips at these places, or where a mask (N,) is true."""
        manifest = self.manifest.iloc[rows].reset_index(drop=True)
        return Embedded(manifest, self.features[rows], self.probabilities[rows], self.classes)

    def at_most(self, most: int, *, seed: int) -> "Embedded":
        """At most this many clips, drawn at random and kept in order."""
        return self.take(np.sort(np.random.default_rng(seed).permutation(len(self))[:most]))


def list_samples(folder: Path, classes: Iterable[str] = ()) -> pd.DataFrame:
    """The sounds of a folder, in columns path and label.

    Labels come from file names <label>_<n>.wav; in any other layout ``load_dataset`` finds them.

    Args:
        classes: labels to restore where a file name holds their ``safe_name``.

    Raises:
        UserError: no such folder, or no sounds in it.
    """
    if not folder.is_dir() or not (files := audio_files(folder)):
        return load_dataset(folder).manifest[["path", "label"]]
    return pd.DataFrame({"path": files, "label": sample_labels(files, classes)}, dtype=object)


def embed(
    classifier: Classifier,
    manifest: pd.DataFrame,
    cache: FeatureCache,
    *,
    option: str,
    folder: Path,
    n_jobs: int | None,
) -> Embedded:
    """Embed the usable clips of a manifest, and print up to five of the others.

    A sound longer than the classifier's window is cut into windows, and each window counts as a clip.

    Args:
        option: "samples" or "reference", the option that named ``folder``.

    Raises:
        UserError: no file is usable.
    """
    manifest = segments(manifest, duration=classifier.spec.duration)
    clips = cache.build(list(manifest.path), offsets=list(manifest.offset), n_jobs=n_jobs)
    for path, reason in list(clips.rejects.items())[:5]:
        print(f"skipped {path}: {reason}")
    if not clips.kept:
        path, reason = next(iter(clips.rejects.items()))
        raise UserError(f"--{option} {folder}: none of {len(manifest)} files is usable; the first, {path}: {reason}")
    manifest = manifest.iloc[clips.kept].reset_index(drop=True)
    return _embed(classifier, manifest, lambda i: clips.features[[i]][0], name=option)


def embed_noise(classifier: Classifier, labels: Sequence[str], like: Sequence[Path], *, seed: int) -> Embedded:
    """Embed white Gaussian noise, one clip for each label.

    Each clip copies the length, level (RMS) and sampling rate of a file in ``like``, in turn, so that neither level nor
    bandwidth alone sets the noise apart from the sounds.
    """
    rng, spec, arrays = np.random.default_rng(seed), classifier.spec, []
    for i in tqdm(range(len(labels)), desc="making noise", unit="clip", disable=None, leave=False):
        y, sr = decode(like[i % len(like)], duration=spec.duration)
        noise = rng.standard_normal(len(y)).astype(np.float32) * np.sqrt(np.mean(y**2))
        noise = resample(noise, sr, spec.sr)
        arrays.append(TRANSFORMS[spec.kind](fix_length(noise, size=spec.n_samples), spec))
    return _embed(classifier, pd.DataFrame({"path": "", "label": labels}), arrays.__getitem__, name="noise")


def _embed(
    classifier: Classifier, manifest: pd.DataFrame, array: Callable[[int], np.ndarray], *, name: str
) -> Embedded:
    """Embed the clips of ``manifest``; ``array(i)`` is the spectrogram of clip i."""

    def arrays(step: str) -> Iterator[np.ndarray]:
        return map(array, tqdm(range(len(manifest)), desc=f"{name}: {step}", unit="clip", disable=None, leave=False))

    features, probabilities = classifier.features(arrays("features")), classifier.probabilities(arrays("probabilities"))
    return Embedded(manifest, features, probabilities, classifier.classes)


def divide(real: Embedded, *, seed: int) -> tuple[Embedded, Embedded, Embedded | None]:
    """Divide real clips by the columns trained_on and held_out of their manifest.

    If no clip is marked as trained on, the generator may have been trained on any of them. One half of the recordings
    then serves as the training clips and the other half as the held-out ones.

    Returns:
        searched: the clips that samples may copy: all that the generator was, or may have been, trained on.
        compared: the clips of ``searched`` whose recordings have no held-out clip, for all other figures.
        held_out: the clips that the floor is drawn from; None if every recording was trained on.

    Raises:
        UserError: too few recordings for two halves.
    """
    if real.manifest.trained_on.any():
        searched, held_out = (real.take(real.manifest[column].to_numpy(bool)) for column in ("trained_on", "held_out"))
        return searched, searched, held_out if len(held_out) else None
    if real.manifest.group.nunique() < 2:
        raise UserError("--reference: its usable clips come from one recording; the figures need two or more")
    split = assign_splits(real.manifest, how="grouped", val_share=0, fold=0, folds=2, seed=seed).split
    return real, real.take((split == "train").to_numpy()), real.take((split == "test").to_numpy())


def matching(held_out: Embedded, samples: Embedded, *, seed: int) -> Embedded:
    """Draw as many held-out clips as there are samples, or all if there are fewer.

    If they have all labels of the samples, at most as many of each label are drawn as there are samples of it.
    """
    wanted = samples.manifest.label.value_counts()
    order = np.random.default_rng(seed).permutation(len(held_out))
    labels = held_out.manifest.label.iloc[order]
    if set(wanted.index) <= set(labels):
        order = order[labels.groupby(labels).cumcount().to_numpy() < wanted.reindex(labels).to_numpy()]
    return held_out.take(np.sort(order[: len(samples)]))
