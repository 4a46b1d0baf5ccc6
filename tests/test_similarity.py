"""Copies are found whatever was done to them, strangers are not, and groups keep recordings whole."""


import numpy as np
import pytest
import soxr

from shared.demo_data import SOURCES, SYNTH_SR
from shared.features import PRESETS, log_mel
from shared.similarity import near_duplicates

SPEC = PRESETS["classifier"]
N = SPEC.n_samples
CHANGES = {
    "gain": lambda y, rng: 0.03 * y[:N],
    "noise": lambda y, rng: y[:N] + 0.1 * y.std() * rng.standard_normal(N),
    "shift": lambda y, rng: y[-N:],
    "shift, gain and noise": lambda y, rng: 0.1 * y[-N:] + 0.003 * y.std() * rng.standard_normal(N),
    "padding": lambda y, rng: y[: N // 2],
}


def spectrograms(clips: list[np.ndarray]) -> np.ndarray:
    return np.stack([log_mel(np.pad(y, (0, N - len(y))).astype(np.float32), SPEC) for y in clips])


@pytest.fixture(scope="module")
def sources() -> list[np.ndarray]:
    """Synthetic sounds of 6 s, four recordings of each class, at the rate of the spectrograms."""
    rngs = (np.random.default_rng(seed) for seed in range(len(SOURCES) * 4))
    sounds = [source(rng, rng, 6 * SYNTH_SR) for source in SOURCES.values() for rng in [next(rngs) for _ in range(4)]]
    return [soxr.resample(y / np.abs(y).max(), SYNTH_SR, SPEC.sr) for y in sounds]


@pytest.fixture(scope="module")
def strangers(sources: list[np.ndarray]) -> np.ndarray:
    return spectrograms([y[:N] for y in sources])


def textures(rng: np.random.Generator, *, recordings: int, clips: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise (N, 64, 90) in dB, of a colour that the clips of a recording share, and the recordings."""
    colours = np.cumsum(rng.normal(0, 3, (recordings, 64)), axis=1)
    groups = np.repeat(np.arange(recordings), clips)
    clips_db = colours[groups, :, None] + 20 * np.log10(rng.rayleigh(size=(len(groups), 64, 90)))
    return clips_db + rng.normal(0, 20, (len(groups), 1, 1)), groups


@pytest.mark.parametrize("change", CHANGES)
def test_changed_copies_are_found_and_nothing_else(
    change: str, sources: list[np.ndarray], strangers: np.ndarray
) -> None:
    rng = np.random.default_rng(0)
    copies = spectrograms([CHANGES[change](y, rng) for y in sources])
    pairs = near_duplicates(np.concatenate([strangers, copies]))
    n = len(sources)
    found = set(zip(pairs.i, pairs.j, strict=True))
    print(change, len(found & {(k, k + n) for k in range(n)}), [(p, s) for p, s in zip(zip(pairs.i, pairs.j), pairs.similarity) if p[1] != p[0] + n])
