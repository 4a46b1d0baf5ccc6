"""The sounds of a listening test: real clips and samples of runs, alike in length, level and sampling rate."""

import dataclasses
import io
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile as sf
from tqdm import tqdm

from shared.audio import decode, fix_length, resample
from shared.errors import AudioError, UserError
from shared.files import content_hash, read_json, text_hash
from shared.runs.sounds import find_samples, real_clips

REAL = "real"
LEVEL_DB = -20.0  # of the loudest 0.4 s of each sound, relative to full scale
LEVEL_SECONDS = 0.4  # as in EBU R 128's momentary loudness
FADE_SECONDS = 0.01
PEAK = 0.99


@dataclasses.dataclass(frozen=True)
class Trial:
    """One sound of the test.

    Attributes:
        sound: a hash that identifies it in the answers.
        source: the run that generated it, or "real".
        label: its class.
        wav: what the listener hears.
    """

    sound: str
    source: str
    label: str
    wav: bytes


@dataclasses.dataclass(frozen=True)
class ListeningTest:
    """The trials in the order in which they are played, and the classes to choose from."""

    trials: list[Trial]
    classes: list[str]
    duration: float


@dataclasses.dataclass(frozen=True)
class _Sound:
    source: str
    label: str
    path: Path


def make_test(runs: Sequence[Path], *, count: int, seed: int, data_dir: Path | None = None) -> ListeningTest:
    """Draw and shuffle the sounds of a test.

    All are cut to the shortest duration of the runs, or padded with silence to it as the training clips are, and
    resampled to their lowest sampling rate.

    Args:
        runs: finished runs of generators.
        count: sounds of each class and run. As many real clips of a class are drawn as all runs have sounds of it, of
            held-out recordings if there are some.
        data_dir: where the real clips are; None takes the folder that each run was trained on.

    Raises:
        UserError: a folder is no finished run, or it lacks sounds or real clips.
    """
    rng = random.Random(seed)
    generated, features = [], []
    clips: dict[str, list[Path]] = {}
    for run, name in zip(runs, _names(runs), strict=True):
        config, metrics = (_read(run, file) for file in ("config.json", "metrics.json"))
        if not (samples := find_samples(run, metrics)):
            remedy = f"frequency-quest generate --model-dir {run} --out-dir {run / 'samples'}"
            raise UserError(f"{run}: holds no generated sounds; make some with {remedy}")
        features.append(config["features"])
        for found in samples:
            source = name if len(samples) == 1 else f"{name}/{found.name}"
            source += f" (best of {found.best_of})" if found.best_of > 1 else ""
            known = set(metrics.get("classes", found.generated))  # a mixture of classes has no right answer
            for label, files in found.generated.items():
                if label not in known:
                    continue
                drawn = rng.sample(files, min(count, len(files)))
                generated += [_Sound(source, label, path) for path in drawn]
        real = real_clips(run, metrics.get("classes", []), data_dir=data_dir, seed=seed)
        if not real:
            where = data_dir or config["data"]["root"]
            raise UserError(f"--data-dir {where}: holds no clip of {run / 'clips.csv'}; give the folder with its clips")
        clips = {label: [clip.path for clip in those] for label, those in real.items()} | clips
    wanted = Counter(sound.label for sound in generated)
    real_sounds = [_Sound(REAL, label, path) for label, n in wanted.items() for path in clips.get(label, [])[:n]]
    sounds = generated + real_sounds
    rng.shuffle(sounds)
    duration, sr = (min(each[key] for each in features) for key in ("duration", "sr"))
    bar = tqdm(sounds, desc="preparing", unit="sound", disable=None, leave=False)
    trials = [_trial(sound, duration=duration, sr=sr) for sound in bar]
    return ListeningTest(trials, sorted(wanted), duration)


def _names(runs: Sequence[Path]) -> list[str]:
    """The folders' names; their whole paths if two names are equal or one is "real"."""
    names = [run.resolve().name for run in runs]
    return names if len({*names, REAL}) == len(names) + 1 else [str(run) for run in runs]


def _read(run: Path, name: str) -> dict:
    try:
        return read_json(run / name)
    except (OSError, UserError) as error:
        raise UserError(f"{run}: is no finished run of a generator (no readable {name}); train one first") from error


def _trial(sound: _Sound, *, duration: float, sr: int) -> Trial:
    try:
        y, file_sr = decode(sound.path, duration=duration)
    except AudioError as error:
        raise UserError(f"{sound.path}: {error}; remove it") from error
    y = fix_length(alike(resample(y, file_sr, sr), sr), size=round(duration * sr))
    buffer = io.BytesIO()
    sf.write(buffer, y, sr, format="WAV", subtype="PCM_16")
    identity = text_hash("\n".join((sound.source, sound.label, sound.path.name, content_hash(sound.path))))
    return Trial(identity, sound.source, sound.label, buffer.getvalue())


def alike(y: np.ndarray, sr: int) -> np.ndarray:
    """y (N,) without offset, with its loudest part at ``LEVEL_DB`` or its peak at ``PEAK``, and with short fades."""
    y = y - y.mean()
    window = min(len(y), round(LEVEL_SECONDS * sr))
    energy = np.concatenate([[0.0], np.cumsum(np.square(y, dtype=np.float64))])
    level = np.sqrt(max(0.0, (energy[window:] - energy[:-window]).max()) / window)
    if level > 0:
        y = y * min(10 ** (LEVEL_DB / 20) / level, PEAK / np.abs(y).max())
    n = min(len(y) // 2, round(FADE_SECONDS * sr))
    ramp = np.linspace(0, 1, n, endpoint=False)
    y[:n] *= ramp
    y[len(y) - n :] *= ramp[::-1]
    return y
