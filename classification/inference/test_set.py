"""The competition's test set: the IDs it asks for, their files, every clip's probabilities, and the submission."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pandas as pd

from classification.inference.cached import predict_files
from classification.inference.classifier import Classifier
from classification.rundir import TEST_PROBABILITIES
from shared.audio import AUDIO_SUFFIXES
from shared.errors import UserError
from shared.features.cache import FeatureCache
from shared.files import write_text

ALONE, TOGETHER = "p_", "together_"  # prefixes of the columns: clip by clip, averaged over clips of one recording


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


def predict_test_set(
    wanted: Wanted,
    folder: Path,
    classifier: Classifier,
    cache: FeatureCache,
    *,
    together: bool = True,
    n_jobs: int | None = None,
) -> tuple[pd.DataFrame, dict[str, str]]:
    """One row an ID, in order; an ID without a usable file gets the most frequent training class.

    Returns:
        The table of test_probabilities.csv (ID, the class to submit, p_<class>... clip by clip and, where the run
        averages clips that sound like one recording, together_<class>...; empty for an ID without a usable file), and
        id -> reason for those IDs.
    """
    found = {clip_id: find_file(folder, clip_id) for clip_id in wanted.ids}
    failed = {clip_id: reason for clip_id, reason in found.items() if isinstance(reason, str)}
    usable = [clip_id for clip_id in found if clip_id not in failed]
    predicted = predict_files(classifier, [found[i] for i in usable], cache, together=together, n_jobs=n_jobs)
    failed |= {i: predicted.rejects[found[i]] for i in usable if found[i] in predicted.rejects}
    kept = [usable[place] for place in predicted.kept]
    table = pd.DataFrame({wanted.columns[0]: wanted.ids, wanted.columns[1]: classifier.most_frequent})
    for prefix, p in ((ALONE, predicted.probabilities), (TOGETHER, predicted.averaged)):
        if p is not None:
            columns = [prefix + label for label in classifier.classes]
            rows = pd.DataFrame(p, index=kept, columns=columns).reindex(wanted.ids)
            table = pd.concat([table, rows.reset_index(drop=True)], axis=1)
    return table.assign(**{wanted.columns[1]: labels_of([table])}), failed


def labels_of(tables: Sequence[pd.DataFrame], *, together: bool = True) -> list[str]:
    """The classes to submit: those of the highest probability, averaged over the tables of one or several runs.

    Args:
        tables: what ``predict_test_set`` returned, of the same IDs and classes. An ID to which none gives
            probabilities keeps the first table's class.
        together: take the columns averaged over clips that sound like one recording, where a table has them.
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
    """The K classes, by ordinal, whose probabilities a table of the test set holds."""
    return [name.removeprefix(ALONE) for name in table.columns[2:] if name.startswith(ALONE)]


def write_probabilities(run_dir: Path, table: pd.DataFrame) -> None:
    """test_probabilities.csv; nine digits bring a float32 back as it was."""
    write_text(run_dir / TEST_PROBABILITIES, table.to_csv(index=False, float_format="%.9g"))


def read_probabilities(run_dir: Path) -> pd.DataFrame:
    """What ``write_probabilities`` wrote."""
    table = pd.read_csv(run_dir / TEST_PROBABILITIES, dtype=str, keep_default_na=False)
    return table.iloc[:, :2].join(table.iloc[:, 2:].apply(pd.to_numeric))


def write_submission(path: Path, table: pd.DataFrame, failed: dict[str, str]) -> None:
    """Write the table's IDs and classes as CSV; name and count what could not be read."""
    table = table.iloc[:, :2]
    write_text(path, table.to_csv(index=False))
    labels = dict(table.itertuples(index=False))
    for clip_id, reason in failed.items():
        print(f"  {clip_id}: {reason}; predicted as {labels[clip_id]}, the most frequent training class")
    counts = ", ".join(f"{label} {n}" for label, n in sorted(Counter(table.iloc[:, 1]).items()))
    print(f"{path}: {len(table)} rows ({counts}), {len(failed)} of them without a readable clip", flush=True)
