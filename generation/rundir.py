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
NO_GENERATOR = "no trained generator; give the --out-dir of one of generation/train_*.py"
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


def mark_heard(dataset: Dataset, run: Path | None, *, asked: bool) -> tuple[pd.DataFrame, list[str]]:
    """The manifest of a data folder with the columns heard and unheard by a generator, and what had to be assumed.

    A clip that the generator was not trained on, but of a recording that it was trained on, is neither and left out.
    Where it is not known what was heard, both columns are false.

    Args:
        run: the generator's run, where it is known.
        asked: whether --generator names it.

    Raises:
        UserError: --generator names no run of a generator.
    """
    import pandas as pd

    if asked and not (run / DESCRIPTION).is_file():
        raise UserError(f"--generator {run}: {NO_GENERATOR}")
    if run is None:
        why = "the generator of these samples is not known (--generator RUN names it)"
    elif not (run / CLIPS).is_file():
        why = f"{run} does not say what it was trained on (it has no {CLIPS})"
    else:
        table = pd.read_csv(run / CLIPS, dtype={"recording": str, "clip": str}, keep_default_na=False)
        known, here = table[table.heard], clip_table(dataset)
        heard = here["clip"].isin(set(known["clip"]))  # DataFrame.clip is a method
        unheard = ~heard & ~here.recording.isin(set(known.recording))
        if heard.any():
            return dataset.manifest.assign(heard=heard, unheard=unheard)[heard | unheard], []
        why = "the generator was trained on no clip of the reference"
    halves = "copies are searched for in the whole reference, and the floor is half of its recordings against the rest"
    return dataset.manifest.assign(heard=False, unheard=False), [f"{why}, so {halves}"]


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
