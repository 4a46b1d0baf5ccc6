"""Folds, seeds, refit and unequal data work through the entry script; PyTorch is used for speed."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from matplotlib.image import imread

from classification.recipes import RECIPES, TrainOptions
from classification.training.inputs import choose_epochs
from classification.training.plan import plan
from classification.training.scoring import Scored, write_predictions
from shared.features.spec import FeatureSpec
from shared.files import write_json
from shared.runs.options import assemble
from shared.runs.run import Run, describe

TRAIN = "classification/train.py"


def options(recipe: str = "plain", **changes) -> TrainOptions:
    return assemble(TrainOptions, {"recipe": recipe} | RECIPES[recipe] | changes)


def names(**changes) -> list[str]:
    return [part.name for part in plan(options(**changes))]


def test_the_options_determine_the_parts_of_a_run() -> None:
    assert names() == [""]
    assert names(folds=2, seeds=2) == ["seed-0-fold-0", "seed-0-fold-1", "seed-1-fold-0", "seed-1-fold-1"]
    assert names(split="random") == ["evaluated", "grouped"]
    assert names(recipe="strong") == ["evaluated", "refit"]
    assert names(recipe="strong", folds=2) == ["fold-0", "fold-1", "refit"]
    assert names(recipe="strong", test_share=0.0) == [""]  # nothing is held out, so nothing is trained twice
    refit = plan(options("strong"))[-1].options
    assert refit.test_share == refit.val_share == 0 and refit.folds == 1 and not refit.refit
    seeds = plan(options(folds=2, seeds=2, seed=5))
    assert [part.options.seed for part in seeds] == [5, 5, 6, 6] and {part.split_seed for part in seeds} == {5}


def test_a_finished_part_is_read_as_it_was_scored(tmp_path: Path) -> None:
    """Names of classes and recordings that look like numbers or missing values stay text."""
    text = {"path": ["1", "2"], "label": ["3", "NA"], "group": ["01", "1"], "split": ["test"] * 2}
    text |= {"predicted": ["3", "3"], "together": ["NA", "NA"]}
    table = pd.DataFrame(text | {"p_3": [0.75, 0.5], "p_NA": [0.25, 0.5]})
    write_predictions(Run(tmp_path, describe({}, {})), table)
    write_json(tmp_path / "metrics.json", {})
    pd.testing.assert_frame_equal(Scored.read(tmp_path).predictions, table)


@pytest.fixture(scope="module")
def folded(sounds: Path, tmp_path_factory: pytest.TempPathFactory, run_script) -> Path:
    run = tmp_path_factory.mktemp("folded") / "run"
    run_script(TRAIN, *command(sounds, run))
    return run


def command(sounds: Path, run: Path) -> list:
    common = ["--framework", "torch", "--epochs", 1, "--data-dir", sounds, "--out-dir", run]
    return [*common, "--folds", 2, "--seeds", 2, "--batch-size", 8]


@pytest.mark.slow
def test_folds_and_seeds_are_pooled(folded: Path, sounds: Path) -> None:
    metrics = json.loads((folded / "metrics.json").read_text())
    table = pd.read_csv(folded / "predictions.csv")
    assert len(table) == 80 and (table.groupby("path").seed.nunique() == 2).all()  # every clip once per seed
    assert (table.groupby("group").fold.nunique() == 1).all()
    assert metrics["test/accuracy"] == pytest.approx((table.label == table.predicted).mean())
    low, high = metrics["test/intervals"]["accuracy"]
    assert low <= metrics["test/accuracy"] <= high
    accuracy = metrics["spread"]["accuracy"]
    assert len(accuracy["values"]) == 4 and accuracy["sd"] == pytest.approx(np.std(accuracy["values"], ddof=1))
    assert set(metrics["spread"]["recall"]) == set(metrics["classes"])
    refit = json.loads((folded / "refit" / "metrics.json").read_text())
    assert refit["reported_on"] is None and "test/accuracy" not in refit
    assert (folded / "best_model.safetensors").read_bytes() == (folded / "refit/best_model.safetensors").read_bytes()
    assert len(pd.read_csv(folded / "submission.csv")) == len(pd.read_csv(sounds / "sample_submission.csv"))


@pytest.mark.slow
def test_a_killed_cross_validation_resumes(folded: Path, sounds: Path, run_script) -> None:
    done, lost = folded / "seed-0-fold-0" / "metrics.json", folded / "seed-1-fold-1"
    before = done.stat().st_mtime_ns, (folded / "predictions.csv").read_text()
    (folded / "metrics.json").unlink()
    shutil.rmtree(lost)
    said = run_script(TRAIN, *command(sounds, folded)).stdout
    assert said.count("already done") == 4
    assert "part 1 of 5: seed-0-fold-0\n" in said and "part 4 of 5: seed-1-fold-1\n" in said and " left)" in said
    assert before == (done.stat().st_mtime_ns, (folded / "predictions.csv").read_text())


@pytest.mark.slow
def test_runs_are_compared(folded: Path, tmp_path: Path, sounds: Path, run_script) -> None:
    same = run_script("shared/commands.py", "compare", "--runs", folded, folded).stdout
    assert "+0.0 points" in same and "p 1): no difference beyond chance" in same
    other = tmp_path / "other"
    run_script(TRAIN, "--framework", "torch", "--epochs", 1, "--data-dir", sounds, "--out-dir", other, "--no-refit")
    failed = run_script("shared/commands.py", "compare", "--runs", folded, other, code=2).stderr
    assert failed.startswith("error: --runs") and "evaluated different clips" in failed
    shutil.copytree(folded, tmp_path / "again")
    said = run_script("shared/commands.py", "report", "--out-dir", tmp_path).stdout
    assert "95 % interval" in said and "(2 folds, 2" in said and "no finished" not in said


@pytest.mark.slow
@pytest.mark.parametrize("balance", ["class-weights", "recordings"])
def test_classes_and_clips_of_unequal_size_are_trained_on(balance: str, tmp_path: Path, run_script) -> None:
    """Two classes with 20 and 6 clips of 0.05 s to 30 s; the only recording of one class is in one fold."""
    rng, folder = np.random.default_rng(0), tmp_path / "data"
    for label, clips, groups in (("much", 20, 5), ("little", 6, 1)):
        (folder / label).mkdir(parents=True)
        for i in range(clips):
            y = 0.1 * rng.standard_normal(int(8000 * (0.05, 0.5, 2, 30)[i % 4]))
            sf.write(folder / label / f"{label == 'much':d}{i % groups}-0-0-{i}.wav", y, 8000)
    arguments = ["--data-dir", folder, "--out-dir", tmp_path / "run", "--framework", "torch", "--epochs", 1]
    said = run_script(TRAIN, *arguments, "--folds", 2, "--balance", balance).stdout
    assert "-" in said.split("in per cent")[1]  # no recall in the fold without the class
    per_class = json.loads((tmp_path / "run" / "metrics.json").read_text())["test/per_class"]
    assert per_class["little"]["clips"] == 6 and per_class["much"]["clips"] == 20


@pytest.mark.slow
def test_clips_of_unknown_recordings_can_be_grouped_by_similarity(tmp_path: Path, run_script) -> None:
    rng = np.random.default_rng(0)
    for k in range(50):
        (tmp_path / "data" / f"class{k:02d}").mkdir(parents=True)
        for i in range(4):
            tone = np.sin(np.arange(4000) * (0.05 + 0.01 * k)) + 0.05 * rng.standard_normal(4000)
            sf.write(tmp_path / "data" / f"class{k:02d}" / f"{i}.wav", 0.2 * tone, 8000)
    shutil.copy(tmp_path / "data/class00/0.wav", tmp_path / "data/class00/copy.wav")
    arguments = ["--data-dir", tmp_path / "data", "--framework", "torch", "--epochs", 1, "--no-refit"]
    arguments += ["--members", 1, "--widths", 4, "--dense", 4]
    said = run_script(TRAIN, *arguments, "--out-dir", tmp_path / "a").stdout
    assert "file names show no recordings" in said
    assert max(imread(tmp_path / "a" / "plots" / "confusion_matrix.png").shape) < 2600  # 50 classes
    said = run_script(TRAIN, *arguments, "--out-dir", tmp_path / "b", "--group-by", "similarity", "--folds", 2).stdout
    assert "groups of clips" in said
    (title,) = (line.split() for line in said.splitlines() if "fold-0 " in line)
    assert title == ["fold-0", "fold-1", "mean", "std"]  # 50 classes do not fit into a row
    table = pd.read_csv(tmp_path / "b" / "predictions.csv")
    assert table.groupby("group").fold.nunique().max() == 1
    copies = table[table.path.str.contains("class00/(?:0|copy).wav", regex=True)]
    assert copies.group.nunique() == 1


def test_short_or_few_clips_get_more_epochs() -> None:
    strong = options("strong")
    short = {s: choose_epochs(strong, FeatureSpec(duration=s), clips=5000) for s in (0.75, 2.0, 4.0)}
    assert short == {0.75: 21, 2.0: 8, 4.0: 8}
    few = {clips: choose_epochs(strong, FeatureSpec(), clips=clips) for clips in (10, 320, 973)}
    assert few == {10: 40, 320: 25, 973: 8}
    assert choose_epochs(dataclasses.replace(strong, epochs=3), FeatureSpec(duration=0.75), clips=10) == 3
