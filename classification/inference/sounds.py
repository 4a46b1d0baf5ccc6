"""The sounds of predict.py's --input (a file, a folder or a CSV) and their predictions."""

import csv
import dataclasses
import difflib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from classification.inference.classifier import Classifier, Prediction
from classification.inference.options import SLACK, PredictOptions
from classification.inference.timeline import Timeline, by_class
from shared.audio import AUDIO_SUFFIXES, seconds
from shared.errors import AudioError, UserError
from shared.features.cache import FeatureCache
from shared.files import is_file

LONG = 1.5  # recordings longer than this many model durations get a timeline even without --timeline


@dataclasses.dataclass(frozen=True)
class Sound:
    """A file to predict, and its name in the output."""

    id: str
    path: Path


@dataclasses.dataclass(frozen=True)
class Result:
    """The prediction of one sound; a long one also has ``windows`` (Timeline.rows) and ``files`` (CSV, PNG)."""

    sound: Sound
    prediction: Prediction
    windows: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    files: list[str] = dataclasses.field(default_factory=list)

    def row(self, *, probabilities: bool) -> dict[str, Any]:
        """A row of the CSV: ID, Class, probability, the further classes of ``top`` and, if wanted, every class."""
        (label, p), *others = self.prediction.top
        row: dict[str, Any] = {"ID": self.sound.id, "Class": label, "probability": p}
        for rank, (other, q) in enumerate(others, start=2):
            row |= {f"class_{rank}": other, f"probability_{rank}": q}
        return row | (by_class(self.prediction.classes, self.prediction.probabilities, "p_") if probabilities else {})

    def json(self) -> dict[str, Any]:
        top = [{"label": label, "probability": round(p, 6)} for label, p in self.prediction.top]
        probabilities = by_class(self.prediction.classes, self.prediction.probabilities)
        answer = {
            "id": self.sound.id,
            "path": str(self.sound.path),
            **top[0],
            "top": top,
            "probabilities": probabilities,
        }
        longer = {"windows": self.windows, "files": self.files}
        return answer | {key: values for key, values in longer.items() if values}


def list_sounds(source: Path) -> list[Sound]:
    """The sounds of ``source``: a single file, the files directly in a folder, or those listed in a CSV.

    Raises:
        UserError: ``source`` does not exist or names no sound.
    """
    if source.is_dir():
        from shared.data.datasets import audio_files  # imported here: pandas and scikit-learn take two seconds to load

        sounds = [Sound(path.name, path) for path in audio_files(source)]
        if not sounds:
            raise UserError(f"--input {source}: holds no {', '.join(sorted(AUDIO_SUFFIXES))} file")
        return sounds
    if not source.is_file():
        names = [path.name for path in source.parent.iterdir()] if source.parent.is_dir() else []
        close = difflib.get_close_matches(source.name, names, n=1)
        hint = f"did you mean {source.parent / close[0]}?" if close else "give a sound, a folder of them or a CSV"
        raise UserError(f"--input {source}: no such file or folder; {hint}")
    return _listed(source) if source.suffix.lower() == ".csv" else [Sound(source.name, source)]


