"""What a generator's run and a folder of its samples hold: names of files, which clips it heard, who made the samples."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from shared.data.datasets import Dataset
from shared.errors import UserError
from shared.files import read_json, write_json, write_text

WEIGHTS, DESCRIPTION, CONDITIONS = "generator.safetensors", "generator.json", "conditions.safetensors"
CLIPS = "clips.csv"  # every clip of the data folder: path, label, recording, and whether the generator heard it
SAMPLES = "samples.json"  # in a folder of samples: the run of the generator that made them, and its classes


def clip_table(dataset: Dataset) -> pd.DataFrame:
    """Clips as they are known in a copy of the data folder too: path below the folder, label, recording.

    A clip whose recording is not known counts as one of its own, named by label and file name.
    """
    manifest = dataset.manifest
    labels = "" if dataset.layout == "unlabelled" else manifest.label  # without classes it is the folder's name
    table = pd.DataFrame({"path": [path.relative_to(dataset.root).as_posix() for path in manifest.path]})
    table = table.assign(label=labels)
    own = table.label + "/" + [path.stem for path in manifest.path]
    return table.assign(recording=manifest.group if dataset.groups_known else own, clip=own)


def write_clips(run_dir: Path, dataset: Dataset, heard: Iterable[Path]) -> None:
    """clips.csv: every clip of the data folder, and whether it is one of ``heard``."""
    table = clip_table(dataset).drop(columns="clip").assign(heard=dataset.manifest.path.isin(set(heard)))
    write_text(run_dir / CLIPS, table.to_csv(index=False))


def heard_by(run_dir: Path, dataset: Dataset) -> pd.DataFrame:
    """Which clips of a data folder a generator was trained on, a row a clip of its manifest.

    Returns:
        columns heard and unheard. A clip that was not heard itself but is of a heard recording is neither.
    """
    table = pd.read_csv(
        run_dir / CLIPS, dtype=dict.fromkeys(("path", "label", "recording"), str), keep_default_na=False
    )
    known, here = table[table.heard], clip_table(dataset)
    heard = here.clip.isin(set(known.label + "/" + known.path.map(lambda path: Path(path).stem)))
    return pd.DataFrame({"heard": heard, "unheard": ~heard & ~here.recording.isin(set(known.recording))})


def write_origin(folder: Path, model_dir: Path, classes: Sequence[str]) -> None:
    """samples.json, with the path from ``folder`` to the run.

    Raises:
        UserError: the folder holds samples of another generator.
    """
    before, run = read_origin(folder).get("generator"), os.path.relpath(model_dir.resolve(), folder.resolve())
    if before not in (None, run):
        raise UserError(f"--out-dir {folder}: holds samples of another generator ({before}); choose another folder")
    write_json(folder / SAMPLES, {"generator": run, "classes": list(classes)})


def read_origin(folder: Path) -> dict[str, Any]:
    """What samples.json says; {} where there is none."""
    return read_json(folder / SAMPLES) if (folder / SAMPLES).is_file() else {}
