"""What a generator's run and a folder of its samples hold: files, the clips it heard, the run behind the samples."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import UserError
from shared.files import read_json, write_json, write_text

if TYPE_CHECKING:  # sampling needs the names of the files alone
    import pandas as pd

    from shared.data.datasets import Dataset

WEIGHTS, DESCRIPTION, CONDITIONS = "generator.safetensors", "generator.json", "conditions.safetensors"
CLIPS = "clips.csv"  # every clip of the data folder: path, label, recording, and whether the generator heard it
SAMPLES = "samples.json"  # in a folder of samples: the run of the generator that made them, and its classes


def clip_table(dataset: Dataset) -> pd.DataFrame:
    """Clips by names that a copy of the data folder has too: path below the folder, label, recording, clip.

    A clip is known by its label and file name; where its recording is unknown, it counts as one of its own.
    """
    manifest = dataset.manifest
    table = manifest.assign(
        path=[path.relative_to(dataset.root).as_posix() for path in manifest.path],
        label="" if dataset.layout == "unlabelled" else manifest.label,  # there it is the folder's name
    )
    table["clip"] = table.label + "/" + [path.stem for path in manifest.path]
    table["recording"] = table.group if dataset.groups_known else table.clip
    return table[["path", "label", "recording", "clip"]]


def write_clips(run_dir: Path, dataset: Dataset, heard: Iterable[Path]) -> None:
    """clips.csv: every clip of the data folder, and whether it is one of ``heard``."""
    table = clip_table(dataset).assign(heard=dataset.manifest.path.isin(set(heard)))
    write_text(run_dir / CLIPS, table.to_csv(index=False))


def heard_by(run_dir: Path, dataset: Dataset) -> pd.DataFrame:
    """Which clips of a data folder a generator was trained on, a row a clip of its manifest.

    Returns:
        columns heard and unheard. A clip that was not heard itself but is of a heard recording is neither.
    """
    import pandas as pd

    table = pd.read_csv(run_dir / CLIPS, dtype={"recording": str, "clip": str}, keep_default_na=False)
    known, here = table[table.heard], clip_table(dataset)
    heard = here["clip"].isin(set(known["clip"]))  # DataFrame.clip is a method
    return pd.DataFrame({"heard": heard, "unheard": ~heard & ~here.recording.isin(set(known.recording))})


def write_origin(folder: Path, model_dir: Path, classes: Sequence[str]) -> None:
    """samples.json, with the path from ``folder`` to the run.

    Raises:
        UserError: the folder holds samples of another generator.
    """
    other = read_origin(folder).get("generator", model_dir.resolve())
    if other != model_dir.resolve():
        raise UserError(f"--out-dir {folder}: holds samples of another generator, {other}; choose another folder")
    run = os.path.relpath(model_dir.resolve(), folder.resolve())
    write_json(folder / SAMPLES, {"generator": run, "classes": list(classes)})


def read_origin(folder: Path) -> dict[str, Any]:
    """What samples.json says, {} where there is none: the generator's run (Path) and its classes.

    Raises:
        UserError: a samples.json that sample.py has not written.
    """
    try:
        said = read_json(folder / SAMPLES)
        return {"generator": (folder / said["generator"]).resolve(), "classes": list(said["classes"])}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, LookupError, TypeError) as error:
        raise UserError(f"{folder / SAMPLES}: was not written by generation/sample.py; remove it") from error
