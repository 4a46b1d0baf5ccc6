"""submission.csv: the IDs a competition asks for, joined to files of the test folder, in its order and columns.

python -m classification.inference.submission --runs RUN RUN --output CSV copies that of the run with the best figure.
"""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pandas as pd
import tyro

from classification.inference.classifier import Forward
from classification.inference.together import Together
from shared.audio import AUDIO_SUFFIXES
from shared.errors import UserError, run_entry
from shared.features.cache import FeatureCache
from shared.files import read_json, write_text


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The rows a submission must have."""

    ids: list[str]
    columns: tuple[str, str] = ("ID", "Class")


def wanted_ids(files: Sequence[Path], sample_submission: Path | None) -> Wanted:
    """The sample's IDs and column names, or without one the sorted names of the files.

    Raises:
        UserError: the sample cannot be read as a CSV with an ID and a class column.
    """
    if sample_submission is None:
        return Wanted(sorted(path.name for path in files))
    try:
        table = pd.read_csv(sample_submission, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UserError(f"--sample-submission {sample_submission}: cannot be read as CSV ({error})") from error
    if len(table.columns) < 2:
        raise UserError(
            f"--sample-submission {sample_submission}: has the column(s) {', '.join(table.columns)}; "
            "expected an ID and a class column"
        )
    return Wanted(table.iloc[:, 0].tolist(), (table.columns[0], table.columns[1]))


def find_file(folder: Path, clip_id: str) -> Path | str:
    """The file in ``folder`` that an ID names, with or without its suffix; else the reason there is none.

    An ID comes from a file of unknown origin: one that is absolute or climbs out of the folder is never opened.
    """
    parts = PurePosixPath(clip_id).parts
    windows = PureWindowsPath(clip_id)
    if not parts or ".." in (*parts, *windows.parts) or parts[0] == "/" or windows.drive or windows.root:
        return "the ID is no plain file name of the test folder"
    base = folder.resolve()
    for name in (clip_id, *(clip_id + suffix for suffix in sorted(AUDIO_SUFFIXES))):
        path = folder / name
        if path.is_file():
            inside = path.resolve().is_relative_to(base)
            return path if inside else "the file is a link out of the test folder"
    return "no such file in the test folder"


def predict_ids(
    wanted: Wanted,
    folder: Path,
    predict: Forward,
    cache: FeatureCache,
    *,
    classes: Sequence[str],
    fallback: str,
    together: Together | None = None,
    n_jobs: int | None = None,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """One row an ID, in order; an ID without a usable file is predicted as ``fallback``. With ``together``, clips that
    sound like one recording are judged as one.

    Returns:
        The submission table, and id -> reason for the ones that fell back.
    """
    found = {clip_id: find_file(folder, clip_id) for clip_id in wanted.ids}
    failed = {clip_id: reason for clip_id, reason in found.items() if isinstance(reason, str)}
    usable = [clip_id for clip_id in found if clip_id not in failed]
    clips = cache.build([found[clip_id] for clip_id in usable], n_jobs=n_jobs)
    failed |= {clip_id: clips.rejects[found[clip_id]] for clip_id in usable if found[clip_id] in clips.rejects}
    labels = dict.fromkeys(wanted.ids, fallback)
    if clips.kept:
        chunks = np.array_split(np.arange(len(clips.kept)), -(-len(clips.kept) // 32))
        p = np.concatenate([predict(clips.features[rows]) for rows in chunks])
        if together:
            p = together.judge(p, clips.features)
        labels |= {usable[i]: classes[k] for i, k in zip(clips.kept, p.argmax(axis=1), strict=True)}
    column_id, column_class = wanted.columns
    table = pd.DataFrame({column_id: wanted.ids, column_class: [labels[clip_id] for clip_id in wanted.ids]})
    return table, failed


def write_submission(path: Path, table: pd.DataFrame, failed: dict[str, str], *, fallback: str) -> None:
    """Write the CSV; name and count what could not be read."""
    write_text(path, table.to_csv(index=False))
    for clip_id, reason in failed.items():
        print(f"  {clip_id}: {reason}; predicted as {fallback}, the most frequent training class")
    counts = ", ".join(f"{label} {n}" for label, n in sorted(Counter(table.iloc[:, 1]).items()))
    print(f"{path}: {len(table)} rows ({counts}), {len(failed)} of them without a readable clip", flush=True)


@dataclasses.dataclass(kw_only=True)
class ChooseOptions:
    """Take the submission of the best of several runs: on validation, or on test where a recipe validates nothing."""

    runs: list[Path]
    """Finished run folders of classification/train.py."""
    output: Path
    """Where submission.csv goes; a note of the choice goes beside it as .txt."""


def main() -> None:
    options = tyro.cli(ChooseOptions)
    unfinished = [run for run in options.runs if not (run / "metrics.json").is_file()]
    if unfinished:
        raise UserError(f"--runs {unfinished[0]}: no finished run (metrics.json is missing)")
    metrics = {run: read_json(run / "metrics.json") for run in options.runs}
    on = "val" if all("val/accuracy" in figures for figures in metrics.values()) else "test"
    scores = {run: figures.get(f"{on}/accuracy", 0.0) for run, figures in metrics.items()}
    best = max(scores, key=scores.get)
    if not (best / "submission.csv").is_file():
        print(f"no submission: the data of {best} has no test folder")
        return
    write_text(options.output, (best / "submission.csv").read_text(encoding="utf-8"))
    figures = ", ".join(f"{run.name} {score:.1%}" for run, score in scores.items())
    note = f"{options.output.name} is that of {best.name}, the best on {on} ({figures})."
    write_text(options.output.with_suffix(".txt"), note + "\n")
    print(note)


if __name__ == "__main__":
    run_entry(main)
