"""tune: what it sees, what it tries, how it goes on, what it leaves. Most tests fake the framework."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from classification.recipes import RECIPES, TrainOptions
from classification.training.command import Framework
from classification.training.inputs import choose_spec, make_inputs
from classification.training.plan import plan
from classification.tuning import command, results, trial
from classification.tuning.options import TuneOptions
from classification.tuning.study import DATABASE
from shared.errors import DivergedError, UserError
from shared.files import read_json
from shared.report.run_view import find_runs
from shared.runs.options import flat, parse, types
from shared.runs.start import find_data, load_clips
from shared.search import declared

TUNE = "classification/tune.py"
SMALL = ("--framework", "torch", "--epochs", 1, "--widths", 4, "--dense", 4, "--members", 1)


class Faked:
    """A framework whose nets predict one class, chosen by the learning rate; ``before`` runs before each training."""

    def __init__(self) -> None:
        self.trained: list[tuple[Path, pd.DataFrame]] = []
        self.before: Callable[[int], None] = lambda count: None

    def fit(self, inputs, run) -> dict:
        self.before(len(self.trained))
        self.trained.append((run.dir, inputs.manifest))
        run.log(0, {"train/loss": 1.0})
        return {}

    def load(self, run_dir: Path, network, device: str):
        chosen = int(1e6 * read_json(run_dir / "config.json")["options"]["learning_rate"]) % network.n_classes
        return lambda x: np.eye(network.n_classes)[np.full(len(x), chosen)]


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> Faked:
    framework = Faked()
    monkeypatch.setattr(command, "load_framework", lambda name: Framework(framework.fit, framework.load, 0.0))
    return framework


@pytest.fixture
def tune(faked: Faked, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Tune in this process; returns the study's folder."""

    def run(*arguments: object, out_dir: str = "study", plots: bool = False) -> Path:
        given = ["tune", "--framework", "torch", "--data-dir", sounds, "--out-dir", tmp_path / out_dir, "--n-jobs", 1]
        given += ["--inner-folds", 2, *arguments]
        if not plots:
            monkeypatch.setattr(results, "plot", lambda *arguments: {})
        monkeypatch.setattr("sys.argv", [*map(str, given)])
        command.tune(parse(TuneOptions, RECIPES))
        return tmp_path / out_dir

    return run


def trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    study = optuna.load_study(study_name="tune", storage=f"sqlite:///{folder / DATABASE}")
    return [each for each in study.trials if each.state.name in ("COMPLETE", "PRUNED")]


def tried(folder: Path) -> list[tuple]:
    return [(trial.params, trial.value, trial.state, trial.user_attrs["folds"]) for trial in trials(folder)]


@pytest.mark.parametrize("given", [(), ("--recipe", "plain", "--seed", 3, "--test-share", 0.3)])
def test_trials_see_no_clip_that_train_holds_out(given: tuple, tune, faked, sounds, monkeypatch) -> None:
    study = tune("--trials", 2, *given)
    monkeypatch.setattr("sys.argv", ["train", "--data-dir", str(sounds), *map(str, given)])
    options = parse(TrainOptions, RECIPES)
    dataset = find_data(options)
    clips = load_clips(options, dataset, choose_spec(options, dataset))
    manifest = make_inputs(clips, plan(options)[0]).manifest
    held_out, rest = set(manifest[manifest.split == "test"].path), set(manifest[manifest.split != "test"].path)
    assert len(faked.trained) == 4 and held_out
    for _, table in faked.trained:
        assert set(table.path) == rest and held_out.isdisjoint(table.path)
        recordings = table.groupby("split").group.agg(set)
        assert recordings["train"].isdisjoint(recordings["test"])  # each inner fold is scored on other recordings
    folds = pd.read_csv(study / command.FOLDS)
    assert set(folds.path) == rest and folds.groupby("group").fold.nunique().max() == 1
    for fold in (0, 1):
        scored = next(t for d, t in faked.trained if d.name == f"fold-{fold}")
        assert set(folds[folds.fold == fold].path) == set(scored[scored.split == "test"].path)


