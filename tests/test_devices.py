"""Keras on two devices trains like Keras on one."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

TRAIN = "classification/train.py"
SMALL = ["--recipe", "plain", "--widths", 4, 8, "--dense", 8, "--device", "cpu", "--n-jobs", 1]


@pytest.mark.slow
def test_two_devices_train_like_one(run_script) -> None:
    """With active batch norm and validation; dropout is off because its masks differ."""
    found = json.loads(run_script("tests/two_devices.py").stdout)
    assert set(found) == {"one step", "four steps"} and max(found.values()) < 1e-5


@pytest.mark.slow
def test_a_killed_run_on_two_devices_resumes_to_the_same_losses(sounds: Path, tmp_path: Path, run_script) -> None:
    arguments = ["--data-dir", sounds, "--epochs", 5, "--batch-size", 6, *SMALL, "--devices", 2]
    run_script(TRAIN, *arguments, "--out-dir", tmp_path / "whole")
    command = [sys.executable, TRAIN, *map(str, arguments), "--out-dir", str(tmp_path / "killed")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    history, deadline = tmp_path / "killed" / "history.jsonl", time.monotonic() + 300
    while not history.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "metrics.json").exists()
    run_script(TRAIN, *arguments, "--out-dir", tmp_path / "killed")
    losses = []
    for folder in ("whole", "killed"):
        lines = [json.loads(line) for line in (tmp_path / folder / "history.jsonl").read_text().splitlines()]
        losses.append([[line[f"{split}/loss"] for split in ("train", "val")] for line in lines])
    assert len(losses[0]) == 5
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-3)  # threads sum in varying order
    files = [{path.name for path in (tmp_path / folder).rglob("*") if path.is_file()} for folder in ("whole", "killed")]
    assert {"metrics.json", "best_model.keras", "submission.csv"} <= files[1]
    assert not {name for name in files[0] ^ files[1] if not name.startswith("events")}
    again = run_script(TRAIN, *arguments, "--devices", 1, "--out-dir", tmp_path / "killed")  # may change
    assert "already done" in again.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--framework", "torch", "--devices", 2), "for PyTorch use accelerate launch --multi_gpu --num_processes 2"),
        (("--batch-size", 33, "--devices", 2), "--batch-size 33: must be a multiple of --devices 2"),
    ],
)
def test_options_that_do_not_fit(options: tuple, says: str, sounds: Path, refused) -> None:
    assert says in refused(TRAIN, "--data-dir", sounds, *options)


@pytest.mark.slow
def test_more_devices_than_there_are(sounds: Path, tmp_path: Path, run_script) -> None:
    arguments = ["--data-dir", sounds, "--out-dir", tmp_path / "run", *SMALL, "--batch-size", 9999, "--devices", 9999]
    failed = run_script(TRAIN, *arguments, code=2)
    assert "--devices 9999: this machine has" in failed.stderr and "CPU cores" in failed.stderr
    failed = run_script(TRAIN, *arguments, "--device", "auto", code=2, CUDA_VISIBLE_DEVICES="-1")
    assert "--devices 9999: this machine has 0 GPUs" in failed.stderr and "Traceback" not in failed.stderr
