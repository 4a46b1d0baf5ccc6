"""A data folder -> a Dataset: its manifest (path, label, group, split; one row a clip) and its unlabelled test set."""

import dataclasses
import difflib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from shared.audio import AUDIO_SUFFIXES
from shared.errors import UserError

SplitKind = Literal["grouped", "random"]
_URBANSOUND_NAME = re.compile(r"(?P<group>\d+)-\d+-\d+-\d+")  # fsID-classID-occurrence-slice
_SPOKEN_NAME = re.compile(r"(?P<label>[^_]+)_(?P<group>.+)_\d+")  # label_speaker_index


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Labelled clips and, where the folder has one, the competition's test set.

    Attributes:
        manifest: columns path (Path), label, group (the source recording), split ("" at first), sorted by path.
        groups_known: whether the names told which clips share a recording; if not, each clip is its own group.
        test_dir, test_files: the folder and the sorted files to predict, or None and [].
        sample_submission: the CSV that names the test IDs, or None.
    """

    root: Path
    layout: str
    manifest: pd.DataFrame
    groups_known: bool
    test_dir: Path | None = None
    test_files: list[Path] = dataclasses.field(default_factory=list)
    sample_submission: Path | None = None


def load_dataset(data_dir: Path | str) -> Dataset:
    """Recognise the layout of ``data_dir`` and list its clips; no audio is opened.

    Raises:
        UserError: the folder is missing, empty or of no known layout.
    """
    root = Path(data_dir)
    if not root.is_dir():
        raise UserError(f"--data-dir {root}: {_why_no_folder(root)}")
    for read in (_read_urbansound8k, _read_kaggle, _read_recordings, _read_class_folders):
        dataset = read(root)
        if dataset is not None:
            return dataset
    inner = [child.name for child in _folders(root) if _read_kaggle(child) or _read_class_folders(child)]
    hint = f"; did you mean {root / inner[0]}?" if inner else ""
    raise UserError(
        f"--data-dir {root}: no labelled sounds found. Expected a folder per class with "
        f"{', '.join(sorted(AUDIO_SUFFIXES))} files, train/train/<class>/, "
        f"metadata/UrbanSound8K.csv or recordings/<label>_<speaker>_<n>.*{hint}"
    )


def _why_no_folder(root: Path) -> str:
    if root.exists():
        return "is a file, not a folder"
    siblings = [p.name for p in root.parent.iterdir() if p.is_dir()] if root.parent.is_dir() else []
    close = difflib.get_close_matches(root.name, siblings, n=1)
    return "no such folder" + (f"; did you mean {root.parent / close[0]}?" if close else "")


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def audio_files(folder: Path) -> list[Path]:
    """The folder's own audio files by name, hidden ones left out, sorted."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in AUDIO_SUFFIXES and not p.name.startswith("."))


def _manifest(rows: Iterator[tuple[Path, str, str | None]] | list) -> tuple[pd.DataFrame, bool]:
    """Rows (path, label, group or None) -> manifest, and whether every group was known."""
    frame = pd.DataFrame(rows, columns=["path", "label", "group"], dtype=object)
    known = bool(frame.group.notna().all())
    names = frame.path.map(str)
    frame["group"] = frame.group.astype(str) if known else names
    frame["split"] = ""
    return frame.iloc[names.argsort(kind="stable")].reset_index(drop=True), known


def _class_rows(root: Path) -> list[tuple[Path, str, str | None]]:
    rows = []
    for folder in _folders(root):
        for path in audio_files(folder):
            name = _URBANSOUND_NAME.fullmatch(path.stem)
            rows.append((path, folder.name, name["group"] if name else None))
    return rows


def _read_class_folders(root: Path) -> Dataset | None:
    rows = _class_rows(root)
    return Dataset(root, "a folder per class", *_manifest(rows)) if rows else None


def _read_kaggle(root: Path) -> Dataset | None:
    """train/train/<class>/*, test/test/*, sample_submission.csv; the doubled folders may also be single."""
    for train, test in ((root / "train" / "train", root / "test" / "test"), (root / "train", root / "test")):
        rows = _class_rows(train) if train.is_dir() else []
        if rows:
            sample = root / "sample_submission.csv"
            test = test if test.is_dir() else root / "test"
            found = test.is_dir()
            return Dataset(
                root,
                "Kaggle",
                *_manifest(rows),
                test_dir=test if found else None,
                test_files=audio_files(test) if found else [],
                sample_submission=sample if sample.is_file() else None,
            )
    return None


def _read_urbansound8k(root: Path) -> Dataset | None:
    metadata = root / "metadata" / "UrbanSound8K.csv"
    if not metadata.is_file():
        return None
    table = pd.read_csv(metadata)
    missing = {"slice_file_name", "fsID", "fold", "class"} - set(table.columns)
    if missing:
        raise UserError(f"{metadata}: lacks the columns {', '.join(sorted(missing))}; take the official file")
    columns = zip(table.slice_file_name, table.fsID, table.fold, table["class"], strict=True)
    rows = [(root / "audio" / f"fold{fold}" / name, label, str(fs_id)) for name, fs_id, fold, label in columns]
    if not any(path.is_file() for path, _, _ in rows):
        raise UserError(f"{metadata}: none of its {len(rows)} files is below {root / 'audio'}; unpack the audio there")
    return Dataset(root, "UrbanSound8K", *_manifest(rows))