def test_a_real_training_holds_out_what_the_trials_did_not_see(tune, tiny_classifier: Path) -> None:
    predictions = pd.read_csv(tiny_classifier / "predictions.csv")
    held_out = set(predictions[predictions.split == "test"].path)
    folds = pd.read_csv(tune("--trials", 1) / command.FOLDS)
    assert held_out.isdisjoint(folds.path) and len(held_out) + len(folds) == 40


def test_the_first_trial_is_the_start_and_the_best_becomes_a_recipe(tune, faked, monkeypatch) -> None:
    study = tune("--trials", 4, "--dropout", 0.25, "--batch-size", 12)
    done = trials(study)
    start = RECIPES["strong"] | {"dropout": 0.25}
    assert all(done[0].params[name] == start[name] for name in ("dropout", "learning_rate", "mixup"))
    best = max(done, key=lambda trial: (trial.value or 0, -trial.number))
    monkeypatch.setattr("sys.argv", ["train", "--recipe", str(study / "best.toml")])
    options = parse(TrainOptions, RECIPES)
    config = read_json(study / f"trial-{done.index(best) + 1:03d}" / "fold-0" / "config.json")["options"]
    searched = declared(types(TrainOptions))
    assert json.loads(json.dumps({k: v for k, v in flat(options).items() if k in searched})) == {
        name: config[name] for name in searched
    }
    assert options.batch_size == 12 and options.refit and options.together and options.fraction == 1.0


def test_the_study_leaves_a_page_and_figures(tune, capsys, monkeypatch) -> None:
    scores = iter(np.linspace(0.5, 0.6, 10).tolist())
    monkeypatch.setattr(trial, "fold_accuracy", lambda *arguments: next(scores))
    study = tune("--trials", 5, "--search", "learning-rate", "centre", plots=True)
    page = (study / "tuning.html").read_text()
    assert page.count('<img src="data:image/png') == 3 and not re.search(r"""(src|href)=["']?https?:""", page)
    assert "Importance of each option" in page and "learning-rate" in page and "<td>5</td>" in page
    metrics = read_json(study / "metrics.json")
    assert (
        metrics["trials"] == 5
        and metrics["best"] == max(each.value for each in trials(study))
        and metrics["best_trial"] == 5
    )
    said = capsys.readouterr().out
    assert f"--recipe {study / 'best.toml'} --out-dir {study}-best" in said and "10 held-out clips stay unseen" in said
    assert not list(study.glob("trial-*/*/checkpoints"))
    assert [view.kind for view in find_runs(study.parent)] == [f"a study of tune; its page is {study / 'tuning.html'}"]


def test_an_interrupted_study_ends_like_an_uninterrupted_one(tune, faked, capsys) -> None:
    given = ("--trials", 8, "--search", "learning-rate", "balance")
    whole = tune(*given, out_dir="whole")

    def interrupt(count: int) -> None:
        if count == 5:
            faked.before = lambda count: None
            raise KeyboardInterrupt

    faked.trained.clear()
    faked.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        tune(*given)
    assert "interrupted; to continue: " in capsys.readouterr().out
    study = faked.trained[0][0].parents[1]
    assert len(trials(study)) == 2 and (study / "best.toml").is_file() and (study / "tuning.html").is_file()
    tune(*given)
    assert tried(study) == tried(whole) and len(trials(study)) == 8
    folders = [folder for folder, _ in faked.trained]
    assert len(folders) == len(set(folders)), "a fold was trained twice"
    recipes = [(folder / "best.toml").read_text().split("\n", 1)[1] for folder in (whole, study)]
    assert recipes[0] == recipes[1]


def test_other_options_are_refused_and_more_trials_continue(tune, faked) -> None:
    study = tune("--trials", 1)
    with pytest.raises(UserError, match=r"its run has --mixup 0\.3, not 0\.5"):
        tune("--trials", 1, "--mixup", 0.5)
    with pytest.raises(UserError, match="its run has --inner-folds 2, not 3"):
        tune("--trials", 1, "--inner-folds", 3)
    with pytest.raises(UserError, match="its run has --search"):
        tune("--trials", 1, "--search", "mixup")
    tune("--trials", 2)
    assert len(trials(study)) == 2 and len(faked.trained) == 4


def test_seeds_give_the_same_and_other_trials(tune) -> None:
    params = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        params[name] = [trial.params for trial in trials(tune("--trials", 2, "--seed", seed, out_dir=name))]
    assert params["a"] == params["b"] and params["a"][0] == params["c"][0] and params["a"][1] != params["c"][1]


