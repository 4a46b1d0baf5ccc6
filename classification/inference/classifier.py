"""Classifier: a finished run as an object that predicts sounds.

    classifier = Classifier.load("runs/keras")
    classifier.predict("dog.wav").label
    classifier.predict(y, sr=44100).top             # [("dog_bark", 0.93), ("siren", 0.04), ...]
    classifier.predict_windows("street.flac", hop=1.0).save("street.csv", "street.png", title="a street")

Nothing here or in what it imports needs pandas, scikit-learn or matplotlib: they cost seconds before the first answer.
"""

import contextlib
import dataclasses
import functools
import gc
import importlib
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from classification.inference.options import TOP_K
from classification.inference.timeline import Timeline
from classification.inference.together import Together
from classification.rundir import network_from, read_run
from shared.audio import audio_from_array, fix_length, load_audio
from shared.errors import AudioError, UserError
from shared.features.spec import FeatureSpec
from shared.features.transforms import TRANSFORMS

BATCH_SIZE = 32  # windows the model is given at once: what bounds the memory
SLACK = 1.05  # a sound of up to so many durations of the model is one window: mp3 pads a clip's end
Forward = Callable[[np.ndarray], np.ndarray]  # (B, M, T) -> (B, K) probabilities


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction of one sound.

    Attributes:
        classes: names of the K classes.
        probabilities: float32 (K,), the mean over the sound's windows.
        top_k: how many classes ``top`` holds.
        windows: how many windows of the model's duration were predicted.
    """

    classes: Sequence[str]
    probabilities: np.ndarray
    top_k: int = TOP_K
    windows: int = 1

    @property
    def label(self) -> str:
        return self.classes[int(self.probabilities.argmax())]

    @property
    def probability(self) -> float:
        return float(self.probabilities.max())

    @property
    def top(self) -> list[tuple[str, float]]:
        """The most probable classes and their probabilities, best first."""
        order = np.argsort(-self.probabilities, kind="stable")[: self.top_k]
        return [(self.classes[k], float(self.probabilities[k])) for k in order]

    def __str__(self) -> str:
        return ", ".join(f"{label} {p:.1%}" for label, p in self.top)


@dataclasses.dataclass(frozen=True, eq=False)
class Classifier:
    """A model, its input features and the names of its classes; ``Classifier.load`` makes one from a run.

    Args:
        forward: x float32 (B, *spec.shape) -> probabilities (B, K).
        classes: names of the K classes, by ordinal.
        spec: how a window of ``spec.duration`` seconds becomes x.
        most_frequent: the most frequent class of the training clips.
        together: how clips of one recording are recognised and averaged, for those who ask for it; None where the run
            did not learn it. The methods here predict each sound by itself.
        framework: the one that computes.
        load_features: loads the model without its last layer: x -> features (B, D).
    """

    forward: Forward
    classes: Sequence[str]
    spec: FeatureSpec
    _: dataclasses.KW_ONLY
    most_frequent: str | None = None
    together: Together | None = None
    framework: str = ""
    load_features: Callable[[], Forward] | None = None

    @classmethod
    def load(cls, run: Path | str, *, device: Literal["auto", "cpu", "cuda", "mps"] = "auto") -> "Classifier":
        """The best model of a finished run folder of classification/train.py. Only its own framework is imported.

        Raises:
            UserError: no finished run, one that cannot be loaded here, or a device this machine does not have.
        """
        run = Path(run)
        config, labels = read_run(run)
        framework = config["options"]["framework"]
        if framework == "keras":  # what trained it, unless the environment names another
            os.environ.setdefault("KERAS_BACKEND", config["options"].get("backend", "tensorflow"))
        try:
            module = importlib.import_module(f"classification.inference.{framework}_model")
            spec = FeatureSpec(**config["features"])
            network = network_from(config, len(labels["classes"]))
            forward = module.load(run, network, device=device)
        except UserError:
            raise
        except ModuleNotFoundError as error:
            reason = f"trained with {framework}, but {error.name} is not installed; pip install -r requirements.txt"
            raise UserError(f"--model-dir {run}: {reason}") from error
        except Exception as error:  # each framework has its own for a damaged file or another architecture
            said = str(error).strip().split("\n", 1)[0]
            reason = f"its model cannot be loaded ({said}); is it whole, and of this version?"
            raise UserError(f"--model-dir {run}: {reason}") from error
        return cls(
            forward,
            labels["classes"],
            spec,
            most_frequent=labels["most_frequent"],
            together=Together.load(run),
            framework=framework,
            load_features=functools.partial(module.load, run, network, device=device, features=True),
        )

    def predict(self, sound: Path | str | ArrayLike, sr: float | None = None, *, top_k: int = TOP_K) -> Prediction:
        """Predict a sound of any length.

        A sound no longer than the model's duration is padded with zeros, as in training. A longer one is predicted in
        half-overlapping windows, whose probabilities are averaged.

        Args:
            sound: a file, or samples (N,) or (C, N) as ``shared.audio.audio_from_array`` takes them.
            sr: sampling rate of the samples in Hz; a file knows its own.
            top_k: how many classes ``Prediction.top`` holds.

        Raises:
            AudioError: the sound cannot be used; the message says why.
            UserError: samples without sr, or a top_k below 1.
        """
        return self._prediction(self.predict_windows(sound, sr).probabilities, top_k)

    def predict_batch(
        self, sounds: Iterable[Path | str | ArrayLike], sr: float | None = None, *, top_k: int = TOP_K
    ) -> list[Prediction]:
        """``predict`` for each of several sounds; the model is given their windows together.

        Raises:
            AudioError: a sound cannot be used; the message begins with its place in ``sounds``.
        """
        counts: list[int] = []

        def features() -> Iterator[np.ndarray]:
            for i, sound in enumerate(sounds):
                try:
                    y = self._samples(sound, sr)
                except AudioError as error:
                    raise AudioError(f"sound {i}: {error}") from error
                starts, windows = self._windows(y, self.hop_samples(None))
                counts.append(len(starts))
                yield from windows

        p = self.probabilities(features())
        of_each = np.split(p, np.cumsum(counts, dtype=int))[:-1]  # nothing follows the last sound's windows
        return [self._prediction(windows, top_k) for windows in of_each]

    def predict_windows(
        self, sound: Path | str | ArrayLike, sr: float | None = None, *, hop: float | None = None, bar: bool = False
    ) -> Timeline:
        """Predict overlapping windows of a recording; the last one ends where the recording ends.

        The whole recording is held in memory: 0.3 GiB an hour at 22050 Hz, and while it is decoded as much again
        for each channel at its own rate.

        Args:
            sound, sr: as in ``predict``.
            hop: seconds from one window to the next, at most the model's duration; None is half of it.
            bar: show a progress bar on a terminal if prediction takes more than a second.

        Raises:
            AudioError: the sound cannot be used; the message says why.
            UserError: samples without sr, or an impossible hop.
        """
        step = self.hop_samples(hop)
        y = self._samples(sound, sr)
        starts, windows = self._windows(y, step)
        ends = np.minimum(starts + self.spec.n_samples, len(y))
        if bar:
            windows = tqdm(windows, "windows", len(starts), unit="window", leave=False, delay=1, disable=None)
        p = self.probabilities(windows)
        return Timeline(self.classes, starts / self.spec.sr, ends / self.spec.sr, p, y, self.spec)

    def probabilities(self, features: Iterable[np.ndarray]) -> np.ndarray:
        """Features, each ``spec.shape``, -> float32 (their number, K); read and computed a batch at a time."""
        p = _in_batches(self.forward, features)
        return np.concatenate(p) if p else np.empty((0, len(self.classes)), dtype=np.float32)

    def features(self, spectrograms: Iterable[np.ndarray]) -> np.ndarray:
        """Spectrograms (one or more), each ``spec.shape``, -> float32 (their number, D): the inputs of the last layer,
        all members' side by side. Read and computed a batch at a time.
        """
        return np.concatenate(_in_batches(self.load_features(), spectrograms))

    def hop_samples(self, hop: float | None) -> int:
        """Seconds between windows as samples at ``spec.sr``; None is half a window."""
        if hop is None:
            return max(1, self.spec.n_samples // 2)
        if not 0 < hop <= self.spec.duration:
            raise UserError(f"--hop {hop}: must be above 0 and at most the {self.spec.duration} s of a window")
        return max(1, round(hop * self.spec.sr))

    def _prediction(self, p: np.ndarray, top_k: int) -> Prediction:
        """Averages window probabilities p (W, K)."""
        if top_k < 1:
            raise UserError(f"--top-k {top_k}: must be 1 or more")
        return Prediction(self.classes, p.mean(axis=0), top_k, len(p))

    def _samples(self, sound: Path | str | ArrayLike, sr: float | None) -> np.ndarray:
        """The whole sound: mono float32 (N,) at ``spec.sr``."""
        if isinstance(sound, str | Path):
            return load_audio(sound, sr=self.spec.sr)
        if sr is None:
            raise UserError("sr is missing: samples need their sampling rate in Hz, as in predict(y, sr=44100)")
        return audio_from_array(sound, sr, sr=self.spec.sr)

    def _windows(self, y: np.ndarray, step: int) -> tuple[np.ndarray, Iterator[np.ndarray]]:
        """The windows over y (N,), every ``step`` samples and one that ends with it: their first samples, features."""
        size, transform = self.spec.n_samples, TRANSFORMS[self.spec.kind]
        last = len(y) - size
        starts = np.zeros(1, dtype=int) if len(y) <= SLACK * size else np.append(np.arange(0, last, step), last)
        return starts, (transform(fix_length(y[i : i + size], size=size), self.spec) for i in starts)


def _in_batches(forward: Forward, x: Iterable[np.ndarray]) -> list[np.ndarray]:
    x = iter(x)
    batches = iter(lambda: list(itertools.islice(x, BATCH_SIZE)), [])
    return [np.asarray(forward(np.stack(batch)), dtype=np.float32) for batch in batches]


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Loads a framework in half the time: Keras finds its optional packages missing, and no garbage is collected.

    Keras never looks for them again, so this is for a program that only predicts.
    """
    # Keras imports these where they are installed, to train and to draw
    hidden = [name for name in ("matplotlib", "pandas", "sklearn") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # to import None raises ModuleNotFoundError
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        for name in hidden:
            sys.modules.pop(name, None)
