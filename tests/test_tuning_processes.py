"""tune in processes of its own: killed, in Keras, without optuna."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT
from test_tuning import SMALL, TUNE, trials, tried

from classification.recipes import RECIPES
from classification.tuning import command
from classification.tuning.options import TuneOptions
from shared.errors import UserError
from shared.runs.options import parse


@pytest.mark.slow
@pytest.mark.long
def test_a_killed_study_goes_on(sounds: Path, tmp_path: Path, run_script) -> None:
    arguments = ["--data-dir", sounds, *SMALL, "--trials", 3, "--inner-folds", 2, "--n-jobs", 1]
    arguments += ["--search", "learning-rate", "balance"]
    run_script(TUNE, *arguments, "--out-dir", tmp_path / "whole")
    command = [sys.executable, TUNE, *map(str, arguments), "--out-dir", str(tmp_path / "killed")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
    begun, deadline = tmp_path / "killed" / "trial-002" / "fold-0" / "config.json", time.monotonic() + 120
    while not begun.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(trials(tmp_path / "killed")) == 1 and not (tmp_path / "killed" / "metrics.json").exists()
    run_script(TUNE, *arguments, "--out-dir", tmp_path / "killed")
    assert tried(tmp_path / "killed") == tried(tmp_path / "whole")


@pytest.mark.slow
def test_keras_is_tuned_without_pytorch(sounds: Path, tmp_path: Path, run_script) -> None:
    small = (*SMALL, "--framework", "keras", "--trials", 1, "--inner-folds", 2, "--n-jobs", 1)
    arguments = ("--data-dir", sounds, "--out-dir", tmp_path / "study", *small)
    said = run_script("tests/without.py", "torch,torchaudio,accelerate", TUNE, *arguments)
    assert "leaked" not in said.stderr and "Traceback" not in said.stderr
    assert len(trials(tmp_path / "study")) == 1 and (tmp_path / "study" / "best.toml").is_file()


@pytest.mark.slow
def test_a_child_that_fails_or_is_killed_is_named(sounds: Path, tmp_path: Path, monkeypatch) -> None:
    given = ["tune", "--data-dir", sounds, "--out-dir", tmp_path / "study", "--inner-folds", 2, "--n-jobs", 1]
    monkeypatch.setattr("sys.argv", [str(word) for word in [*given, "--device", "mps", "--framework", "keras"]])
    with pytest.raises(UserError, match="--device mps"):  # the child's own error
        command.tune(parse(TuneOptions, RECIPES))
    monkeypatch.setattr("classification.tuning.child._serve", os.abort)
    given[4] = tmp_path / "other"
    monkeypatch.setattr("sys.argv", [str(word) for word in [*given, "--framework", "keras"]])
    with pytest.raises(UserError, match=r"trial-001: the process of its training was killed \(exit code 1\)"):
        command.tune(parse(TuneOptions, RECIPES))


@pytest.mark.slow
def test_without_optuna_one_line_says_so(sounds: Path, run_script) -> None:
    failed = run_script("tests/without.py", "optuna", TUNE, "--data-dir", sounds, code=2)
    assert failed.stderr == "error: optuna is not installed; pip install 'frequency-quest[tune]'\n"
