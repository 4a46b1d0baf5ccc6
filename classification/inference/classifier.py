"""Classifier: the model of a finished run, ready to predict sounds.

    classifier = Classifier.load("runs/keras")
    classifier.predict("dog.wav").label
    classifier.predict(y, sr=44100).top             # [("dog_bark", 0.93), ("siren", 0.04), ...]
    classifier.predict_windows("street.flac", hop=1.0).save("street.csv", "street.png", title="a street")

This module and its imports do without pandas, scikit-learn and matplotlib, which take seconds to load.
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
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from classification.inference.blend import Forward, load_blend
from classification.inference.options import SLACK, TOP_K
from classification.inference.timeline import Timeline
from classification.inference.together import Together
from classification.rundir import network_from, read_run
from shared.audio import audio_from_array, fix_length, load_audio, window_starts
from shared.errors import AudioError, UserError, not_installed
from shared.features.backbone import load as load_backbone
from shared.features.spec import FeatureSpec
from shared.features.transforms import TRANSFORMS

BATCH_SIZE = 32  # windows predicted at once; bounds the memory


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction of one sound.

    Attributes:
        classes: names of the K classes.
        probabilities: float32 (K,), the mean over the sound's windows.
        top_k: number of classes in ``top``.
        windows: number of windows that were predicted.
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
    """A model with its input features and class names; ``Classifier.load`` loads one from a run.

    Args:
        forward: x float32 (B, *spec.shape) -> probabilities (B, K).
        classes: names of the K classes, by ordinal.
        spec: how x is computed from a window of ``spec.duration`` seconds.
        most_frequent: the most frequent class of the training clips.
        together: averages clips that sound like one recording; None if the run did not learn this. The methods of this
            class do not use it: they predict each sound by itself.
        framework: "keras" or "torch".
        load_features: loads the model as a function x -> the inputs of its last layer (B, D), probabilities (B, K).
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
    def load(
        cls,
        run: Path | str,
        *,
        device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
        backbone_path: Path | None = None,
    ) -> "Classifier":
        """Load the best model of a finished run of classification/train.py; only its own framework is imported.

        Args:
            backbone_path: the backbone of the run, if it is no longer where it was.

        Raises:
            UserError: no finished run, a model that cannot be loaded, a backbone that is gone or is another model, or
                a device that this machine lacks.
        """
        run = Path(run)
        config, labels = read_run(run)
        framework = config["options"].get("framework")
        if framework not in ("keras", "torch"):
            raise UserError(f"{run / 'config.json'}: is damaged, names no framework; train the run again")
        if framework == "keras":  # the backend that trained it, unless the environment sets another
            os.environ.setdefault("KERAS_BACKEND", config["options"].get("backend", "tensorflow"))
        try:
            module = importlib.import_module(f"classification.inference.{framework}_model")
            spec = _spec_of(run, config, backbone_path)
            load = functools.partial(load_blend, module.load) if spec.parts else module.load
            network = network_from(config, len(labels["classes"]))
            forward = load(run, network, device=device)
            together = Together.load(run)
        except UserError:
            raise
        except ModuleNotFoundError as error:
            reason = f"trained with {framework}, but {not_installed(error.name)}"
            raise UserError(f"--model-dir {run}: {reason}") from error
        except Exception as error:  # the frameworks raise different errors for a damaged file or another architecture
            first_line = str(error).strip().split("\n", 1)[0]
            reason = f"its model cannot be loaded ({first_line}); damaged, or of another version: train it again"
            raise UserError(f"--model-dir {run}: {reason}") from error
        return cls(
            forward,
            labels["classes"],
            spec,
            most_frequent=labels.get("most_frequent"),
            together=together,
            framework=framework,
            load_features=functools.partial(load, run, network, device=device, features=True),
        )

    def predict(self, sound: Path | str | ArrayLike, sr: float | None = None, *, top_k: int = TOP_K) -> Prediction:
        """Predict a sound of any length.

        A sound no longer than the model's duration is padded with zeros, as in training. A longer one is predicted in
        half-overlapping windows whose probabilities are averaged.

        Args:
            sound: a file, or samples (N,) or (C, N) as ``shared.audio.audio_from_array`` takes them.
            sr: sampling rate of the samples in Hz; not needed for a file.
            top_k: number of classes in ``Prediction.top``.

        Raises:
            AudioError: the sound cannot be used; the message gives the reason.
            UserError: samples without sr, or a top_k below 1.
        """
        return self._prediction(self.predict_windows(sound, sr).probabilities, top_k)

    def predict_batch(
        self, sounds: Iterable[Path | str | ArrayLike], sr: float | None = None, *, top_k: int = TOP_K
    ) -> list[Prediction]:
        """``predict`` for several sounds, whose windows share the model's batches.

        Raises:
            AudioError: a sound cannot be used; the message begins with its index in ``sounds``.
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
        of_each = np.split(p, np.cumsum(counts, dtype=int))[:-1]  # the last split is empty
        return [self._prediction(windows, top_k) for windows in of_each]

    def predict_windows(
        self, sound: Path | str | ArrayLike, sr: float | None = None, *, hop: float | None = None, bar: bool = False
    ) -> Timeline:
        """Predict overlapping windows of a recording; the last one ends where the recording ends.

        The whole recording is held in memory: 0.3 GiB per hour at 22050 Hz. Decoding needs as much again for each
        channel, at the file's own rate.

        Args:
            sound, sr: as in ``predict``.
            hop: seconds from one window to the next, at most the model's duration; None is half of it.
            bar: show a progress bar on a terminal if prediction takes more than a second.

        Raises:
            AudioError: the sound cannot be used; the message gives the reason.
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
        """N features of shape ``spec.shape`` -> probabilities, float32 (N, K), computed batch by batch."""
        p = list(_in_batches(self.forward, features))
        return _joined(p) if p else np.empty((0, len(self.classes)), dtype=np.float32)

    def embed(self, features: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """N features of shape ``spec.shape`` -> the inputs of the last layer, float32 (N, D), and probabilities (N, K).

        The former are concatenated over the members. N is 1 or more; both are computed batch by batch.
        """
        inputs, p = zip(*_in_batches(self.load_features(), features), strict=True)
        return _joined(inputs), _joined(p)

    def hop_samples(self, hop: float | None) -> int:
        """The hop in samples at ``spec.sr``, from seconds; None is half a window."""
        if hop is None:
            return max(1, self.spec.n_samples // 2)
        if not 0 < hop <= self.spec.duration:
            raise UserError(f"--hop {hop}: must be above 0 and at most the {self.spec.duration} s of a window")
        return max(1, round(hop * self.spec.sr))

    def _prediction(self, p: np.ndarray, top_k: int) -> Prediction:
        """The prediction of a sound from its window probabilities p (W, K)."""
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
        """Start indices and features of the windows of y (N,): one every ``step`` samples, the last ending with y."""
        size, transform = self.spec.n_samples, TRANSFORMS[self.spec.kind]
        starts = window_starts(len(y), size=size, step=step, slack=SLACK)
        return starts, (transform(fix_length(y[i : i + size], size=size), self.spec) for i in starts)


def _spec_of(run: Path, config: dict[str, Any], backbone_path: Path | None) -> FeatureSpec:
    """The features of a run, whose backbone, if it has one, is loaded and may have another place by now."""
    spec = FeatureSpec(**config["features"])
    if backbone_path is not None:
        if spec.used_backbone is None:
            raise UserError(f"--backbone-path {backbone_path}: {run} was trained without a backbone; leave it out")
        spec = spec.with_backbone_at(Path(backbone_path).absolute())
    for part in spec.each:
        if part.backbone:
            load_backbone(part)
    return spec


def _in_batches(forward: Forward, x: Iterable[np.ndarray]) -> Iterator[Any]:
    x = iter(x)
    while batch := list(itertools.islice(x, BATCH_SIZE)):
        yield forward(np.stack(batch))


def _joined(batches: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(batches).astype(np.float32, copy=False)


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Halve the time to load a framework: hide Keras's optional packages and pause garbage collection.

    Keras does not look for the packages again, so use this only in a program that does nothing but predict.
    """
    # if installed, Keras imports these for training and plotting
    hidden = [name for name in ("matplotlib", "pandas", "sklearn") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # importing a module that is None raises ModuleNotFoundError
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        for name in hidden:
            sys.modules.pop(name, None)