def _read_recordings(root: Path) -> Dataset | None:
    folder = root / "recordings"
    names = [(p, _SPOKEN_NAME.fullmatch(p.stem)) for p in audio_files(folder)] if folder.is_dir() else []
    rows = [(p, name["label"], name["group"]) for p, name in names if name]
    return Dataset(root, "recordings", *_manifest(rows)) if rows else None


def check_trainable(manifest: pd.DataFrame, *, root: Path, splits: int) -> None:
    """Refuse what no classifier can learn from, before anything is trained.

    Raises:
        UserError: fewer than two classes, or a class with fewer clips than splits to stand in.
    """
    counts = manifest.label.value_counts()
    if len(counts) < 2:
        raise UserError(
            f"--data-dir {root}: one class only ({counts.index[0]}, {counts.iloc[0]} clips); a classifier needs two"
        )
    smallest = counts.idxmin()
    if counts[smallest] < splits:
        raise UserError(
            f"--data-dir {root}: class {smallest} has {counts[smallest]} usable clip(s); {splits} splits need at least "
            f"{splits}. Add clips, or remove that folder"
        )


def take_fraction(manifest: pd.DataFrame, *, fraction: float, seed: int) -> pd.DataFrame:
    """That share of each class's clips (at least 6), drawn by ``seed``, in the order of the manifest.

    They are spread over as many recordings as there are, so that what is left can still be split by recording.
    """
    if not 0 < fraction <= 1:
        raise UserError(f"--fraction {fraction}: must be above 0 and at most 1")
    if fraction == 1:
        return manifest
    kept: list[int] = []
    for _, rows in manifest.groupby("label"):
        shuffled = rows.sample(frac=1, random_state=seed)
        turn = shuffled.groupby("group").cumcount()  # a recording's first clip comes before any other's second
        kept.extend(turn.sort_values(kind="stable").index[: max(6, round(fraction * len(rows)))])
    return manifest.loc[sorted(kept)]


def assign_splits(
    manifest: pd.DataFrame,
    *,
    how: SplitKind = "grouped",
    val_share: float = 0.2,
    test_share: float = 0.2,
    seed: int = 0,
) -> pd.DataFrame:
    """A copy of the manifest with split = train, val or test.

    "grouped" keeps all clips of a recording on one side (StratifiedGroupKFold); "random" does not, and so tells
    how well recordings are recognised again. test_share 0 leaves out the test split.

    Raises:
        UserError: shares that leave nothing to train on, or a class of too few recordings to stand in every split.
    """
    if not (0 < val_share < 1 and 0 <= test_share < 1 and val_share + test_share <= 0.8):
        raise UserError(
            f"--val-share {val_share} --test-share {test_share}: val must be above 0, test at least 0, "
            "the sum at most 0.8"
        )
    manifest = manifest.assign(split="train")
    if test_share > 0:
        manifest.loc[_held_out(manifest, share=test_share, how=how, seed=seed), "split"] = "test"
    rest = manifest[manifest.split == "train"]
    share = val_share / (1 - test_share)
    manifest.loc[_held_out(rest, share=share, how=how, seed=seed + 1), "split"] = "val"
    _check_every_class_everywhere(manifest, how=how)
    return manifest


def _held_out(frame: pd.DataFrame, *, share: float, how: SplitKind, seed: int) -> pd.Index:
    """The fold, of several shuffles, whose share of every class is nearest to ``share``.

    With few recordings a fold of that share may lack a class: then larger folds are tried.
    """
    totals = frame.label.value_counts()
    best, best_error = frame.index[:0], np.inf
    for n_splits in range(max(2, round(1 / share)), 1, -1):
        for held in _folds(frame, n_splits=n_splits, how=how, seed=seed):
            shares = frame.label.iloc[held].value_counts().reindex(totals.index, fill_value=0) / totals
            lacking = int(((shares == 0) | (shares == 1)).sum())
            error = float((shares - share).abs().sum()) + 10.0 * lacking
            if error < best_error:
                best, best_error = frame.index[held], error
        if best_error < 10.0:
            break
    return best


def _folds(frame: pd.DataFrame, *, n_splits: int, how: SplitKind, seed: int) -> Iterator[np.ndarray]:
    """The held-out positions of every fold of a few shuffles."""
    splitter = StratifiedGroupKFold if how == "grouped" else StratifiedKFold
    for shuffle in range(4 if how == "grouped" else 1):
        folds = splitter(n_splits, shuffle=True, random_state=1000 * seed + shuffle)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "least populated class": checked afterwards, in the user's words
            try:
                yield from (held for _, held in folds.split(frame, frame.label, frame.group))
            except ValueError:  # more folds than clips or recordings
                return


def _check_every_class_everywhere(manifest: pd.DataFrame, *, how: SplitKind) -> None:
    table = pd.crosstab(manifest.label, manifest.split)
    splits = len(table.columns)
    for label, row in table.iterrows():
        if (row == 0).any():
            recordings = manifest[manifest.label == label].group.nunique()
            raise UserError(
                f"class {label} has clips of {recordings} recording(s), too few for {splits} splits (--split {how}). "
                "Add recordings, remove that folder, or use --test-share 0 or --split random"
            )
