"""Clips as a classifier sees them: features and probabilities."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from classification.inference.classifier import Classifier
from generation.evaluation.clips import Pictured
from shared.audio import decode, fix_length, resample
from shared.features.cache import FeatureCache
from shared.features.spec import FeatureSpec
from shared.features.transforms import TRANSFORMS


@dataclasses.dataclass(frozen=True, eq=False)
class Embedded:
    """N clips as the classifier sees them: features (N, D) and probabilities (N, K) of ``classes``.

    Row i of ``manifest`` is clip i.
    """

    manifest: pd.DataFrame
    features: np.ndarray
    probabilities: np.ndarray
    classes: Sequence[str]

    def __len__(self) -> int:
        return len(self.manifest)


def embed(
    classifier: Classifier, files: pd.DataFrame, cache: FeatureCache, *, name: str, n_jobs: int | None
) -> Embedded:
    """Embed the clips of usable files. A sound longer than the classifier's window is cut into windows, and each window
    counts as a clip."""
    clips = Pictured.of(files, cache, n_jobs=n_jobs)
    return _embed(classifier, clips.manifest, lambda i: clips.features[[i]][0], name=name)


def embed_noise(classifier: Classifier, labels: Sequence[str], like: Sequence[Path], *, seed: int) -> Embedded:
    """Embed white Gaussian noise, one clip for each label; see ``make_noise``."""
    arrays = make_noise(len(labels), like, classifier.spec, seed=seed)
    return _embed(classifier, pd.DataFrame({"path": "", "label": labels}), arrays.__getitem__, name="noise")


def make_noise(count: int, like: Sequence[Path], spec: FeatureSpec, *, seed: int) -> list[np.ndarray]:
    """The features of ``count`` clips of white Gaussian noise: float32 ``spec.shape`` each.

    Each clip copies the length, level (RMS) and sampling rate of a file in ``like``, in turn, so that neither level nor
    bandwidth alone sets the noise apart from the sounds.
    """
    rng, arrays = np.random.default_rng(seed), []
    for i in tqdm(range(count), desc="making noise", unit="clip", disable=None, leave=False):
        y, sr = decode(like[i % len(like)], duration=spec.duration)
        noise = rng.standard_normal(len(y)).astype(np.float32) * np.sqrt(np.mean(y**2))
        noise = resample(noise, sr, spec.sr)
        arrays.append(TRANSFORMS[spec.kind](fix_length(noise, size=spec.n_samples), spec))
    return arrays


def _embed(
    classifier: Classifier, manifest: pd.DataFrame, array: Callable[[int], np.ndarray], *, name: str
) -> Embedded:
    """Embed the clips of ``manifest``; ``array(i)`` is the spectrogram of clip i."""
    numbers = tqdm(range(len(manifest)), desc=name, unit="clip", disable=None, leave=False)
    return Embedded(manifest, *classifier.embed(map(array, numbers)), classifier.classes)
