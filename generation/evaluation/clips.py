"""The files that an evaluation compares: samples, and real clips that were trained on or held out."""

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from shared.audio import sampling_rate
from shared.data.datasets import audio_files, load_dataset, segments
from shared.data.splits import assign_splits
from shared.errors import UserError
from shared.features.cache import FeatureCache
from shared.features.shards import Features
from shared.features.spec import FeatureSpec
from shared.runs.sounds import sample_labels


@dataclasses.dataclass(frozen=True, eq=False)
class Pictured:
    """Clips with their spectrograms: row i of ``manifest`` (path, label, group, offset) is clip i of ``features``.

    ``rejects`` are the files that cannot be used, with the reasons.
    """

    manifest: pd.DataFrame
    features: Features
    rejects: dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, files: pd.DataFrame, cache: FeatureCache, *, n_jobs: int | None) -> "Pictured":
        """The usable clips of these files; a file longer than the spec's duration is cut into several clips."""
        manifest = segments(files, duration=cache.spec.duration)
        clips = cache.build(list(manifest.path), offsets=list(manifest.offset), n_jobs=n_jobs)
        return cls(manifest.iloc[clips.kept].reset_index(drop=True), clips.features, clips.rejects)

    def __len__(self) -> int:
        return len(self.manifest)

    def of_files(self, files: pd.DataFrame) -> "Pictured":
        """The clips of these files."""
        rows = np.flatnonzero(self.manifest.path.isin(files.path))
        return Pictured(self.manifest.iloc[rows].reset_index(drop=True), self.features.take(rows))

    def usable(self, files: pd.DataFrame, *, option: str, folder: Path) -> pd.DataFrame:
        """The files that have clips here; print up to five of the others.

        Args:
            option: "samples" or "reference", the option that named ``folder``.

        Raises:
            UserError: none is usable.
        """
        for path, reason in list(self.rejects.items())[:5]:
            print(f"skipped {path}: {reason}")
        kept = files[files.path.isin(self.manifest.path)].reset_index(drop=True)
        if len(kept):
            return kept
        path, reason = next(iter(self.rejects.items()))
        raise UserError(f"--{option} {folder}: none of {len(files)} files is usable; the first, {path}: {reason}")


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
    return pd.DataFrame({"path": [str(file) for file in files], "label": sample_labels(files, classes)}, dtype=object)


def divide(real: pd.DataFrame, *, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame | None]:
    """Divide real clips by their columns trained_on and held_out.

    If no clip is marked as trained on, the generator may have been trained on any of them. One half of the recordings
    then serves as the training clips and the other half as the held-out ones.

    Returns:
        searched: the clips that samples may copy: all that the generator was, or may have been, trained on.
        compared: the clips of ``searched`` whose recordings have no held-out clip, for all other figures.
        held_out: the clips that the floor is drawn from; None if every recording was trained on.

    Raises:
        UserError: too few recordings for two halves.
    """
    if real.trained_on.any():
        searched, held_out = (real[real[column].to_numpy(bool)] for column in ("trained_on", "held_out"))
        return searched, searched, held_out if len(held_out) else None
    if real.group.nunique() < 2:
        raise UserError("--reference: its usable clips come from one recording; the figures need two or more")
    split = assign_splits(real, how="grouped", val_share=0, fold=0, folds=2, seed=seed).split
    return real, real[split == "train"], real[split == "test"]


def matching(real: pd.DataFrame, samples: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    """Draw as many real clips as there are samples, or all if there are fewer.

    If they have all labels of the samples, at most as many of each label are drawn as there are samples of it.
    """
    wanted = samples.label.value_counts()
    order = np.random.default_rng(seed).permutation(len(real))
    labels = real.label.iloc[order]
    if set(wanted.index) <= set(labels):
        order = order[labels.groupby(labels).cumcount().to_numpy() < wanted.reindex(labels).to_numpy()]
    return real.iloc[np.sort(order[: len(samples)])]


def at_most(clips: pd.DataFrame, most: int, *, seed: int) -> pd.DataFrame:
    """At most this many clips, drawn at random and kept in order."""
    return clips.iloc[np.sort(np.random.default_rng(seed).permutation(len(clips))[:most])]


def within_band(spec: FeatureSpec, paths: Sequence[str], *, duration: float) -> FeatureSpec:
    """The spec for clips of this many seconds, with bands up to the highest frequency in the sounds of these files."""
    rates = [rate for path in paths[:50] if (rate := sampling_rate(path))]
    highest = min([spec.sr / 2, *(rate / 2 for rate in rates)])
    return dataclasses.replace(spec, duration=duration, frames=None, fmax=None if highest == spec.sr / 2 else highest)
