"""Reads and writes clips.csv, which marks the training clips, and samples.json, which names the samples' generator."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import UserError
from shared.files import read_json, write_json, write_text
from shared.runs.sounds import CLIPS, SAMPLES
from shared.tables import read_table

if TYPE_CHECKING:  # sampling needs only the file names
    import pandas as pd

    from shared.data.datasets import Dataset

WEIGHTS, DESCRIPTION, CONDITIONS = "generator.safetensors", "generator.json", "conditions.safetensors"
VOCODER, VOCODER_WEIGHTS = "vocoder.json", "vocoder.safetensors"  # of generation/train_vocoder.py
NO_GENERATOR = "no trained generator; give the run folder that a generation/train_*.py command wrote"
EVALUATION = "evaluation.json"  # figures of the generator's samples, in its run or beside the samples


def clip_table(dataset: Dataset) -> pd.DataFrame:
    """One row per clip: path from the data folder, label, recording, clip. A copy of the folder has the same table.

    Label and file name identify a clip. If the recordings are unknown, each clip counts as its own recording.
    """
    manifest = dataset.manifest
    table = manifest.assign(
        path=[os.path.relpath(path, dataset.folder).replace(os.sep, "/") for path in manifest.path],
        label="" if dataset.layout == "unlabelled" else manifest.label,  # unlabelled clips have the folder's name
    )
    table["clip"] = table.label + "/" + [Path(path).stem for path in manifest.path]
    table["recording"] = table.group if dataset.groups_known else table.clip
    return table[["path", "label", "recording", "clip"]]


def write_clips(run_dir: Path, dataset: Dataset, trained_on: Iterable[str]) -> None:
    """Write clips.csv: every clip of the data folder, and whether it is one of ``trained_on``."""
    table = clip_table(dataset).assign(trained_on=dataset.manifest.path.isin(set(trained_on)))
    write_text(run_dir / CLIPS, table.to_csv(index=False))


def mark_trained_on(dataset: Dataset, run: Path | None, *, asked: bool) -> tuple[pd.DataFrame, list[str]]:
    """The manifest of a data folder with the columns trained_on and held_out, and what had to be assumed.

    A clip is held out if the generator was not trained on any clip of its recording. Other clips that it was not
    trained on are left out. Both columns are false where it is unknown what the generator was trained on.

    Args:
        run: the generator's run; None if it is unknown.
        asked: whether --generator named it.

    Raises:
        UserError: --generator names no run of a generator.
    """
    import pandas as pd  # imported here, as sampling needs only the file names

    if asked and not (run / DESCRIPTION).is_file():
        raise UserError(f"--generator {run}: {NO_GENERATOR}")
    table = pd.DataFrame()
    if run and (run / CLIPS).is_file():
        table = read_table(run / CLIPS, ("recording", "clip"))
    if run is None:
        why = "It is not known which generator made these samples (name its run with --generator RUN)"
    elif "trained_on" not in table:
        why = f"{run} does not say which clips it was trained on (no {CLIPS}, or one of an older version)"
    else:
        known, here = table[table.trained_on == "True"], clip_table(dataset)
        trained_on = here["clip"].isin(set(known["clip"]))  # DataFrame.clip is a method
        held_out = ~trained_on & ~here.recording.isin(set(known.recording))
        if trained_on.any():
            return dataset.manifest.assign(trained_on=trained_on, held_out=held_out)[trained_on | held_out], []
        why = "The generator was trained on no clip of the reference"
    assumed = (
        f"{why}: copies are found by comparing the samples with all clips of the reference, and one half of its "
        "recordings serves as held-out clips for the other half."
    )
    return dataset.manifest.assign(trained_on=False, held_out=False), [assumed]


def write_origin(folder: Path, model_dir: Path, classes: Sequence[str], **more: Any) -> None:
    """Write samples.json: the generator's run, as a path relative to ``folder``, its classes, and how they were made.

    Args:
        more: vocoder (its name), options (of the command), and what else there is to say.

    Raises:
        UserError: the folder holds samples of another generator.
    """
    from shared.runs.run import plain  # imports pandas, which --help does not need

    other = read_origin(folder).get("generator", model_dir.resolve())
    if other != model_dir.resolve():
        raise UserError(f"--out-dir {folder}: holds samples of another generator, {other}; choose another folder")
    run = os.path.relpath(model_dir.resolve(), folder.resolve())
    write_json(folder / SAMPLES, {"generator": run, "classes": list(classes)} | plain(more))


def read_origin(folder: Path) -> dict[str, Any]:
    """samples.json with the generator's run as a Path; {} if there is no such file.

    Raises:
        UserError: samples.json was not written by sample.py.
    """
    try:
        said = read_json(folder / SAMPLES, generator=str, classes=list)
        return said | {"generator": (folder / said["generator"]).resolve(), "classes": said["classes"]}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except UserError as error:
        raise UserError(f"{folder / SAMPLES}: was not written by generation/sample.py; remove it") from error
