"""Training and prediction run on synthetic sounds in their own processes; bad input ends in one line, exit code 2."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from conftest import ROOT
from read_events import hparams, read_events

TRAIN, PREDICT, CGAN = "classification/train.py", "classification/predict.py", "generation/train_cgan.py"
WGAN, VAE, SAMPLE = "generation/train_wgan_gp.py", "generation/train_vae.py", "generation/sample.py"
OTHER = {"keras": "torch,torchaudio,accelerate", "torch": "tensorflow,keras"}
ENTRIES = [TRAIN, PREDICT, CGAN, WGAN, VAE, SAMPLE, "generation/train_vocoder.py", "generation/evaluate.py"]


@pytest.fixture(scope="module")
def trained(sounds: Path, tmp_path_factory: pytest.TempPathFactory, run_script) -> dict[str, Path]:
    """A finished run of each framework, trained as if the other one were not installed."""
    folder = tmp_path_factory.mktemp("runs")
    for framework, hidden in OTHER.items():
        arguments = ["--framework", framework, "--data-dir", sounds, "--out-dir", folder / framework, "--epochs", 2]
        run_script("tests/without.py", hidden, TRAIN, *arguments, "--batch-size", 12, "--recipe", "plain")
    return {framework: folder / framework for framework in OTHER}


@pytest.mark.slow
@pytest.mark.parametrize("framework", OTHER)
def test_training_writes_a_complete_run(framework: str, trained: dict[str, Path], sounds: Path) -> None:
    run = trained[framework]
    models = {"keras": {"best_model.keras", "best_model.h5"}, "torch": {"best_model.safetensors"}}[framework]
    files = {"config.json", "history.jsonl", "metrics.json", "predictions.csv", "submission.csv", "labels.json"}
    files |= {"classification_report.txt", "plots/confusion_matrix.png", "plots/curves.png"} | models
    assert all((run / name).stat().st_size > 0 for name in files)
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["reported_on"] == "test" and not metrics["split_leaks"] and metrics["train/epochs"] == 2
    predictions = pd.read_csv(run / "predictions.csv")
    test = predictions[predictions.split == "test"]
    assert metrics["test/accuracy"] == pytest.approx((test.label == test.predicted).mean())
    assert np.allclose(predictions.filter(like="p_").sum(axis=1), 1, atol=1e-4)
    sample, submission = pd.read_csv(sounds / "sample_submission.csv"), pd.read_csv(run / "submission.csv")
    assert submission.columns.tolist() == ["ID", "Class"] and submission.ID.tolist() == sample.ID.tolist()
    assert set(submission.Class) <= set(metrics["classes"])
    config = json.loads((run / "config.json").read_text())
    assert config["options"]["framework"] == framework and config["versions"]["numpy"] and config["data"]["synthetic"]
    events = read_events(run)  # written as if the other framework were not installed
    assert {"train/loss", "test/accuracy"} <= set(events.Tags()["scalars"])
    assert events.Tags()["images"] == ["plots/confusion_matrix"]
    assert hparams(events)["framework"] == framework and hparams(events)["epochs"] == 2


@pytest.mark.slow
def test_both_frameworks_get_the_same_data(trained: dict[str, Path]) -> None:
    metrics = [json.loads((run / "metrics.json").read_text()) for run in trained.values()]
    assert metrics[0]["model/parameters"] == metrics[1]["model/parameters"] == 110_725
    tables = [pd.read_csv(run / "predictions.csv") for run in trained.values()]
    assert tables[0][["path", "label", "group", "split"]].equals(tables[1][["path", "label", "group", "split"]])


@pytest.mark.slow
@pytest.mark.parametrize("framework", OTHER)
def test_predict_repeats_the_submission(framework: str, trained, sounds, tmp_path: Path, run_script) -> None:
    run, output = trained[framework], tmp_path / "out.csv"
    arguments = ["--model-dir", run, "--input", sounds / "test" / "test", "--output", output]
    run_script(PREDICT, *arguments, "--sample-submission", sounds / "sample_submission.csv")
    assert output.read_text() == (run / "submission.csv").read_text()
    if framework == "torch":  # a single file, in the faster framework only
        clip = sorted((sounds / "test" / "test").iterdir())[0]
        run_script(PREDICT, "--model-dir", run, "--input", clip, "--output", output)
        assert pd.read_csv(output).ID.tolist() == [clip.name]


@pytest.mark.slow
def test_the_same_command_does_not_train_again(trained: dict[str, Path], sounds: Path, run_script) -> None:
    run = trained["torch"]
    before = (run / "metrics.json").stat().st_mtime_ns
    arguments = ["--framework", "torch", "--data-dir", sounds, "--out-dir", run, "--batch-size", 12]
    arguments += ["--recipe", "plain"]
    assert "already done" in run_script(TRAIN, *arguments, "--epochs", 2).stdout
    failed = run_script(TRAIN, *arguments, "--epochs", 3, code=2)
    assert "--epochs 2, not 3" in failed.stderr and "Traceback" not in failed.stderr
    assert (run / "metrics.json").stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("framework", "recipe", "devices"),
    [
        *(pytest.param("keras", "plain", devices, marks=pytest.mark.long) for devices in (1, 2)),
        ("keras", "strong", 1),
        ("torch", "strong", 1),
    ],
)
def test_a_killed_run_resumes_to_the_same_losses(
    framework, recipe, devices, sounds: Path, tmp_path: Path, run_script
) -> None:
    arguments = ["--framework", framework, "--data-dir", sounds, "--epochs", 5, "--batch-size", 6]
    arguments += ["--recipe", recipe, "--val-share", 0.2, "--no-refit", "--members", 1, "--widths", 8, 16]
    arguments += ["--device", "cpu", "--devices", devices] if devices > 1 else []
    run_script(TRAIN, *arguments, "--out-dir", tmp_path / "whole")
    command = [sys.executable, TRAIN, *map(str, arguments), "--out-dir", str(tmp_path / "killed")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    history, deadline = tmp_path / "killed" / "history.jsonl", time.monotonic() + 120
    while not history.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "metrics.json").exists()
    run_script(TRAIN, *arguments, "--out-dir", tmp_path / "killed")

    def losses(folder: str) -> np.ndarray:
        lines = [json.loads(line) for line in (tmp_path / folder / "history.jsonl").read_text().splitlines()]
        return np.array([[line[f"{split}/loss"] for split in ("train", "val")] for line in lines])

    assert len(losses("whole")) == 5
    np.testing.assert_allclose(losses("killed"), losses("whole"), rtol=2e-3)  # threads sum in varying order


@pytest.mark.slow
def test_ctrl_c_ends_in_one_line(sounds: Path, tmp_path: Path) -> None:
    command = [sys.executable, CGAN, "--data-dir", str(sounds), "--out-dir", str(tmp_path / "run"), "--width", "4"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in background shells
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "checkpoints" / "training_state.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    try:
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130 and "Run the same command again" in said and "Traceback" not in said


@pytest.mark.parametrize("script", ENTRIES)
def test_a_typo_in_a_flag_is_named(script: str, refused) -> None:
    assert "--no-such-flag" in refused(script, "--no-such-flag", lines=None)


@pytest.mark.slow
def test_dry_run_prints_the_configuration_and_writes_nothing(sounds: Path, tmp_path: Path, run_script) -> None:
    for script in (TRAIN, CGAN):
        done = run_script(script, "--data-dir", sounds, "--out-dir", tmp_path / "run", "--dry-run", "--epochs", 7)
        assert json.loads(done.stdout)["options"]["epochs"] == 7 and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_leaking_split_is_marked_everywhere(sounds: Path, tmp_path: Path, run_script) -> None:
    run = tmp_path / "runs" / "random"
    arguments = ["--framework", "torch", "--split", "random", "--epochs", 1, "--data-dir", sounds, "--out-dir", run]
    said = run_script(TRAIN, *arguments, "--recipe", "plain").stdout
    metrics = json.loads((run / "metrics.json").read_text())
    grouped = json.loads((run / "grouped" / "metrics.json").read_text())
    assert "LEAK" in said and metrics["split_leaks"] and not grouped["split_leaks"]
    assert metrics["optimism"] == pytest.approx(metrics["test/accuracy"] - grouped["test/accuracy"])
    assert f"overstates accuracy by {100 * metrics['optimism']:.1f} points" in said
    run_script("shared/commands.py", "report", "--out-dir", tmp_path / "runs")
    assert "LEAKING random split" in (tmp_path / "runs" / "report.html").read_text()


@pytest.mark.parametrize(
    ("script", "option", "value"),
    [
        (TRAIN, "--epochs", 0),
        (TRAIN, "--seed", -1),
        (TRAIN, "--dropout", 1.5),
        (TRAIN, "--fraction", 2),
        (TRAIN, "--n-jobs", 0),
        (TRAIN, "--recipe", "plian"),
        (TRAIN, "--folds", 0),
        (TRAIN, "--features", "mel"),
        (TRAIN, "--crop", -1.0),
        (TRAIN, "--max-skip", 2.0),
        (TRAIN, "--devices", 0),
        (CGAN, "--sample-every", 0),
        (CGAN, "--features", "mfcc"),
        (CGAN, "--output", "tanh"),
        (WGAN, "--features", "cgan"),
        (VAE, "--sr", 10),
    ],
)
def test_impossible_options_give_one_clear_line(script: str, option: str, value, sounds: Path, refused) -> None:
    assert refused(script, "--data-dir", sounds, option, value, "--dry-run").startswith(f"error: {option} {value}")


def copy_of(sounds: Path, target: Path, classes: int = 2) -> Path:
    """A data folder with the first classes of the synthetic sounds."""
    for folder in sorted((sounds / "train" / "train").iterdir())[:classes]:
        shutil.copytree(folder, target / folder.name)
    return target


def missing(sounds: Path, tmp: Path) -> Path:
    return tmp / "nothing" / "here"


def empty(sounds: Path, tmp: Path) -> Path:
    (tmp / "empty").mkdir()
    return tmp / "empty"


def misspelt(sounds: Path, tmp: Path) -> Path:
    return copy_of(sounds, tmp / "sounds").with_name("sonds")


def one_class(sounds: Path, tmp: Path) -> Path:
    return copy_of(sounds, tmp / "one", classes=1)


def one_clip(sounds: Path, tmp: Path) -> Path:
    folder = copy_of(sounds, tmp / "clip")
    (folder / "lonely").mkdir()
    shutil.copy(next(sounds.glob("test/test/*")), folder / "lonely")
    return folder


def text_files(sounds: Path, tmp: Path) -> Path:
    for label in "ab":
        (tmp / "text" / label).mkdir(parents=True)
        for i in range(3):
            (tmp / "text" / label / f"{i}.wav").write_text("no sound")
    return tmp / "text"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (missing, "no such folder"),
        (empty, "no labelled sounds found"),
        (misspelt, "did you mean"),
        (one_class, "one class only"),
        (one_clip, "class lonely has 1 usable clip"),
        (text_files, "none of its 6 files is usable"),
    ],
)
def test_bad_data_gives_one_clear_line(make, says: str, sounds: Path, tmp_path: Path, refused) -> None:
    folder = make(sounds, tmp_path)
    line = refused(TRAIN, "--data-dir", folder, "--out-dir", tmp_path / "run", "--n-jobs", 1)
    assert line.startswith("error: ") and says in line and str(folder.name) in line
    assert not (tmp_path / "run").exists()


def test_several_seeds_need_held_out_clips(sounds: Path, tmp_path: Path, refused) -> None:
    options = ["--seeds", 2, "--test-share", 0, "--n-jobs", 1]
    assert "--test-share 0: several trainings need" in refused(
        TRAIN, "--data-dir", sounds, "--out-dir", tmp_path / "run", *options
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_bad_files_among_good_ones_are_skipped_and_counted(sounds: Path, tmp_path: Path, run_script) -> None:
    folder = copy_of(sounds, tmp_path / "data")
    label = next(folder.iterdir())
    (label / "1-1-0-0.wav").touch()
    sf.write(label / "2-2-0-0.wav", np.full(1000, np.nan), 8000, subtype="FLOAT")
    arguments = ["--data-dir", folder, "--out-dir", tmp_path / "run", "--framework", "torch", "--epochs", 1]
    failed = run_script(TRAIN, *arguments, "--max-skip", 0.05, code=2).stderr
    assert "--max-skip 0.05: 2 of 18 files" in failed and "Traceback" not in failed
    said = run_script(TRAIN, *arguments).stdout
    assert "skipped 2 file(s)" in said and "0 bytes" in said and "NaN" in said
    rejects = pd.read_csv(tmp_path / "run" / "rejects.csv")
    assert sorted(Path(path).name for path in rejects.path) == ["1-1-0-0.wav", "2-2-0-0.wav"]
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["skipped"] == 2


@pytest.mark.slow
def test_entries_work_from_any_folder(sounds: Path, tmp_path: Path, run_script) -> None:
    run_script(ROOT / TRAIN, "--data-dir", os.path.relpath(sounds, tmp_path), "--dry-run", cwd=tmp_path)


@pytest.mark.parametrize("framework", [pytest.param("keras", marks=pytest.mark.long), "torch"])
def test_deterministic_kernels_change_nothing_on_a_cpu(
    framework: str, sounds: Path, tmp_path: Path, run_script
) -> None:
    losses = []
    for name, flags in (("without", ()), ("with", ("--deterministic",))):
        small = ("--framework", framework, "--epochs", 1, "--widths", 4, "--dense", 4, "--no-refit", "--device", "cpu")
        run_script(TRAIN, "--data-dir", sounds, "--out-dir", tmp_path / name, *small, *flags)
        history = next((tmp_path / name).rglob("history.jsonl")).read_text()
        losses.append(json.loads(history)["train/loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
