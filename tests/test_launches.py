"""Whole launches of two processes: one complete run, an exact resume after a kill, one report of an error."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import ROOT

TRAININGS = {  # script, options, the file of the model
    "classifier": ("classification/train.py", "--framework torch --widths 4 8 --dense 8", "best_model.safetensors"),
    "flow": (
        "generation/train_flow.py",
        "--segment-seconds 0.9 --width 32 --depth 1 --heads 2 --steps 2 --holdout-share 0.25 --sample-every 99",
        "generator.safetensors",
    ),
    "cgan": ("generation/train_cgan.py", "--bands 32 --frames 32 --sample-every 99", "generator.safetensors"),
}
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
LAUNCH += ["--main_process_port", "0"]


def launch(name: str, sounds: Path, folder: Path) -> subprocess.Popen:
    """Start a training in two processes, in the run folder ``folder``/run."""
    script, options, _ = TRAININGS[name]
    command = [*LAUNCH, "tests/launched.py", str(folder), script, "--recipe", "plain"]
    command += [*options.split(), "--data-dir", str(sounds), "--out-dir", str(folder / "run"), "--n-jobs", "1"]
    command += ["--epochs", "4", "--batch-size", "7", "--device", "cpu"]
    with (folder / "log").open("a") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)


@pytest.mark.slow
def test_an_error_is_reported_once(tmp_path: Path) -> None:
    command = [*LAUNCH, "generation/train_wgan_gp.py", "--out-dir", str(tmp_path / "run")]
    failed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert failed.stderr.count("error: train_wgan_gp trains in one process") == 1
    assert "process 1:" not in failed.stderr and failed.returncode and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_finished_launch_cannot_be_aborted_at_its_exit(tmp_path: Path) -> None:
    """As by a thread of torch.distributed that still runs when the C++ library is taken down."""
    script = tmp_path / "script.py"
    lines = ["import ctypes", "from shared.runs import ranks", "ranks.start()", "libc = ctypes.CDLL(None)"]
    lines += ["libc.__cxa_atexit(libc.abort, None, None)", "print('ended', ranks.agreed(1), flush=True)"]
    for ending, code in (("ranks.end()", 0), ("pass", 1)):
        script.write_text("\n".join([*lines, ending]))
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run([*LAUNCH, str(script)], env=environment, capture_output=True, text=True, timeout=600)
        assert done.stdout.count("ended 1") == 1 and bool(done.returncode) == code, done.stderr


def results(name: str, folder: Path) -> tuple[bytes, list[dict[str, float]]]:
    """The model and the history of a finished run, after its processes were compared."""
    hashes = [(folder / f"{rank}.txt").read_text() for rank in (0, 1)]
    assert hashes[0] == hashes[1]
    assert {path.name for path in folder.iterdir()} == {"0.txt", "1.txt", "log", "run"}
    lines = [json.loads(line) for line in (folder / "run" / "history.jsonl").read_text().splitlines()]
    history = [{key: value for key, value in line.items() if not key.startswith("time/")} for line in lines]
    return (folder / "run" / TRAININGS[name][2]).read_bytes(), history


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.long] * (n != "classifier")) for n in TRAININGS])
def test_a_launch_ends_with_a_complete_run_and_a_killed_one_resumes(name: str, sounds: Path, tmp_path: Path) -> None:
    for folder in (tmp_path / "whole", tmp_path / "killed"):
        folder.mkdir()
    assert launch(name, sounds, tmp_path / "whole").wait(timeout=600) == 0, (tmp_path / "whole" / "log").read_text()
    model, history = results(name, tmp_path / "whole")
    run = tmp_path / "whole" / "run"
    assert len(history) == 4 and (run / "plots" / "curves.png").exists() and (run / "MODEL_CARD.md").exists()
    metrics, config = (json.loads((run / f"{file}.json").read_text()) for file in ("metrics", "config"))
    assert metrics["train/epochs"] == 4 and config["command"].startswith("accelerate launch --multi_gpu")
    assert (tmp_path / "whole" / "log").read_text().count("epoch 4/4") == 1

    killed = launch(name, sounds, tmp_path / "killed")
    checkpoint, deadline = tmp_path / "killed" / "run" / "checkpoints" / "training_state.pt", time.monotonic() + 300
    while not checkpoint.exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in [killed, *psutil.Process(killed.pid).children(recursive=True)]:
        process.kill()
    killed.wait()
    assert not (tmp_path / "killed" / "run" / "metrics.json").exists()
    assert launch(name, sounds, tmp_path / "killed").wait(timeout=600) == 0, (tmp_path / "killed" / "log").read_text()
    assert (tmp_path / "killed" / "log").read_text().count("resuming") == 1
    assert results(name, tmp_path / "killed") == (model, history)