def test_only_the_named_options_are_searched(tune) -> None:
    study = tune("--trials", 3, "--search", "learning-rate", "mixup")
    assert {name for trial in trials(study) for name in trial.params} == {"learning_rate", "mixup"}
    options = [read_json(path)["options"] for path in study.glob("trial-*/fold-0/config.json")]
    assert {o["dropout"] for o in options} == {0.5} and len({o["mixup"] for o in options}) == 3


def test_no_trial_begins_when_the_minutes_are_used_up(tune, faked, capsys) -> None:
    faked.before = lambda count: time.sleep(0.1)
    study = tune("--trials", 9, "--minutes", 0.001)
    assert len(trials(study)) == 1 and "are used up after 1 of 9 trials" in capsys.readouterr().out
    tune("--trials", 9, "--minutes", 0.001)
    assert len(trials(study)) == 1
    tune("--trials", 2, "--minutes", 10, out_dir="long")


def test_a_diverged_trial_is_pruned_and_the_study_goes_on(tune, faked) -> None:
    def diverge(count: int) -> None:
        if len(faked.trained) == 2:
            faked.trained.append((Path(), pd.DataFrame()))
            raise DivergedError("the loss is not finite")

    faked.before = diverge
    states = [trial.state.name for trial in trials(tune("--trials", 3))]
    assert states == ["COMPLETE", "PRUNED", "COMPLETE"]


def test_a_trial_worse_than_the_median_is_pruned_after_a_fold(tune, faked, monkeypatch) -> None:
    scores = iter([0.5, 0.5, 0.6, 0.6, 0.4, 0.7, 0.45, 0.7, 0.7])  # the median of the first folds is 0.5
    monkeypatch.setattr(trial, "fold_accuracy", lambda *arguments: next(scores))
    study = tune("--trials", 5)
    assert [t.user_attrs["folds"] for t in trials(study)[2:]] == [[0.4, 0.7], [0.45], [0.7, 0.7]]
    assert [t.state.name for t in trials(study)[2:]] == ["COMPLETE", "PRUNED", "COMPLETE"]
    rows = re.findall(r"<tr><td>(\d)</td><td>([^<]+)</td>", (study / "tuning.html").read_text())
    assert [number for number, _ in rows] == ["5", "2", "3", "1", "4"] and rows[-1][1] == "pruned"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--trials", 0), "--trials 0: must be 1 or more"),
        (("--inner-folds", 1), "--inner-folds 1: must be 2 or more"),
        (("--minutes", 0), "--minutes 0.0: must be above 0"),
        (("--split", "random"), "--split random: LEAKS"),
        (("--search", "kernel"), "--search kernel: declares no values to try; choose from widths, pooling"),
        (
            ("--search", "widths", "--widths", 4),
            "--search widths: starts from 4, not among the values to try (16 32 64,",
        ),
        (("--search", "learning-rate", "--learning-rate", 1), "--search learning_rate: starts from 1.0, not among"),
        (("--recipe", "none.toml"), "--recipe none.toml: no such file"),
    ],
)
def test_impossible_options_are_refused_in_one_line(given: tuple, says: str, refused, sounds: Path, tmp_path) -> None:
    line = refused(TUNE, "--data-dir", sounds, "--out-dir", tmp_path / "study", *given)
    assert line.startswith(f"error: {says}")
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("content", [b"", b"no database" * 1000])
def test_a_damaged_database_is_named(content: bytes, tune, tmp_path: Path) -> None:
    study = tune("--trials", 1)
    (study / DATABASE).write_bytes(content)
    if content:
        with pytest.raises(UserError, match=rf"{study / DATABASE}: cannot be used .*--overwrite"):
            tune("--trials", 1)
    else:  # an empty database is a new one; finished folds are not trained again
        assert len(trials(tune("--trials", 1))) == 1


def test_a_study_of_other_values_is_refused(tune) -> None:
    study = tune("--trials", 1)
    loaded = optuna.load_study(study_name="tune", storage=f"sqlite:///{study / DATABASE}")
    loaded.set_user_attr("space", "{}")
    with pytest.raises(UserError, match="its study searches other values than this version"):
        tune("--trials", 1)
