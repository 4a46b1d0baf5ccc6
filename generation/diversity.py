"""How much the samples of a class differ from each other, compared with real clips: shows a collapse during training.

A generator that has collapsed makes the same sound of a class again and again, which a loss does not show.
"""

import sys
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from generation.sampling import Sampler
from shared.evaluation.distances import within_class_distance
from shared.features.batches import Batches
from shared.features.spec import FeatureSpec

KEY = "samples/diversity"
COLLAPSED = 0.5  # below this diversity the samples of a class are called alike
SAMPLES, CLIPS = 8, 32  # of a class: generated and, at most, real
CLASSES = 10  # at most so many are compared, since generating takes time
TILES = 16  # a spectrogram is averaged over at most this many parts of its bands and of its frames: noise cancels out
N_FFT = 256  # samples; of waveforms the spectrogram is compared


def watch(
    sampler: Sampler, batches: Batches, history: Sequence[Mapping[str, float]], *, epoch: int, epochs: int, seed: int
) -> dict[str, float]:
    """{"samples/diversity": value} for the history; empty if the real clips of each class are equal.

    Warns on stderr if the value falls below the limit, or is below it after the last epoch. A generator begins with
    samples that are alike, which is no collapse.
    """
    value = diversity(sampler, batches, seed=seed)
    if np.isnan(value):
        return {}
    fell = not last(history).get("samples/collapsed", True)
    if value < COLLAPSED and (fell or epoch == epochs):
        tqdm.write(
            f"warning: epoch {epoch}: samples of one class differ {value:.2f} times as much as real clips do (below "
            f"{COLLAPSED}): the generator repeats itself (mode collapse)",
            file=sys.stderr,
        )
    return {KEY: value}


def last(history: Sequence[Mapping[str, float]]) -> dict[str, float | bool]:
    """The last diversity of a training, and whether the generator has collapsed; empty if it was never measured."""
    values = [line[KEY] for line in history if KEY in line]
    return {KEY: values[-1], "samples/collapsed": values[-1] < COLLAPSED} if values else {}


def diversity(sampler: Sampler, batches: Batches, *, seed: int) -> float:
    """The mean distance within a class of samples, divided by that of training clips: 1 is as varied as real clips."""
    spec, classes = sampler.vocoder.spec, sampler.classes[:CLASSES]
    samples, clips, labels = [], [], []
    for k, label in enumerate(classes):
        rows = np.flatnonzero(batches.labels == k)
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, CLIPS).round().astype(int))]
        clips.append(torch.from_numpy(np.asarray(batches.features[rows])))
        labels += [label] * len(rows)
        samples.append(sampler.arrays([label] * SAMPLES, seed=seed).cpu())
    real, fake = (_tiles(torch.cat(parts), spec) for parts in (clips, samples))
    scale = real.std(dim=(0, 2), keepdim=True)  # of each band
    scale = scale.clamp(min=max(0.1 * float(scale.mean()), 1e-6))
    real, fake = ((x / scale).flatten(1).numpy() for x in (real, fake))
    of_real = within_class_distance(real, labels)
    return within_class_distance(fake, np.repeat(classes, SAMPLES)) / of_real if of_real > 0 else float("nan")


def _tiles(S: Tensor, spec: FeatureSpec) -> Tensor:
    """Features (B, *spec.shape) -> their spectrograms, averaged over tiles (B, at most 16, at most 16)."""
    S = S.float()
    if spec.kind == "waveform":
        S = torch.stft(S, N_FFT, window=torch.hann_window(N_FFT), return_complex=True).abs().log1p()
    elif spec.kind == "amplitude_phase":
        S = S[:, 0]
    bands, frames = S.shape[1:]
    return F.adaptive_avg_pool2d(S[:, None], (min(TILES, bands), min(TILES, frames)))[:, 0]
