"""Compare this project's speed with other implementations: python tests/bench.py [--data-dir DIR]

Both implementations get the same inputs and are timed alternately in one process; the median ratio is printed. Without
--data-dir the inputs are the synthetic demo sounds. Keras training and the predictions are timed in processes of their
own (tests/bench_keras.py, tests/bench_predict.py).
"""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
import tyro
from bench_features import bench_epoch, bench_features
from bench_generation import bench_sampling, bench_steps
from bench_vocoders import bench_vocoders

from shared.audio import load_audio
from shared.data.datasets import load_dataset
from shared.data.demo_data import make_demo_data
from shared.errors import run_entry
from shared.features.spec import PRESETS
from shared.features.transforms import extract
from shared.files import DEMO_DIR


@dataclasses.dataclass(kw_only=True)
class BenchOptions:
    """Compare this project's speed with other implementations."""

    data_dir: Path | None = None
    """Folder of labelled sounds; None uses the demo sounds."""
    rounds: int = 5
    """How often each pair is timed."""


def main() -> None:
    options = tyro.cli(BenchOptions)
    dataset = load_dataset(options.data_dir or make_demo_data(DEMO_DIR))
    many = list(dataset.manifest.path[:: max(1, len(dataset.manifest) // 480)])
    paths = many[:: max(1, len(many) // 48)]
    subprocess.run([sys.executable, Path(__file__).with_name("bench_keras.py"), *sys.argv[1:]], check=True)
    for framework in ("keras", "torch"):
        subprocess.run([sys.executable, Path(__file__).with_name("bench_predict.py"), framework], check=True)
    of = f"of {dataset.root}, {torch.get_num_threads()} threads, {options.rounds} rounds"
    print(f"{len(paths)} clips, {len(many)} for caches, {of}")
    S = torch.from_numpy(np.stack([extract(path, PRESETS["cgan"]) for path in paths[:16]]))
    bench_features(many, options.rounds)
    bench_epoch(paths, options.rounds)
    bench_steps(S, paths[:32], options.rounds)
    bench_sampling()
    spec = PRESETS["cgan"]
    originals = np.stack([load_audio(path, sr=spec.sr, duration=spec.duration) for path in paths[:16]])
    bench_vocoders(S, originals, options.rounds)


if __name__ == "__main__":
    run_entry(main)
