"""The report names every run it finds, and says of figures only what the training computed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

TRAIN = "classification/train.py"


def report(folder: Path, run_script) -> str:
    run_script("shared/commands.py", "report", "--out-dir", folder)
    return (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory, run_script) -> Path:
    """A run on recordings/<label>_<speaker>_<n>, whose official test set has the training set's speakers."""
    folder, rng = tmp_path_factory.mktemp("digits"), np.random.default_rng(0)
    (folder / "data" / "recordings").mkdir(parents=True)
    for label, frequency in (("zero", 300), ("one", 900)):
        for speaker in ("ann", "bob"):
            for index in range(10):
                y = np.sin(np.arange(4000) * 2 * np.pi * frequency / 8000) + 0.1 * rng.standard_normal(4000)
                sf.write(folder / "data" / "recordings" / f"{label}_{speaker}_{index}.wav", 0.3 * y, 8000)
    data = ["--data-dir", folder / "data", "--out-dir", folder / "runs" / "digits"]
    said = run_script(TRAIN, *data, "--framework", "torch", "--recipe", "plain", "--epochs", 1).stdout
    assert "were also trained on" in said and "held-out recordings" not in said
    return folder / "runs"


@pytest.mark.slow
def test_figures_on_speakers_that_were_trained_on_say_so(digits: Path, run_script) -> None:
    metrics = json.loads((digits / "digits" / "metrics.json").read_text())
    assert metrics["reported_on"] == "test" and not metrics["held_out"]
    page = report(digits, run_script)
    assert "held-out clips of recordings that were trained on" in page and "held-out recordings" not in page


@pytest.mark.slow
def test_a_converted_run_is_named_and_left_out_of_the_tables(digits: Path, tmp_path: Path, run_script) -> None:
    shutil.copytree(digits, tmp_path / "runs")
    source = tmp_path / "runs" / "digits"
    run_script("classification/convert.py", "--model-dir", source, "--out-dir", tmp_path / "runs" / "as-keras")
    page = report(tmp_path / "runs", run_script)
    assert f"as-keras: converted from {source}" in page and "Confusion matrices" in page
    shutil.rmtree(source)
    assert "as-keras: converted from" in report(tmp_path / "runs", run_script)


@pytest.mark.slow
def test_a_foreign_metrics_file_does_not_end_the_page(digits: Path, tmp_path: Path, run_script) -> None:
    shutil.copytree(digits, tmp_path / "runs")
    (tmp_path / "runs" / "strange").mkdir()
    shutil.copy(digits / "digits" / "config.json", tmp_path / "runs" / "strange")
    (tmp_path / "runs" / "strange" / "metrics.json").write_text("{}")
    assert "strange: its metrics.json is of no known kind" in report(tmp_path / "runs", run_script)


@pytest.mark.slow
def test_a_test_set_that_has_changed_is_told(sounds: Path, tmp_path: Path, run_script) -> None:
    shutil.copytree(sounds, tmp_path / "data")
    arguments = ["--data-dir", tmp_path / "data", "--out-dir", tmp_path / "run", "--framework", "torch"]
    arguments += ["--recipe", "plain", "--epochs", 1, "--fraction", 0.5]
    run_script(TRAIN, *arguments)
    assert "already done" in run_script(TRAIN, *arguments).stdout
    clip = next((tmp_path / "data" / "test" / "test").iterdir())
    shutil.copy(clip, clip.with_name("added.wav"))
    failed = run_script(TRAIN, *arguments, code=2).stderr
    assert "the test set has changed" in failed and "--overwrite" in failed
