"""Turns a data folder into a Dataset: a manifest with one row per clip, and the unlabelled test set."""

import dataclasses
import difflib
import os
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from shared.audio import AUDIO_SUFFIXES, seconds
from shared.data.sources import URBANSOUND8K_CLASSES
from shared.errors import UserError
from shared.files import base_folder, is_file
from shared.tables import read_table

_URBANSOUND_NAME = re.compile(r"(?P<group>\d+)-(?P<class_id>\d+)-\d+-\d+")  # fsID-classID-occurrence-slice
_URBANSOUND_CSV = "UrbanSound8K.csv"
_FOLD = re.compile(r"fold\d+")
_SPOKEN_NAME = re.compile(r"(?P<label>[^_]+)_(?P<group>.+)_(?P<index>\d+)")  # label_speaker_index
_SPOKEN_TEST = range(5)  # indices of the official test set

Row = tuple[str, str, str | None, str]  # path, label, group (None: unknown), official


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Labelled clips and, if the folder has one, the competition's test set.

    Attributes:
        root: the data folder, or the CSV that lists the clips.
        layout: the name of its layout.
        manifest: one row per clip, sorted by path. Columns, all strings: path, label, group (the source recording),
            official (the fold, "train" or "test" that the data set itself assigns, or "") and split (initially "").
        groups_known: whether the recordings are known; if not, each clip is its own group.
        test_dir, test_files: the test folder and its sorted files, or None and [].
        sample_submission: the CSV with the test IDs, or None.
    """

    root: Path
    layout: str
    manifest: pd.DataFrame
    groups_known: bool
    test_dir: Path | None = None
    test_files: list[Path] = dataclasses.field(default_factory=list)
    sample_submission: Path | None = None

    @property
    def folder(self) -> Path:
        """The data folder, or the folder of the CSV."""
        return base_folder(self.root)


def load_dataset(data_dir: Path | str) -> Dataset:
    """Detect the layout of ``data_dir``, or read a CSV, and list the clips, without opening any audio file.

    Raises:
        UserError: the folder is missing or empty, its layout is unknown, or the CSV cannot be used.
    """
    root = Path(data_dir)
    if root.suffix.lower() == ".csv" and root.is_file():
        return _dataset(root, "list", _list(root))
    if not root.is_dir():
        raise UserError(f"--data-dir {root}: {_why_no_folder(root)}")
    for layout, read in LAYOUTS.items():
        if rows := read(root):
            return _dataset(root, layout, rows)
    inner = [child for child in _folders(root) if _kaggle(child) or _class_folders(child)]
    hint = f"; did you mean {inner[0]}?" if inner else ""
    raise UserError(
        f"--data-dir {root}: no labelled sounds found. Expected a folder per class with "
        f"{', '.join(sorted(AUDIO_SUFFIXES))} files, train/train/<class>/, "
        f"metadata/UrbanSound8K.csv, recordings/<label>_<speaker>_<n>.* or unlabelled files{hint}"
    )


def _why_no_folder(root: Path) -> str:
    if root.exists():
        return "is a file, not a folder; give a folder, or a CSV with the columns path and label"
    close = difflib.get_close_matches(root.name, [folder.name for folder in _folders(root.parent)], n=1)
    remedy = f"did you mean {root.parent / close[0]}?" if close else "give a folder of labelled sounds"
    return f"no such folder; {remedy}"


def _folders(root: Path) -> list[Path]:
    """The folders in ``root``, sorted, without hidden ones; [] if ``root`` does not exist."""
    return sorted(root.glob("[!.]*/"))


def audio_files(folder: Path) -> list[Path]:
    """The audio files directly in ``folder``, sorted, without hidden ones; [] if ``folder`` does not exist."""
    return [folder / name for name in _sounds(folder)] if folder.is_dir() else []


def _sounds(folder: Path) -> list[str]:
    """The names of the audio files directly in ``folder``, sorted, without hidden ones."""
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    return sorted(n for n in names if n.lower().endswith(tuple(AUDIO_SUFFIXES)) and not n.startswith("."))


def _dataset(root: Path, layout: str, rows: list[Row]) -> Dataset:
    """Build the data set from these rows. Unless all groups are known, each clip is its own group."""
    frame = pd.DataFrame(rows, columns=["path", "label", "group", "official"], dtype=object).assign(split="")
    known = bool(frame.group.notna().all())
    frame["group"] = frame.group if known else frame.path
    manifest = frame.sort_values("path", kind="stable", ignore_index=True)
    if layout != "Kaggle":
        return Dataset(root, layout, manifest, known)
    test = next((folder for folder in (root / "test" / "test", root / "test") if folder.is_dir()), None)
    sample = root / "sample_submission.csv"
    tests = audio_files(test) if test else []
    return Dataset(root, layout, manifest, known, test, tests, sample if sample.is_file() else None)


def _class_folders(root: Path) -> list[Row]:
    rows = []
    for folder in _folders(root):
        label = folder.name
        for name in _sounds(folder):
            parts = _URBANSOUND_NAME.fullmatch(Path(name).stem)
            rows.append((f"{folder}{os.sep}{name}", label, parts["group"] if parts else None, ""))
    return rows


def _kaggle(root: Path) -> list[Row]:
    """train/train/<class>/* or train/<class>/*."""
    return _class_folders(root / "train" / "train") or _class_folders(root / "train")


def _list(table: Path) -> list[Row]:
    """The rows of a CSV that the user wrote: path, label and, if it has them, group (recording) and split.

    A path may be absolute or relative to the CSV's folder, and it may lead anywhere.

    Raises:
        UserError: a path or label is blank, or a split is neither train nor test.
    """
    frame = read_table(table, ("path", "label"), flag="--data-dir")
    rows = []
    for line, row in enumerate(frame.to_dict("records"), start=2):
        path, label, split = row["path"].strip(), row["label"].strip(), row.get("split", "").strip()
        if not path or not label:
            raise UserError(f"--data-dir {table}: line {line} has no {'label' if path else 'path'}; complete it")
        if split not in ("", "train", "test"):
            raise UserError(f"--data-dir {table}: line {line}: split {split}: must be train, test or empty")
        rows.append((str(table.parent / path), label, row.get("group", "").strip() or None, split))
    if not rows:
        raise UserError(f"--data-dir {table}: lists no clip; give one with a line per clip")
    return rows


def _urbansound8k(root: Path) -> list[Row]:
    """audio/fold*/ and metadata/UrbanSound8K.csv, or both directly in the folder, as in some downloads.

    Without the table, the classes are read from the file names.
    """
    folds = _folds(root / "audio") or _folds(root)
    tables = [root / "metadata" / _URBANSOUND_CSV, *([root / _URBANSOUND_CSV] if folds else [])]
    if table := next(filter(Path.is_file, tables), None):
        return _urbansound_table(table, folds[0].parent if folds else root / "audio")
    return [_urbansound_row(path) for folder in folds for path in audio_files(folder)]


def _folds(folder: Path) -> list[Path]:
    """The folders fold1, fold2, ... in ``folder``; [] if folders with other names hold sounds, too."""
    folders = _folders(folder)
    folds = [child for child in folders if _FOLD.fullmatch(child.name)]
    return folds if folds and not any(audio_files(child) for child in folders if child not in folds) else []


def _urbansound_row(path: Path) -> tuple[str, str, str, str]:
    """Read class, recording and fold from a file's name and folder.

    Raises:
        UserError: the name does not contain a class.
    """
    name = _URBANSOUND_NAME.fullmatch(path.stem)
    if name is None or int(name["class_id"]) >= len(URBANSOUND8K_CLASSES):
        raise UserError(
            f"{path}: fold1, fold2, ... are taken for UrbanSound8K's folds, but this file's name does not contain a "
            f"class (fsID-classID-occurrence-slice); put {_URBANSOUND_CSV} beside the folds, or make a folder per class"
        )
    return str(path), URBANSOUND8K_CLASSES[int(name["class_id"])], name["group"], path.parent.name.removeprefix("fold")


def _urbansound_table(metadata: Path, audio: Path) -> list[Row]:
    """Read the rows of UrbanSound8K.csv, whose files are in ``audio``.

    Raises:
        UserError: a column is missing, or none of the files exists.
    """
    columns = ("slice_file_name", "fsID", "fold", "class")
    table = read_table(metadata, columns)
    rows = []
    for i, (name, fs_id, fold, label) in enumerate(zip(*(table[column] for column in columns), strict=True)):
        blank = [column for column in columns if not table[column][i].strip()]
        if blank:
            raise UserError(f"{metadata}: line {i + 2} has no {blank[0]}; use the official file")
        if Path(name).name != name or not _FOLD.fullmatch(f"fold{fold}"):  # never leads out of the folder
            raise UserError(
                f"{metadata}: line {i + 2}: fold {fold}, {name}: not a file of a fold; use the official file"
            )
        rows.append((str(audio / f"fold{fold}" / name), label, fs_id, fold))
    if not any(is_file(Path(row[0])) for row in rows):
        raise UserError(f"{metadata}: none of its {len(rows)} files exists in {audio}; unpack the audio there")
    return rows


def _recordings(root: Path) -> list[Row]:
    rows = []
    for path in audio_files(root / "recordings"):
        if name := _SPOKEN_NAME.fullmatch(path.stem):
            official = "test" if int(name["index"]) in _SPOKEN_TEST else "train"
            rows.append((str(path), name["label"], name["group"], official))
    return rows


def _unlabelled(root: Path) -> list[Row]:
    """Files directly in the folder, as one class named after it: unlabelled music for the generators."""
    return [(str(path), root.resolve().name, None, "") for path in audio_files(root)]


def segments(manifest: pd.DataFrame, *, duration: float) -> pd.DataFrame:
    """Divide each clip into parts of ``duration`` seconds: one row per part, with its ``offset`` in seconds.

    A shorter remainder is dropped. A clip shorter than one part becomes one part, which is padded when it is loaded.
    """
    parts = [max(1, int(seconds(path) / duration + 1e-6)) for path in manifest.path]
    rows = manifest.loc[manifest.index.repeat(parts)].reset_index(drop=True)
    return rows.assign(offset=[duration * i for n in parts for i in range(n)])


LAYOUTS: dict[str, Callable[[Path], list[Row]]] = {  # a folder has the first layout whose reader finds clips
    "UrbanSound8K": _urbansound8k,
    "Kaggle": _kaggle,
    "recordings": _recordings,
    "a folder per class": _class_folders,
    "unlabelled": _unlabelled,
}
