"""The sounds that predict.py is given (a file, a folder or a CSV) and their predictions as text, CSV and JSON."""

import csv
import dataclasses
import difflib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from classification.inference.cached import predict_files
from classification.inference.classifier import SLACK, Classifier, Prediction
from classification.inference.timeline import Timeline, csv_text
from shared.audio import AUDIO_SUFFIXES, seconds
from shared.errors import AudioError, UserError
from shared.features.cache import FeatureCache

LONG = 1.5  # a recording longer than so many durations of the model has a timeline without --timeline


@dataclasses.dataclass(frozen=True)
class Sound:
    """A file to predict and the name it has in the output."""

    id: str
    path: Path


@dataclasses.dataclass(frozen=True)
class Result:
    """The prediction of one sound; a longer one also has ``windows`` (Timeline.rows) and ``files`` (CSV, PNG)."""

    sound: Sound
    prediction: Prediction
    windows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    files: list[str] = dataclasses.field(default_factory=list)

    def row(self, *, probabilities: bool) -> dict[str, Any]:
        """A line of the CSV: ID, Class, probability, then the runners-up and, if wanted, every class."""
        (label, p), *others = self.prediction.top
        row: dict[str, Any] = {"ID": self.sound.id, "Class": label, "probability": p}
        for rank, (other, q) in enumerate(others, start=2):
            row |= {f"class_{rank}": other, f"probability_{rank}": q}
        return row | (self._by_class("p_") if probabilities else {})

    def json(self) -> dict[str, Any]:
        said: dict[str, Any] = {
            "id": self.sound.id,
            "path": str(self.sound.path),
            "label": self.prediction.label,
            "probability": round(self.prediction.probability, 6),
            "top": [{"label": label, "probability": round(p, 6)} for label, p in self.prediction.top],
            "probabilities": self._by_class(""),
        }
        return (
            said | ({"windows": self.windows} if self.windows else {}) | ({"files": self.files} if self.files else {})
        )

    def _by_class(self, prefix: str) -> dict[str, float]:
        p = self.prediction.probabilities
        return {
            f"{prefix}{label}": round(float(value), 6) for label, value in zip(self.prediction.classes, p, strict=True)
        }


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The results in the order of the sounds, and those that cannot be used with their reasons."""

    results: list[Result]
    skipped: list[tuple[Sound, str]]

    def csv(self, *, probabilities: bool) -> str:
        return csv_text([result.row(probabilities=probabilities) for result in self.results])

    def json(self) -> dict[str, Any]:
        skipped = [{"id": sound.id, "reason": reason} for sound, reason in self.skipped]
        return {"predictions": [result.json() for result in self.results], "skipped": skipped}

    def tell(self, output: Path | None) -> None:
        """Print each result, or their counts where they are in a file; name and count what was skipped."""
        if output is None:
            for result in self.results:
                print(f"{result.sound.id}: {result.prediction}")
        else:
            counts = sorted(Counter(result.prediction.label for result in self.results).items())
            print(f"{output}: {len(self.results)} rows ({', '.join(f'{label} {n}' for label, n in counts)})")
        for sound, reason in self.skipped:
            print(f"skipped {sound.id}: {reason}")
        if self.skipped:
            print(f"{len(self.skipped)} of {len(self.skipped) + len(self.results)} files skipped")


def list_sounds(source: Path) -> list[Sound]:
    """A sound, a folder's own sounds by name, or those that a CSV names.

    Raises:
        UserError: nothing there, or nothing in it.
    """
    if source.is_dir():
        from shared.data.datasets import audio_files  # imported here: pandas and scikit-learn come with it, two seconds

        sounds = [Sound(path.name, path) for path in audio_files(source)]
        if not sounds:
            raise UserError(f"--input {source}: holds no {', '.join(sorted(AUDIO_SUFFIXES))} file")
        return sounds
    if not source.is_file():
        names = [path.name for path in source.parent.iterdir()] if source.parent.is_dir() else []
        close = difflib.get_close_matches(source.name, names, n=1)
        hint = f"; did you mean {source.parent / close[0]}?" if close else ""
        raise UserError(f"--input {source}: no such file or folder{hint}")
    return _listed(source) if source.suffix.lower() == ".csv" else [Sound(source.name, source)]


def _listed(table: Path) -> list[Sound]:
    """The files in the CSV's ``path`` column, or without one in its first; relative ones are beside the CSV."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:  # a spreadsheet puts a mark before the first name
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"--input {table}: cannot be read as CSV ({error})") from error
    column = rows[0].index("path") if rows and "path" in rows[0] else 0
    headed = rows and Path(rows[0][column]).suffix.lower() not in AUDIO_SUFFIXES
    names = [row[column] for row in rows[1 if headed else 0 :] if len(row) > column and row[column]]
    if not names:
        raise UserError(f"--input {table}: names no sound; expected a column path with a file a line")
    return [Sound(name, table.parent / name) for name in names]


