"""The clips that an evaluation compares: samples, noise, and real clips that the generator heard or did not hear."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from classification.inference.classifier import Classifier
from shared.audio import decode, fix_length, resample
from shared.data.datasets import audio_files, load_dataset, segments
from shared.data.splits import assign_splits
from shared.errors import UserError
from shared.features.cache import FeatureCache
from shared.features.transforms import TRANSFORMS
from shared.files import safe_name

_SAMPLE_NAME = re.compile(r"(?P<label>.+?)_(?:ep)?\d+")  # <label>_<n> of sample.py, <label>_ep<n> of a run's epochs


@dataclasses.dataclass(frozen=True, eq=False)
class Embedded:
    """N clips as the classifier sees them: features (N, D), probabilities (N, K) of ``classes``.

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
        """So many clips, drawn at random, in the order they had."""
        return self.take(np.sort(np.random.default_rng(seed).permutation(len(self))[:most]))


def list_samples(folder: Path, classes: Iterable[str] = ()) -> pd.DataFrame:
    """The sounds of a folder: path, and the label of <label>_<n>.wav or, in any other layout, what load_dataset finds.

    Args:
        classes: labels that may stand in the names in the form that ``safe_name`` gives them.

    Raises:
        UserError: no such folder, or no sounds in it.
    """
    if not folder.is_dir() or not (files := audio_files(folder)):
        return load_dataset(folder).manifest[["path", "label"]]
    label_of = {safe_name(label): label for label in classes}
    names = [_SAMPLE_NAME.fullmatch(path.stem) for path in files]
    labels = [label_of.get(name["label"], name["label"]) if name else "" for name in names]
    return pd.DataFrame({"path": files, "label": labels}, dtype=object)


def embed(
    classifier: Classifier, manifest: pd.DataFrame, cache: FeatureCache, *, flag: str, n_jobs: int | None
) -> Embedded:
    """The usable clips of a manifest, longer ones in windows of what the classifier sees at once; the others are named.

    Args:
        flag: the option that the clips came by, and its value.

    Raises:
        UserError: none is usable.
    """
    manifest = segments(manifest, duration=classifier.spec.duration)
    clips = cache.build(list(manifest.path), offsets=list(manifest.offset), n_jobs=n_jobs)
    for path, reason in list(clips.rejects.items())[:5]:
        print(f"skipped {path}: {reason}")
    if not clips.kept:
        path, reason = next(iter(clips.rejects.items()))
        raise UserError(f"{flag}: none of {len(manifest)} files is usable; the first, {path}: {reason}")
    manifest = manifest.iloc[clips.kept].reset_index(drop=True)
    parts = (classifier.features, classifier.probabilities)
    computed = (part(clips.features[[i]][0] for i in range(len(manifest))) for part in parts)
    return Embedded(manifest, *computed, classifier.classes)


def embed_noise(classifier: Classifier, labels: Sequence[str], like: Sequence[Path], *, seed: int) -> Embedded:
    """White Gaussian noise under these labels. Each clip has the length, level (RMS) and sampling rate of one of
    ``like``, in turn: otherwise its band alone would tell it from the sounds.
    """
    rng, spec, arrays = np.random.default_rng(seed), classifier.spec, []
    for i in range(len(labels)):
        y, sr = decode(like[i % len(like)], duration=spec.duration)
        noise = rng.standard_normal(len(y)).astype(np.float32) * np.sqrt(np.mean(y**2))
        noise = resample(noise, sr, spec.sr)
        arrays.append(TRANSFORMS[spec.kind](fix_length(noise, size=spec.n_samples), spec))
    manifest = pd.DataFrame({"path": "", "label": labels})
    return Embedded(manifest, classifier.features(arrays), classifier.probabilities(arrays), classifier.classes)


def divide(real: Embedded, *, seed: int) -> tuple[Embedded, Embedded, Embedded | None]:
    """Real clips by the columns heard and unheard of their manifest.

    Where no clip is marked as heard, the generator may have heard any of them: then one half of the recordings stands
    for those it heard, and the other half for those it did not.

    Returns:
        heard: what is searched for copies: all clips that it heard, or that it may have heard.
        apart: those of them whose recordings have no clip in ``unheard``: the figures compare with these.
        unheard: what the floor is drawn from; None where the generator heard every recording.

    Raises:
        UserError: too few recordings for two halves.
    """
    if real.manifest.heard.any():
        heard, unheard = (real.take(real.manifest[column].to_numpy(bool)) for column in ("heard", "unheard"))
        return heard, heard, unheard if len(unheard) else None
    if real.manifest.group.nunique() < 2:
        raise UserError("--reference: its usable clips are of one recording; the floor needs two or more")
    split = assign_splits(real.manifest, how="grouped", val_share=0, fold=0, folds=2, seed=seed).split
    return real, real.take((split == "train").to_numpy()), real.take((split == "test").to_numpy())


def matching(unheard: Embedded, samples: Embedded, *, seed: int) -> Embedded:
    """As many unheard clips as there are samples, of each label as many where they share labels; or as there are."""
    wanted = samples.manifest.label.value_counts()
    order = np.random.default_rng(seed).permutation(len(unheard))
    labels = unheard.manifest.label.iloc[order]
    if set(wanted.index) <= set(labels):
        order = order[labels.groupby(labels).cumcount().to_numpy() < wanted.reindex(labels).to_numpy()]
    return unheard.take(np.sort(order[: len(samples)]))
