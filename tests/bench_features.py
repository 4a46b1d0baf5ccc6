"""Compare the features and their cache with librosa, torchaudio and a copy in memory. tests/bench.py runs it."""

import itertools
import tempfile
from pathlib import Path

import librosa
import numpy as np
import soundfile as sf
import torch
from joblib import Parallel, delayed
from speed import compare_speed

from generation.vocoders.torchaudio import transforms
from shared.features.batches import Batches
from shared.features.cache import FeatureCache
from shared.features.spec import PRESETS
from shared.features.transforms import extract
from shared.runs.memory import keep_freed_memory

SPEC = PRESETS["classifier"]
EPOCH = 2000  # clips read by an epoch
CACHES = tempfile.TemporaryDirectory()  # removed at the end, so that no deletion is timed


def librosa_clip(path: Path) -> np.ndarray:
    y, _ = librosa.load(path, sr=SPEC.sr)
    y = librosa.util.fix_length(y, size=SPEC.n_samples)
    S = librosa.feature.melspectrogram(y=y, sr=SPEC.sr, n_fft=SPEC.n_fft, hop_length=SPEC.hop_length)
    return librosa.power_to_db(S, ref=np.max)


def torchaudio_loop(paths: list[Path]) -> None:
    to_mel = transforms.MelSpectrogram(
        SPEC.sr, SPEC.n_fft, hop_length=SPEC.hop_length, n_mels=SPEC.n_mels, norm="slaney", mel_scale="slaney"
    )
    to_db = transforms.AmplitudeToDB(top_db=80)
    for path in paths:
        y, sr = sf.read(path, dtype="float32", always_2d=True)
        y = transforms.Resample(sr, SPEC.sr)(torch.from_numpy(y.mean(axis=1)))[: SPEC.n_samples]
        to_db(to_mel(torch.nn.functional.pad(y, (0, SPEC.n_samples - len(y)))))


def build(paths: list[Path], n_jobs: int) -> None:
    """Compute all features into a new cache: also hashes of the files, shards with checksums, the index."""
    FeatureCache(SPEC, Path(tempfile.mkdtemp(dir=CACHES.name))).build(paths, n_jobs=n_jobs, progress=False)


def bench_features(paths: list[Path], rounds: int) -> None:
    """Time ``extract`` alone on 48 of the files, and whole caches of all of them, as many as a small data set has."""
    few = paths[:: max(1, len(paths) // 48)]
    one = "feature extraction in one process, compared with"
    two = "feature extraction in two processes into a cache, compared with"
    pairs = {
        f"{one} a loop over librosa": (
            few,
            lambda: [extract(path, SPEC) for path in few],
            lambda: [librosa_clip(path) for path in few],
        ),
        f"{one} a loop over torchaudio's transforms": (
            few,
            lambda: [extract(path, SPEC) for path in few],
            lambda: torchaudio_loop(few),
        ),
        f"{two} a loop over librosa": (paths, lambda: build(paths, 2), lambda: [librosa_clip(path) for path in paths]),
        f"{two} a loop over torchaudio's transforms": (paths, lambda: build(paths, 2), lambda: torchaudio_loop(paths)),
        f"{two} one process": (paths, lambda: build(paths, 2), lambda: build(paths, 1)),
        f"{two} librosa in two processes of joblib": (
            paths,
            lambda: build(paths, 2),
            lambda: Parallel(n_jobs=2)(delayed(librosa_clip)(path) for path in paths),
        ),
    }
    for title, (clips, ours, other) in pairs.items():
        compare_speed(title, ours, other, clips=len(clips), rounds=rounds)


def bench_epoch(paths: list[Path], rounds: int) -> None:
    """Read an epoch in random order from a warm cache, compared with a copy of the same bytes in memory."""
    keep_freed_memory()  # as in a training
    with tempfile.TemporaryDirectory() as folder:
        features = FeatureCache(SPEC, Path(folder)).build(paths, progress=False).features
        clips = np.resize(np.arange(len(features)), EPOCH)
        batches = Batches(features.take(clips), np.zeros(EPOCH, int), batch_size=32, shuffle=True)
        arrays, copy = features[clips], np.empty((32, *SPEC.shape), np.float32)

        def read() -> None:
            for _ in batches(next(epochs)):
                pass

        def memcpy() -> None:
            for start in range(0, EPOCH, 32):
                part = arrays[start : start + 32]
                np.copyto(copy[: len(part)], part)

        epochs = itertools.count()
        title = f"reading an epoch of {EPOCH} clips in random order from the cache, compared with a memcpy"
        compare_speed(title, read, memcpy, clips=EPOCH, rounds=rounds)
