"""Sounds to listen to: samples of each class, a VAE's reconstructions and interpolations, real clips vocoded."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from generation.objectives.vae import VaeObjective
from generation.sampling import Sampler
from shared.errors import AudioError
from shared.features.batches import Batches
from shared.features.transforms import extract
from shared.files import safe_name
from shared.report.plots import plot_features, plot_mosaic
from shared.runs.sounds import REFERENCE, real_clips

PAIRS = 2  # pairs of clips to reconstruct and to interpolate between
STEPS = 5  # sounds from one clip of a pair to the other, both included
COLUMNS = 10  # samples of a label in the grid
REFERENCES = 2  # real clips of a class that are vocoded


def write_samples(sampler: Sampler, out_dir: Path, epoch: int, *, family: str, seed: int) -> None:
    """Write a wav of each class and one figure of all.

    Every epoch uses the same noise, so that the sounds of different epochs can be compared.
    """
    S = sampler.arrays(sampler.classes, seed=seed)
    names = [f"{safe_name(label)}_ep{epoch}" for label in sampler.classes]
    sampler.write(S, out_dir / f"{family}_generated_audio", names)
    plot_features(
        out_dir / f"{family}_spectrogram_plots" / f"epoch_{epoch:03d}.png",
        dict(zip(sampler.classes, S.cpu().numpy(), strict=True)),
        sampler.vocoder.spec,
        title=f"generated after epoch {epoch}",
    )


def sounds_of(out_dir: Path, family: str, epoch: int) -> list[Path]:
    """The sounds and the figures of spectrograms that a training wrote after an epoch."""
    sounds = (out_dir / f"{family}_generated_audio").glob(f"*_ep{epoch}.wav")
    return sorted(sounds) + sorted((out_dir / f"{family}_spectrogram_plots").glob(f"*_{epoch:03d}.png"))


def write_reference(sampler: Sampler, run_dir: Path, folder: Path, labels: Sequence[str]) -> None:
    """Pass real clips of these classes through the sampler's vocoder: reference/<label>/<clip>.wav in ``folder``.

    So one hears what the vocoder alone does to a sound. The clips are of held-out recordings if the run has some.
    Nothing is written if the run's data folder is gone.
    """
    clips = real_clips(run_dir, sampler.classes)
    for clip in [clip for label in labels for clip in clips.get(label, [])[:REFERENCES]]:
        with contextlib.suppress(AudioError):
            S = torch.from_numpy(extract(clip.path, sampler.vocoder.spec)).to(sampler.vocoder.device)
            sampler.write(S[None], folder / REFERENCE / safe_name(clip.label), [clip.path.stem])


def write_reconstructions(
    objective: VaeObjective, sampler: Sampler, batches: Batches, out_dir: Path, epoch: int, *, seed: int
) -> None:
    """Write a VAE's reconstructions and interpolations.

    reconstructions/<clip>_{original,reconstruction}.wav: both pass through the vocoder, so that only the autoencoder
    makes them differ. interpolations/<clip>_<clip>_<step>.wav: points on the straight line between the posterior means
    of two clips of one class. A VAE on spectrograms also draws a grid of ten samples of each label.
    """
    device = next(sampler.generator.parameters()).device
    weights = torch.linspace(0, 1, STEPS, device=device)[:, None]
    for pair in choose_pairs(batches.labels):
        x, y = (torch.from_numpy(rows[list(pair)]).to(device) for rows in (batches.features, batches.labels))
        a, b = objective.encode(x, y).unsqueeze(1)
        path = objective.decode(torch.lerp(a, b, weights), y[:1].expand(STEPS))
        sampler.write(x, out_dir / "reconstructions", [f"{clip}_original" for clip in pair])
        sampler.write(path[[0, -1]], out_dir / "reconstructions", [f"{clip}_reconstruction" for clip in pair])
        sampler.write(path, out_dir / "interpolations", [f"{pair[0]}_{pair[1]}_{step}" for step in range(STEPS)])
    if sampler.vocoder.spec.kind != "waveform":
        labels = np.repeat(sampler.classes, COLUMNS)
        S = sampler.arrays(labels, seed=seed).cpu().numpy().reshape(-1, COLUMNS, *sampler.vocoder.spec.shape)
        plot_mosaic(
            out_dir / "vae_spectrogram_plots" / f"grid_{epoch:03d}.png",
            dict(zip(sampler.classes, S, strict=True)),
            sampler.vocoder.spec,
            title=f"{COLUMNS} samples a label after epoch {epoch}",
        )


def choose_pairs(labels: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of rows of ``labels`` (N,): one clip from the beginning of a class, one of the same class from its end."""
    pairs = []
    for i in range(PAIRS):
        members = np.flatnonzero(labels == i % (labels.max() + 1))
        pairs.append((int(members[i % len(members)]), int(members[-1 - i % len(members)])))
    return pairs
