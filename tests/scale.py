"""Measure how the cache and its batches grow with the number of clips: python tests/scale.py 10000 100000 1000000

For each number of clips, it writes that many distinct wav files of a tenth of a second into a folder, and a cache of a
tiny spectrogram. Every stage runs in a process of its own, which prints its seconds and its peak memory:

    build: list the clips, compute all spectrograms
    start: list the clips, compare them with the cache, as a training does that finds nothing to compute
    epoch: the same, then read all batches of an epoch in random order
"""

import contextlib
import dataclasses
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import psutil
import soundfile as sf
import tyro
from tqdm import tqdm

from shared.errors import run_entry
from shared.features.batches import Batches
from shared.features.spec import FeatureSpec
from shared.runs.options import CommonOptions
from shared.runs.start import Clips, find_data, load_clips

SR = 8000
TINY = FeatureSpec(sr=SR, duration=0.1, n_fft=256, hop_length=128, n_mels=16)
PER_FOLDER = 1000  # recordings in a class folder's list; the clips of a class stand in one folder


@dataclasses.dataclass(kw_only=True)
class ScaleOptions:
    """Measure how the cache and its batches grow with the number of clips."""

    clips: Annotated[tuple[int, ...], tyro.conf.Positional]
    """How many clips."""
    folder: Path = Path("runs/scale")
    """Where the sounds and the cache are kept."""
    stage: Literal["all", "build", "start", "epoch"] = "all"
    """Run one stage in this process."""


def write_sounds(folder: Path, count: int) -> None:
    """Write ``count`` distinct sounds of ten classes; those that exist are kept."""
    done = folder / "done"
    if done.exists():
        return
    y = np.random.default_rng(0).normal(size=SR // 10 + count).astype(np.float32) * 0.1
    for k in range(10):
        (folder / f"class_{k}").mkdir(parents=True, exist_ok=True)
    for i in tqdm(range(count), "writing sounds", unit="clip", disable=None):
        sf.write(folder / f"class_{i % 10}" / f"{i:07d}.wav", y[i : i + SR // 10], SR, subtype="PCM_16")
    done.touch()


@contextlib.contextmanager
def measured(name: str, count: int) -> Iterator[None]:
    began = time.perf_counter()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    files = psutil.Process().num_fds()
    print(f"{count:9,} clips  {name}  {time.perf_counter() - began:8.1f} s  {peak:7.0f} MiB  {files:3d} files open")


def load(folder: Path) -> Clips:
    options = CommonOptions(data_dir=folder / "sounds", cache_dir=folder / "cache")
    return load_clips(options, find_data(options), TINY)


def run_stage(stage: str, folder: Path, count: int) -> None:
    with measured(stage, count):
        clips = load(folder)
        assert len(clips.manifest) == count
        if stage == "epoch":
            began = time.perf_counter()
            ordinals = {label: k for k, label in enumerate(clips.classes)}
            labels = clips.manifest.label.map(ordinals)
            batches = Batches(clips.features, labels, batch_size=32, shuffle=True)
            read = sum(x.nbytes for x, _ in batches())
            print(f"{read / 2**20:.0f} MiB of batches read in {time.perf_counter() - began:.1f} s")


def main() -> None:
    options = tyro.cli(ScaleOptions)
    for count in options.clips:
        folder = options.folder / str(count)
        if options.stage != "all":
            run_stage(options.stage, folder, count)
            continue
        write_sounds(folder / "sounds", count)
        for stage in ("build", "start", "epoch"):
            command = [sys.executable, __file__, str(count), "--folder", str(options.folder), "--stage", stage]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    run_entry(main)