def _listed(table: Path) -> list[Sound]:
    """The files in the CSV's column ``path``, else in its first column, relative to the CSV's folder."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets may write a byte order mark
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"--input {table}: cannot be read as CSV ({error})") from error
    column = rows[0].index("path") if rows and "path" in rows[0] else 0
    headed = rows and Path(rows[0][column]).suffix.lower() not in AUDIO_SUFFIXES
    names = [row[column] for row in rows[1 if headed else 0 :] if len(row) > column and row[column]]
    if not names:
        raise UserError(f"--input {table}: names no sound; expected a column path with one file per row")
    return [Sound(name, table.parent / name) for name in names]


def predict_files(
    classifier: Classifier, paths: Sequence[Path], cache: FeatureCache, *, together: bool, n_jobs: int | None = None
) -> tuple[dict[Path, str], np.ndarray, np.ndarray | None]:
    """Predict files through the feature cache, each cut or padded to one clip.

    Returns:
        The reason why each unusable file is left out; the probabilities (N, K) of the others, clip by clip, in order;
        and those averaged over clips that sound like one recording (None without ``together``, or if the run did not
        learn to average).
    """
    clips = cache.build(list(paths), n_jobs=n_jobs)
    rows = tqdm(range(len(clips.kept)), "predicting", unit="clip", leave=False, delay=1, disable=None)
    p = classifier.probabilities(clips.features[[row]][0] for row in rows)
    averaged = classifier.together.average(p, clips.features) if together and classifier.together else None
    return clips.rejects, p, averaged


def predict_sounds(
    classifier: Classifier, sounds: Sequence[Sound], options: PredictOptions
) -> tuple[list[Result], list[tuple[Sound, str]]]:
    """Predict sounds longer than the model's duration window by window, the others clip by clip.

    Recordings longer than LONG times the model's duration get a timeline beside ``options.output``; with
    ``options.timeline`` every sound gets one in that folder.

    Returns:
        The results in the order of the sounds, and the unusable sounds with the reasons.

    Raises:
        UserError: an impossible hop, or no sound can be used.
    """
    classifier.hop_samples(options.hop)
    window, every = classifier.spec.duration, options.timeline is not None
    folder = options.timeline or (options.output.parent if options.output else None if options.json else Path())
    results: dict[int, Result] = {}
    skipped: dict[int, str] = {}
    short: dict[int, Path] = {}
    stems: Counter[str] = Counter()
    bar = tqdm(sounds, "files", unit="file", leave=False, delay=1, disable=True if len(sounds) == 1 else None)
    for i, sound in enumerate(bar):
        try:
            if not is_file(sound.path):
                raise AudioError("no such file, or not a regular file")
            length = seconds(sound.path)
            longer = every or length > SLACK * window
            if longer or len(sounds) == 1:  # the cache does not help a single sound
                shown = folder is not None and (every or length > LONG * window)
                stems[sound.path.stem] += shown
                number = stems[sound.path.stem]
                result = predict_sound(classifier, sound, options, folder=folder if shown else None, number=number)
                results[i] = result if longer else dataclasses.replace(result, windows=[])
            else:
                short[i] = sound.path
        except AudioError as error:
            skipped[i] = str(error)
    if short:
        cache = FeatureCache(classifier.spec, options.cache_dir)
        rejects, p, averaged = predict_files(
            classifier, list(short.values()), cache, together=options.together, n_jobs=options.n_jobs
        )
        skipped |= {i: rejects[path] for i, path in short.items() if path in rejects}
        if averaged is not None:
            changed = (p.argmax(axis=1) != averaged.argmax(axis=1)).sum()
            print(f"--together: averaging changed {changed} of {len(p)} predictions", flush=True)
            p = averaged
        for i, p_one in zip([i for i in short if i not in skipped], p, strict=True):
            results[i] = Result(sounds[i], Prediction(classifier.classes, p_one, options.top_k))
    if not results:
        first = f"{sounds[0].path}: {skipped[0]}"
        raise UserError(f"--input{' ' if len(sounds) == 1 else f': none of {len(sounds)} files is usable; '}{first}")
    return [results[i] for i in sorted(results)], [(sounds[i], skipped[i]) for i in sorted(skipped)]


def predict_sound(
    classifier: Classifier, sound: Sound, options: PredictOptions, *, folder: Path | None, number: int = 1
) -> Result:
    """Predict one sound of any length window by window; with a ``folder``, write its timeline there.

    Args:
        number: how many sounds with this stem have a timeline in the folder, this one included.

    Raises:
        AudioError: the sound cannot be used; the message gives the reason.
        UserError: an impossible hop.
    """
    timeline = classifier.predict_windows(sound.path, hop=options.hop, bar=True)
    prediction = Prediction(classifier.classes, timeline.mean, options.top_k, len(timeline))
    files = [] if folder is None else _save(timeline, folder, sound, number)
    return Result(sound, prediction, list(timeline.rows()), files)


def _save(timeline: Timeline, folder: Path, sound: Sound, number: int) -> list[str]:
    """Write <stem>_timeline.csv and .png; ``number`` is in the name from the second sound with this stem on."""
    name = f"{sound.path.stem}{f'_{number}' if number > 1 else ''}_timeline"
    files = [folder / f"{name}.csv", folder / f"{name}.png"]
    timeline.save(*files, title=sound.path.name)
    tqdm.write(f"{files[0]} and .png: {len(timeline)} windows over {timeline.seconds:.1f} s")
    return [str(file) for file in files]
