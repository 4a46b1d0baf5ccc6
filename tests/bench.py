"""Speed as ratios against named rivals, on the same inputs in the same process: python tests/bench.py [--data-dir DIR]

Each pair is timed in turn, A B A B ..., and the median of the ratios is printed. Without --data-dir the synthetic
demo sounds are used. The Keras training is timed in a process of its own (tests/bench_keras.py).
"""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import torch
import tyro
from bench_vocoders import bench_vocoders
from rivals import compare

from generation.models.gan2d import Discriminator, Generator
from generation.objectives.gan import GanObjective
from generation.scaling import Scaler
from shared.audio import load_audio
from shared.data.datasets import load_dataset
from shared.data.demo_data import make_demo_data
from shared.errors import run_entry
from shared.features.spec import PRESETS
from shared.features.transforms import extract
from shared.files import DEMO_DIR
from shared.runs.loop import bfloat16_pays, make_accelerator


@dataclasses.dataclass(kw_only=True)
class BenchOptions:
    """Time this project's parts against their rivals."""

    data_dir: Path | None = None
    """Folder of labelled sounds; None is the demo data."""
    rounds: int = 5
    """Times each pair is timed."""


def librosa_loop(paths: list[Path]) -> None:
    spec = PRESETS["classifier"]
    for path in paths:
        y, _ = librosa.load(path, sr=spec.sr)
        y = librosa.util.fix_length(y, size=spec.n_samples)
        S = librosa.feature.melspectrogram(y=y, sr=spec.sr, n_fft=spec.n_fft, hop_length=spec.hop_length)
        librosa.power_to_db(S, ref=np.max)


def bench_features(paths: list[Path], rounds: int) -> None:
    compare(
        "feature extraction, one process, against the librosa loop",
        lambda: [extract(path, PRESETS["classifier"]) for path in paths],
        lambda: librosa_loop(paths),
        clips=len(paths),
        rounds=rounds,
    )


def gan_step(S: torch.Tensor, precision: str) -> Callable[[], object]:
    torch.manual_seed(0)
    accelerator = make_accelerator("cpu", precision)
    scaler = Scaler("dataset", float(S.min()), float(S.max()))
    gan = GanObjective(Generator(5), Discriminator(5), scaler, accelerator)
    return lambda: gan.step(S, torch.arange(len(S)) % 5)


def bench_gan(S: torch.Tensor, rounds: int) -> None:
    compare(
        f"cGAN step, batch {len(S)}, {'bfloat16' if bfloat16_pays() else 'float32'} against float32",
        gan_step(S, "bfloat16" if bfloat16_pays() else "float32"),
        gan_step(S, "float32"),
        clips=len(S),
        rounds=rounds,
    )


def main() -> None:
    options = tyro.cli(BenchOptions)
    dataset = load_dataset(options.data_dir or make_demo_data(DEMO_DIR))
    paths = list(dataset.manifest.path[:: max(1, len(dataset.manifest) // 48)])
    subprocess.run([sys.executable, Path(__file__).with_name("bench_keras.py"), *sys.argv[1:]], check=True)
    print(f"{len(paths)} clips of {dataset.root}, {torch.get_num_threads()} threads, {options.rounds} rounds")
    S = torch.from_numpy(np.stack([extract(path, PRESETS["cgan"]) for path in paths[:16]]))
    bench_features(paths, options.rounds)
    bench_gan(S, options.rounds)
    spec = PRESETS["cgan"]
    originals = np.stack([load_audio(path, sr=spec.sr, duration=spec.duration) for path in paths[:16]])
    bench_vocoders(S, originals, options.rounds)


if __name__ == "__main__":
    run_entry(main)
