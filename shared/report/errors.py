"""errors.html: the held-out clips that every classifier on a split without leaks gets wrong, with their sounds."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from shared.errors import AudioError
from shared.report.pages import flac_uri, read_sound, render
from shared.report.run_view import RunView
from shared.runs.compare import PREDICTIONS, evaluated

if TYPE_CHECKING:
    import pandas as pd

MAX_CLIPS = 60
MAX_BYTES = 9 * 10**6  # of embedded sounds, so that the page stays below 10 MB


class Answer(NamedTuple):
    """The class that a run predicts for a clip, and its probability."""

    run: str
    predicted: str
    probability: float


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A clip that every run gets wrong."""

    path: Path
    label: str
    recording: str | None  # None: unknown
    answers: list[Answer]

    @property
    def confidence(self) -> float:
        """The mean probability of the wrong answers."""
        return sum(answer.probability for answer in self.answers) / len(self.answers)


@dataclasses.dataclass(frozen=True)
class Mistakes:
    """The clips that every one of ``runs`` gets wrong, the most confident answers first.

    Attributes:
        clips: how many clips the runs evaluated.
        other_clips: names of fair runs that are not counted, since they evaluated other clips.
    """

    found: list[Mistake]
    runs: list[RunView]
    clips: int
    other_clips: list[str]

    @property
    def summary(self) -> str:
        """E.g. "Both keras and torch get 12 of 40 held-out clips wrong"; the caller ends the sentence."""
        names = " and ".join(run.name for run in self.runs)
        who = {1: f"{names} gets", 2: f"Both {names} get"}.get(len(self.runs), f"All of {names} get")
        return f"{who} {len(self.found)} of {self.clips} held-out clips wrong"


def find_mistakes(ranked: Sequence[RunView]) -> Mistakes | None:
    """Find the clips that all fair classifiers get wrong; None if there is no such classifier.

    Runs that evaluated other clips than the best one are left out. The probabilities of several seeds are averaged.
    """
    fair = [run for run in ranked if run.is_fair and (run.dir / PREDICTIONS).is_file()]
    if not fair:
        return None
    tables = {run.name: _by_clip(run) for run in fair}
    clips = tables[fair[0].name][["label", "group"]]
    same = [run for run in fair if tables[run.name][["label", "group"]].equals(clips)]
    wrong = np.all([tables[run.name].predicted != clips.label for run in same], axis=0)
    found = []
    for path, label, group in clips[wrong].itertuples():
        rows = {run.name: tables[run.name].loc[path] for run in same}
        answers = [Answer(name, row.predicted, row.probability) for name, row in rows.items()]
        recording = group if fair[0].config["data"]["recordings"] else None
        found.append(Mistake(Path(path), label, recording, answers))
    found.sort(key=lambda mistake: -mistake.confidence)
    return Mistakes(found, same, len(clips), [run.name for run in fair if run not in same])


def _by_clip(run: RunView) -> "pd.DataFrame":
    """A table with a row for each clip, sorted by path: label, group, predicted class and its probability."""
    columns = {f"p_{label}": label for label in run.metrics["classes"]}
    by_path = evaluated(run.dir).groupby("path")
    p = by_path[list(columns)].mean().rename(columns=columns)
    return by_path[["label", "group"]].first().assign(predicted=p.idxmax(axis=1), probability=p.max(axis=1))


def page(mistakes: Mistakes) -> str:
    """Render errors.html with the first ``MAX_CLIPS`` clips, or fewer if their sounds exceed ``MAX_BYTES``."""
    features = mistakes.runs[0].config["features"]
    shown, size = [], 0
    for mistake in mistakes.found[:MAX_CLIPS]:
        try:
            sound = flac_uri(*read_sound(mistake.path, duration=features["duration"], max_sr=features["sr"]))
        except AudioError:
            sound = None  # moved, deleted or damaged
        size += len(sound or "")
        if size > MAX_BYTES:
            break
        shown.append((mistake, sound))
    labels = sorted({mistake.label for mistake, _ in shown})
    return render("errors.html.j2", mistakes=mistakes, shown=shown, labels=labels, duration=features["duration"])
