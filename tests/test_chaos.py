"""run_all.sh, killed again and again at random moments, ends with the same results as a run that was never stopped."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.long]

KILLS = 8
MEASURED = ("time/", "memory/")  # metrics that differ from run to run
SAME_BYTES = (".wav", ".csv", ".safetensors")


def start(sounds: Path, folder: Path) -> subprocess.Popen:
    """Start the main job with its own cache, in a process group of its own that can be killed as a whole."""
    command = ["bash", str(ROOT / "run_all.sh"), "--smoke", "--data-dir", str(sounds), "--out-dir", str(folder / "run")]
    environment = os.environ | {"FREQUENCY_QUEST_CACHE": str(folder / "cache")}
    with (folder / "log").open("a") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def finish(process: subprocess.Popen, folder: Path) -> None:
    assert process.wait(timeout=1200) == 0, (folder / "log").read_text()[-5000:]


def without_measured(metrics: dict) -> dict:
    """Metrics without seconds and memory, also in the tables of several trainings."""
    kept = {key: value for key, value in metrics.items() if not key.startswith(MEASURED)}
    return {key: without_measured(value) if isinstance(value, dict) else value for key, value in kept.items()}


def results(run: Path) -> dict[str, object]:
    """File name -> its content, of everything that a resumed run must reproduce."""
    found: dict[str, object] = {}
    for path in sorted(run.rglob("*")):
        name = str(path.relative_to(run))
        if path.suffix in SAME_BYTES:
            found[name] = path.read_bytes()
        elif path.name == "metrics.json":
            found[name] = without_measured(json.loads(path.read_text()))
        elif path.name == "history.jsonl":
            found[name] = [without_measured(json.loads(line)) for line in path.read_text().splitlines()]
    return found


def test_a_run_killed_at_random_moments_ends_with_the_same_results(sounds: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    began = time.monotonic()
    finish(start(sounds, whole), whole)
    seconds = time.monotonic() - began
    moments = random.Random(0)
    for _ in range(KILLS):
        process = start(sounds, killed)
        try:
            process.wait(timeout=moments.uniform(0.02, 0.3) * seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    finish(start(sounds, killed), killed)
    expected, got = results(whole / "run"), results(killed / "run")
    assert expected.keys() == got.keys()
    assert [name for name, content in expected.items() if got[name] != content] == []
    assert len([name for name in expected if name.endswith(".wav")]) > 10
