"""A training draws one bar on a terminal and prints few lines in a log, the same in both frameworks."""

import os
import pty
import re
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest
from conftest import ROOT

from shared.runs.progress import Progress


def train(epochs: int, *, first: int = 0, stop_after: int | None = None) -> None:
    with Progress(epochs, 4, first=first) as progress:
        for epoch in range(first, epochs):
            if epoch == stop_after:
                progress.stop(epoch, "val/loss has not improved for 10 epochs")
                break
            for _ in range(4):
                progress.batch()
            metrics = {"train/loss": 1 / (epoch + 1), "val/accuracy": 0.5, "optim/learning_rate": 1e-3}
            progress.epoch(epoch, metrics)


def on_terminal(command: list[str]) -> str:
    """What a command writes to a terminal of 120 columns."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, 120))
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    parts: list[bytes] = []

    def read() -> None:
        try:
            while part := os.read(ours, 4096):
                parts.append(part)
        except OSError:  # Linux ends a closed terminal with an error
            pass

    reader = threading.Thread(target=read)
    reader.start()
    assert process.wait(timeout=300) == 0
    reader.join()
    os.close(ours)
    return b"".join(parts).decode()


def lines_left(screen: str) -> list[str]:
    """The lines that stay on a terminal: a carriage return goes back to the start of its line."""
    lines = [line.rstrip("\r").split("\r")[-1].strip() for line in screen.split("\n")]
    return [line for line in lines if line]


def test_a_log_has_the_first_the_last_and_every_tenth_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    train(25)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"epoch {n}/25" for n in (1, 10, 20, 25)]
    assert re.fullmatch(r"epoch 10/25: train/loss 0\.100, val/accuracy 0\.500, \d+ s left", lines[1])
    assert lines[-1] == "epoch 25/25: train/loss 0.040, val/accuracy 0.500"


def test_a_resumed_training_shows_its_own_first_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    train(12, first=6)
    assert re.findall(r"epoch (\d+)/12", capsys.readouterr().err) == ["7", "10", "12"]


def test_an_early_stop_gives_the_epoch_and_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    train(25, stop_after=14)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "stopped after epoch 14/25: val/loss has not improved for 10 epochs"


@pytest.mark.parametrize("stop_after", [None, 7])
def test_a_terminal_gets_one_bar(stop_after: int | None) -> None:
    code = f"import sys; sys.path.append('tests'); from test_progress import train; train(30, stop_after={stop_after})"
    screen = on_terminal([sys.executable, "-c", code])
    bar, *rest = lines_left(screen)
    done, share = (30, 100) if stop_after is None else (7, 23)
    assert re.match(rf"epoch {done}/30 +{share}%\|.*\| .* left, train/loss 0\.\d+, val/accuracy 0\.500$", bar)
    assert len(rest) == (stop_after is not None) and "\x1b" not in screen


@pytest.mark.slow
@pytest.mark.parametrize("framework", [pytest.param("keras", marks=pytest.mark.long), "torch"])
def test_both_frameworks_show_the_same(framework: str, sounds: Path, tmp_path: Path, run_script) -> None:
    arguments = ["classification/train.py", "--framework", framework, "--data-dir", sounds, "--recipe", "plain"]
    arguments += ["--fraction", 0.5, "--epochs", 30, "--stop-patience", 2]
    said = run_script(*arguments, "--out-dir", tmp_path / "log").stderr
    lines = [line for line in said.splitlines() if line.startswith(("epoch", "stopped"))]
    assert 2 <= len(lines) <= 4
    assert re.fullmatch(r"epoch 1/30: train/loss \d\.\d+, val/accuracy \d\.\d+, \d+ (s|min) left", lines[0])
    assert re.fullmatch(r"stopped after epoch \d+/30: val/loss has not improved for 2 epochs", lines[-1])
    command = [sys.executable, *map(str, arguments), "--out-dir", str(tmp_path / "terminal")]
    bars = [line for line in lines_left(on_terminal(command)) if "%|" in line]
    assert [line.startswith("epoch") for line in bars] == [True]
