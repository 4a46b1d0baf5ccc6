"""The finished runs that the app offers."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from classification.rundir import LABELS, read_run
from generation.rundir import DESCRIPTION, VOCODER, VOCODER_WEIGHTS, WEIGHTS
from shared.errors import UserError
from shared.files import read_json
from shared.runs.sounds import find_samples


@dataclasses.dataclass(frozen=True)
class Generator:
    """A run of a generator: its classes, whether it is a flow model, and whether it has sounds to listen to."""

    classes: list[str]
    is_flow: bool
    has_sounds: bool


@dataclasses.dataclass(frozen=True)
class Runs:
    """The runs by name, the newest first, flow models before other generators.

    A name is the path as the user gave it, so messages name it likewise.

    Attributes:
        classifiers: framework -> names.
        generators: name -> what the page needs to know.
        vocoders: names of the runs of train_vocoder.py.
    """

    classifiers: dict[str, list[str]]
    generators: dict[str, Generator]
    vocoders: list[str]


def find_runs(folders: Sequence[Path]) -> Runs:
    """The runs in these folders and below them; a run of several trainings counts once, damaged runs do not.

    Raises:
        UserError: there is no such folder, or it holds no finished classifier and no generator.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; {_REMEDY}")
    classifiers: dict[str, list[str]] = {"keras": [], "torch": []}
    for run in _holding(folders, LABELS):
        try:
            framework = read_run(run)[0]["options"].get("framework")
        except UserError:
            continue  # not finished, or damaged
        if framework in classifiers and not any((parent / LABELS).is_file() for parent in run.parents):
            classifiers[framework].append(str(run))
    generators = {}
    for run in _holding(folders, DESCRIPTION):
        try:
            described = read_json(run / DESCRIPTION, model=str, classes=list)
            metrics = read_json(run / "metrics.json") if (run / "metrics.json").is_file() else None
        except UserError:
            continue
        if (run / WEIGHTS).is_file():
            has_sounds = metrics is not None and bool(find_samples(run, metrics))
            generators[str(run)] = Generator(described["classes"], described["model"] == "flow", has_sounds)
    generators = dict(sorted(generators.items(), key=lambda item: not item[1].is_flow))
    vocoders = [str(run) for run in _holding(folders, VOCODER) if (run / VOCODER_WEIGHTS).is_file()]
    if not generators and not any(classifiers.values()):
        where = ", ".join(map(str, folders))
        raise UserError(f"{where}: holds no finished classifier and no generator; {_REMEDY}")
    return Runs(classifiers, generators, vocoders)


_REMEDY = (
    "train one with frequency-quest train --data-dir DIR --out-dir runs/torch --framework torch, or name its folder"
)


def _holding(folders: Sequence[Path], name: str) -> Iterator[Path]:
    """The folders that hold a file of this name, the one with the newest file first."""
    found = {path.resolve(): path for folder in folders for path in folder.rglob(name)}
    return (path.parent for path in sorted(found.values(), key=lambda path: path.stat().st_mtime, reverse=True))
