"""Compare this project's speed with other implementations: python tests/bench.py [--data-dir DIR]

Both implementations get the same inputs and are timed alternately in one process; the median ratio is printed. Without
--data-dir the inputs are the synthetic demo sounds. Keras training is timed in its own process (tests/bench_keras.py).
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
from speed import compare_speed

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
    """Compare this project's speed with other implementations."""

    data_dir: Path | None = None
    """Folder of labelled sounds; None uses the demo sounds."""
    rounds: int = 5
    """How often each pair is timed."""


def librosa_loop(paths: list[Path]) -> None:
    spec = PRESETS["classifier"]
    for path in paths:
        y, _ = librosa.load(path, sr=spec.sr)
        y = librosa.util.fix_length(y, size=spec.n_samples)
        S = librosa.feature.melspectrogram(y=y, sr=spec.sr, n_fft=spec.n_fft, hop_length=spec.hop_length)
        librosa.power_to_db(S, ref=np.max)


def bench_features(paths: list[Path], rounds: int) -> None:
    compare_speed(
        "feature extraction in one process, compared with a loop over librosa",
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
    precision = "bfloat16" if bfloat16_pays(torch.device("cpu")) else "float32"
    compare_speed(
        f"cGAN step on batches of {len(S)} in {precision}, compared with float32",
        gan_step(S, precision),
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
