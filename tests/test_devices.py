"""Keras on two devices trains like Keras on one."""

import json
from pathlib import Path

import pytest

from shared.files import read_json

TRAIN = "classification/train.py"


@pytest.mark.slow
def test_two_devices_train_like_one(run_script) -> None:
    """With active batch norm and validation; dropout is off because its masks differ."""
    found = json.loads(run_script("tests/two_devices.py").stdout)
    differences = found["differences"]
    assert set(differences) == {"one step", "four steps", "batches"} and max(differences.values()) < 1e-5
    assert found["layers"]["made here"] == [True, False]
    assert found["layers"]["difference"] < 0.005  # of the largest value; TensorFlow's batch norm rounds more
    assert differences["batches"] == 0 and found["tuner"] is False  # with tf.data's tuner epochs take twice as long


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
    arguments = [
        "--data-dir",
        sounds,
        "--out-dir",
        tmp_path / "run",
        "--device",
        "cpu",
        "--batch-size",
        9999,
        "--devices",
        9999,
    ]
    failed = run_script(TRAIN, *arguments, code=2)
    assert "--devices 9999: this machine has" in failed.stderr and "CPU cores" in failed.stderr
    failed = run_script(TRAIN, *arguments, "--device", "auto", code=2, CUDA_VISIBLE_DEVICES="-1")
    assert "--devices 9999: this machine has 0 GPUs" in failed.stderr and "Traceback" not in failed.stderr


@pytest.mark.slow
def test_keras_trains_on_another_backend(
    sounds: Path, tmp_path: Path, run_script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    tiny = ("--recipe", "plain", "--widths", 4, "--epochs", 1, "--fraction", 0.5)
    run_script(TRAIN, "--data-dir", sounds, "--out-dir", tmp_path / "run", *tiny)
    assert read_json(tmp_path / "run/metrics.json")["test/clips"] > 0