def predict_sounds(
    classifier: Classifier,
    sounds: Sequence[Sound],
    *,
    cache: FeatureCache,
    n_jobs: int | None,
    top_k: int,
    hop: float | None,
    timelines: Path | None,
    every: bool,
    together: bool = False,
) -> Outcome:
    """Predict the sounds; those longer than the model's duration window by window.

    Args:
        cache: keeps the spectrograms of short sounds, when there are several.
        n_jobs: processes that compute them; None is one a core.
        hop: seconds between the windows of a longer one; None is half a window.
        timelines: folder for the CSV and PNG of recordings longer than LONG times the model's duration, or of
            ``every`` sound; None writes none.
        together: average the sounds of one window with those that sound like the same recording.

    Raises:
        UserError: an impossible hop, or not one of the sounds can be used.
    """
    classifier.hop_samples(hop)
    window = classifier.spec.duration
    results: dict[int, Result] = {}
    skipped: dict[int, str] = {}
    short: list[int] = []
    stems: Counter[str] = Counter()
    for i, sound in enumerate(sounds):
        length = seconds(sound.path)
        try:
            if not sound.path.is_file():
                raise AudioError("no such file")
            if every or length > SLACK * window:
                timeline = classifier.predict_windows(sound.path, hop=hop)
                prediction = Prediction(classifier.classes, timeline.mean, top_k, len(timeline))
                files = []
                if timelines is not None and (every or length > LONG * window):
                    stems[sound.path.stem] += 1
                    files = _save(timeline, timelines, sound, stems[sound.path.stem])
                results[i] = Result(sound, prediction, list(timeline.rows()), files)
            elif len(sounds) == 1:  # nothing to gain from the cache
                results[i] = Result(sound, classifier.predict(sound.path, top_k=top_k))
            else:
                short.append(i)
        except AudioError as error:
            skipped[i] = str(error)
    if short:
        found = predict_files(classifier, [sounds[i].path for i in short], cache, together=together, n_jobs=n_jobs)
        skipped |= {i: found.rejects[sounds[i].path] for i in short if sounds[i].path in found.rejects}
        if together:
            changed = (found.probabilities.argmax(axis=1) != found.best.argmax(axis=1)).sum()
            print(f"--together: averaging changed {changed} of {len(found.kept)} predictions", flush=True)
        for kept, p in zip(found.kept, found.best, strict=True):
            results[short[kept]] = Result(sounds[short[kept]], Prediction(classifier.classes, p, top_k))
    if not results:
        first = f"{sounds[0].path}: {skipped[0]}"
        raise UserError(f"--input {'' if len(sounds) == 1 else f'none of {len(sounds)} files is usable; '}{first}")
    return Outcome([results[i] for i in sorted(results)], [(sounds[i], skipped[i]) for i in sorted(skipped)])


def _save(timeline: Timeline, folder: Path, sound: Sound, number: int) -> list[str]:
    """<stem>_timeline.csv and .png, numbered from the second sound of that stem on."""
    name = f"{sound.path.stem}{f'_{number}' if number > 1 else ''}_timeline"
    files = [folder / f"{name}.csv", folder / f"{name}.png"]
    timeline.save(*files, title=sound.path.name)
    print(f"{files[0]} and .png: {len(timeline)} windows over {timeline.seconds:.1f} s", flush=True)
    return [str(file) for file in files]
