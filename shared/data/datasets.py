"""A data folder -> a Dataset: its manifest (path, label, group, split; one row a clip) and its unlabelled test set."""

import dataclasses
import difflib
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from shared.audio import AUDIO_SUFFIXES, seconds
from shared.data.sources import URBANSOUND8K_CLASSES
from shared.errors import UserError

_URBANSOUND_NAME = re.compile(r"(?P<group>\d+)-(?P<class_id>\d+)-\d+-\d+")  # fsID-classID-occurrence-slice
_URBANSOUND_CSV = "UrbanSound8K.csv"
_FOLD = re.compile(r"fold\d+")
_SPOKEN_NAME = re.compile(r"(?P<label>[^_]+)_(?P<group>.+)_(?P<index>\d+)")  # label_speaker_index
_SPOKEN_TEST = range(5)  # the indices of the official test set


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Labelled clips and, where the folder has one, the competition's test set.

    Attributes:
        manifest: columns path (Path), label, group (the source recording), official (the data's own fold, or "train"
            and "test"; "" without one) and split ("" at first), sorted by path.
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
    for read in (_read_urbansound8k, _read_kaggle, _read_recordings, _read_class_folders, _read_unlabelled):
        dataset = read(root)
        if dataset is not None:
            return dataset
    inner = [child.name for child in _folders(root) if _read_kaggle(child) or _read_class_folders(child)]
    hint = f"; did you mean {root / inner[0]}?" if inner else ""
    raise UserError(
        f"--data-dir {root}: no labelled sounds found. Expected a folder per class with "
        f"{', '.join(sorted(AUDIO_SUFFIXES))} files, train/train/<class>/, "
        f"metadata/UrbanSound8K.csv, recordings/<label>_<speaker>_<n>.* or unlabelled files{hint}"
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


def _manifest(rows: Sequence[tuple[Path, str, str | None, str]]) -> tuple[pd.DataFrame, bool]:
    """Rows (path, label, group or None, official) -> manifest, and whether every group was known."""
    frame = pd.DataFrame(rows, columns=["path", "label", "group", "official"], dtype=object)
    known = bool(frame.group.notna().all())
    names = frame.path.map(str)
    frame["group"] = frame.group.astype(str) if known else names
    frame["split"] = ""
    return frame.iloc[names.argsort(kind="stable")].reset_index(drop=True), known


def _class_rows(root: Path) -> list[tuple[Path, str, str | None, str]]:
    rows = []
    for folder in _folders(root):
        for path in audio_files(folder):
            name = _URBANSOUND_NAME.fullmatch(path.stem)
            rows.append((path, folder.name, name["group"] if name else None, ""))
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
    """audio/fold*/ and metadata/UrbanSound8K.csv, or both in the folder itself, as some downloads have them.

    Without the table the files' names tell the classes.
    """
    audio = next((folder for folder in (root / "audio", root) if folder.is_dir() and _folds(folder)), None)
    metadata = root / "metadata" / _URBANSOUND_CSV
    if audio is not None and not metadata.is_file():
        metadata = root / _URBANSOUND_CSV
    if metadata.is_file():
        rows = _urbansound_table(metadata, audio or root / "audio")
    elif audio is not None:
        rows = [_urbansound_row(path) for folder in _folds(audio) for path in audio_files(folder)]
    else:
        return None
    return Dataset(root, "UrbanSound8K", *_manifest(rows)) if rows else None


def _folds(folder: Path) -> list[Path]:
    """Its fold1, fold2, ...; none where folders of other names hold sounds, too."""
    folds = [child for child in _folders(folder) if _FOLD.fullmatch(child.name)]
    others = [child for child in _folders(folder) if child not in folds and audio_files(child)]
    return [] if others else folds


def _urbansound_row(path: Path) -> tuple[Path, str, str, str]:
    """A file of a fold, by its name.

    Raises:
        UserError: the name tells no class.
    """
    name = _URBANSOUND_NAME.fullmatch(path.stem)
    if name is None or int(name["class_id"]) >= len(URBANSOUND8K_CLASSES):
        raise UserError(
            f"{path}: folders named fold1, fold2, ... hold UrbanSound8K's folds, not classes, and this name tells no "
            f"class (fsID-classID-occurrence-slice); put {_URBANSOUND_CSV} beside the folds, or make a folder per class"
        )
    return path, URBANSOUND8K_CLASSES[int(name["class_id"])], name["group"], path.parent.name.removeprefix("fold")


def _urbansound_table(metadata: Path, audio: Path) -> list[tuple[Path, str, str, str]]:
    """The rows of UrbanSound8K.csv, whose files are below ``audio``.

    Raises:
        UserError: no such table, or none of its files is there.
    """
    table = pd.read_csv(metadata)
    missing = {"slice_file_name", "fsID", "fold", "class"} - set(table.columns)
    if missing:
        raise UserError(f"{metadata}: lacks the columns {', '.join(sorted(missing))}; take the official file")
    columns = zip(table.slice_file_name, table.fsID, table.fold, table["class"], strict=True)
    rows = [(audio / f"fold{k}" / name, label, str(fs_id), str(k)) for name, fs_id, k, label in columns]
    if not any(row[0].is_file() for row in rows):
        raise UserError(f"{metadata}: none of its {len(rows)} files is below {audio}; unpack the audio there")
    return rows


def _read_recordings(root: Path) -> Dataset | None:
    folder = root / "recordings"
    names = [(p, _SPOKEN_NAME.fullmatch(p.stem)) for p in audio_files(folder)] if folder.is_dir() else []
    rows = [
        (p, name["label"], name["group"], "test" if int(name["index"]) in _SPOKEN_TEST else "train")
        for p, name in names
        if name
    ]
    return Dataset(root, "recordings", *_manifest(rows)) if rows else None


def _read_unlabelled(root: Path) -> Dataset | None:
    """Files in the folder itself: one class of its name, for the generators of unlabelled music."""
    rows = [(path, root.resolve().name, None, "") for path in audio_files(root)]
    return Dataset(root, "unlabelled", *_manifest(rows)) if rows else None


def segments(manifest: pd.DataFrame, *, duration: float) -> pd.DataFrame:
    """Every clip as equal parts of ``duration`` seconds, each a row with its ``offset``; what is left over is dropped.

    A clip shorter than one part stays one, and will be padded.
    """
    parts = [max(1, int(seconds(path) / duration + 1e-6)) for path in manifest.path]
    rows = manifest.loc[manifest.index.repeat(parts)].reset_index(drop=True)
    return rows.assign(offset=[duration * i for n in parts for i in range(n)])
