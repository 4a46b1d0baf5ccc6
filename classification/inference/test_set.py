"""The competition's test set: its IDs, their files, the probabilities of every clip, and the submission."""

from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

import numpy as np
import pandas as pd

from classification.inference.classifier import Classifier
from classification.inference.sounds import predict_files
from classification.rundir import TEST_PROBABILITIES
from shared.audio import AUDIO_SUFFIXES
from shared.errors import UserError
from shared.features.cache import FeatureCache
from shared.files import is_file, write_text
from shared.tables import read_table

# prefixes of the probability columns: clip by clip; averaged over clips that sound like one recording
ALONE, TOGETHER = "p_", "together_"


def wanted_ids(files: Sequence[Path], sample: Path | None) -> pd.DataFrame:
    """The rows a submission must have: the IDs and columns of the sample, or without it the sorted file names.

    Raises:
        UserError: the sample cannot be read as a CSV with an ID and a class column.
    """
    if sample is None:
        return pd.DataFrame({"ID": sorted(path.name for path in files), "Class": ""})
    table = read_table(sample, flag="--sample-submission")
    if len(table.columns) < 2:
        raise UserError(f"--sample-submission {sample}: has only {table.columns[0]}; expected an ID and a class column")
    return table.iloc[:, :2]


def find_file(folder: Path, clip_id: str) -> Path | str:
    """The file in ``folder`` with this ID as its name, with or without suffix; else the reason why there is none.

    IDs are untrusted input: one that is absolute or leads out of the folder is never opened.
    """
    given = PureWindowsPath(clip_id)  # splits at both / and \
    if not given.parts or ".." in given.parts or given.anchor:
        return "the ID is not a plain file name"
    for name in (clip_id, *(clip_id + suffix for suffix in sorted(AUDIO_SUFFIXES))):
        path = folder / name
        if is_file(path):
            inside = path.resolve().is_relative_to(folder.resolve())
            return path if inside else "the file is a link out of the test folder"
    return "no such file in the test folder"


def predict_test_set(
    wanted: pd.DataFrame,
    folder: Path,
    classifier: Classifier,
    cache: FeatureCache,
    *,
    together: bool = True,
    n_jobs: int | None = None,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Predict one row per ID, in order; an ID without a usable file gets the most frequent training class.

    Returns:
        The table of test_probabilities.csv and, for each ID without a usable file, the reason. The columns are ID, the
        class to submit, p_<class>... clip by clip and, if the run averages clips that sound like one recording,
        together_<class>...; probabilities are empty for an ID without a usable file.
    """
    id_column, class_column = wanted.columns
    found = {clip_id: find_file(folder, clip_id) for clip_id in wanted[id_column]}
    failed = {clip_id: reason for clip_id, reason in found.items() if isinstance(reason, str)}
    usable = {clip_id: path for clip_id, path in found.items() if clip_id not in failed}
    rejects, alone, averaged = predict_files(classifier, list(usable.values()), cache, together=together, n_jobs=n_jobs)
    failed |= {clip_id: rejects[path] for clip_id, path in usable.items() if path in rejects}
    kept = [clip_id for clip_id in usable if clip_id not in failed]
    table = wanted.assign(**{class_column: classifier.most_frequent})
    for prefix, p in ((ALONE, alone), (TOGETHER, averaged)):
        if p is not None:
            rows = pd.DataFrame(p, index=kept, columns=[prefix + label for label in classifier.classes])
            table = table.join(rows.reindex(wanted[id_column]).set_axis(table.index))
    return table.assign(**{class_column: labels_of([table])}), failed


def labels_of(tables: Sequence[pd.DataFrame], *, together: bool = True) -> list[str]:
    """The classes to submit: the most probable ones, averaged over the tables of one or several runs.

    Args:
        tables: results of ``predict_test_set`` with the same IDs and classes. An ID without probabilities in any of
            them keeps the class of the first.
        together: use the columns averaged over clips that sound like one recording, if a table has them.
    """
    classes = classes_of(tables[0])
    stacked = []
    for table in tables:
        prefix = TOGETHER if together and TOGETHER + classes[0] in table else ALONE
        stacked.append(table[[prefix + label for label in classes]].to_numpy(float))
    total = np.nansum(stacked, axis=0)  # (N, K)
    labels = tables[0].iloc[:, 1]
    return [classes[p.argmax()] if p.any() else label for p, label in zip(total, labels, strict=True)]


def classes_of(table: pd.DataFrame) -> list[str]:
    """The K classes, by ordinal, in the columns of a table of ``predict_test_set``."""
    return [name.removeprefix(ALONE) for name in table.columns[2:] if name.startswith(ALONE)]


def write_probabilities(run_dir: Path, table: pd.DataFrame) -> None:
    """Write test_probabilities.csv; nine digits restore a float32 exactly."""
    write_text(run_dir / TEST_PROBABILITIES, table.to_csv(index=False, float_format="%.9g"))


def read_probabilities(run_dir: Path) -> pd.DataFrame:
    """The table that ``write_probabilities`` wrote."""
    table = read_table(run_dir / TEST_PROBABILITIES)
    return table.iloc[:, :2].join(table.iloc[:, 2:].apply(pd.to_numeric))


def write_submission(path: Path, table: pd.DataFrame, failed: dict[str, str]) -> None:
    """Write the table's IDs and classes as CSV; name and count the clips that could not be read."""
    table = table.iloc[:, :2]
    write_text(path, table.to_csv(index=False))
    labels = dict(table.itertuples(index=False))
    for clip_id, reason in failed.items():
        print(f"  {clip_id}: {reason}; predicted as {labels[clip_id]}, the most frequent training class")
    counts = ", ".join(f"{label} {n}" for label, n in table.iloc[:, 1].value_counts().sort_index().items())
    unread = f", {len(failed)} of them without a readable clip" if failed else ""
    print(f"{path}: {len(table)} rows ({counts}){unread}", flush=True)
