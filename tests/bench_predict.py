"""Time the prediction of one clip by a warm model of each framework. tests/bench.py runs it in a process of its own.

The models are trained for one epoch on demo sounds, because their speed does not depend on their weights.
"""

import subprocess
import sys
import tempfile

import numpy as np
from speed import seconds

from classification.inference.classifier import Classifier
from shared.data.datasets import load_dataset
from shared.data.demo_data import make_demo_data
from shared.errors import run_entry
from shared.files import DEMO_DIR, PROJECT_ROOT

TIMES = 30


def main() -> None:
    framework = sys.argv[1]
    path = load_dataset(make_demo_data(DEMO_DIR)).manifest.path[0]
    with tempfile.TemporaryDirectory() as folder:
        train = [sys.executable, PROJECT_ROOT / "classification" / "train.py", "--framework", framework]
        quick = ["--epochs", "1", "--fraction", "0.2", "--no-refit", "--out-dir", f"{folder}/run"]
        subprocess.run([*train, *quick], check=True, capture_output=True)
        classifier = Classifier.load(f"{folder}/run")
    classifier.predict(path)  # warm up
    took = 1000 * np.array([seconds(lambda: classifier.predict(path)) for _ in range(TIMES)])
    print(f"prediction of one clip in {framework}: {np.median(took):.0f} ms (at most {took.max():.0f} ms)", flush=True)


if __name__ == "__main__":
    run_entry(main)
