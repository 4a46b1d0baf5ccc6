"""--recipe transfer: heads on a backbone's embeddings, their regularisation, and prediction with the backbone."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from backbones import WIDTH, save_onnx

from classification.inference.classifier import Classifier
from classification.models.architecture import Architecture, Network
from classification.models.weights import initial_weight
from classification.recipes import RECIPES, TrainOptions
from classification.training.framework import Framework
from classification.training.inner import CHOSEN, choose_weight_decay
from classification.training.inputs import Inputs, choose_spec, make_inputs
from classification.training.plan import plan
from shared.audio import load_audio
from shared.errors import UserError
from shared.features.backbone import embedding
from shared.files import read_json
from shared.runs.options import assemble
from shared.runs.run import Run
from shared.runs.start import find_data, load_clips

TRAIN, PREDICT, EXPORT = "classification/train.py", "classification/predict.py", "classification/export/export.py"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_onnx(tmp_path_factory.mktemp("backbone") / "m.onnx", shape=(1, 4000))


def options(model: Path, sounds: Path, **changes: Any) -> TrainOptions:
    given = {"recipe": "transfer", "framework": "torch", "data_dir": sounds, "n_jobs": 1}
    chosen = assemble(
        TrainOptions, RECIPES["transfer"] | given | {"backbone_path": model, "backbone_sr": 8000} | changes
    )
    chosen.check()
    return chosen


@pytest.fixture(scope="module")
def inputs(model: Path, sounds: Path) -> Inputs:
    chosen = options(model, sounds, epochs=1)
    dataset = find_data(chosen)
    clips = load_clips(chosen, dataset, choose_spec(chosen, dataset))
    return make_inputs(clips, plan(chosen)[0])


class Spy:
    """A framework whose heads are right about clips they were not trained on if the weight decay is ``best``."""

    def __init__(self, best: float) -> None:
        self.best, self.trained = best, []

    def fit(self, inputs: Inputs, run: Run) -> dict[str, float]:
        self.trained.append(inputs)
        return {}

    def load(self, run_dir: Path, network: Network, *, device: str) -> Any:
        inputs = self.trained[-1]
        right = np.eye(len(inputs.classes), dtype=np.float32)[inputs.splits["test"].labels]
        shift = inputs.options.optimiser.weight_decay != self.best
        rows = iter(np.array_split(np.roll(right, shift, axis=1), len(inputs.splits["test"])))
        assert len(inputs.splits["test"]) == 1  # the clips of one batch
        return lambda x: next(rows)


def test_the_weight_decay_is_chosen_on_recordings_that_are_trained_on(inputs: Inputs, tmp_path: Path) -> None:
    own = set(inputs.manifest[inputs.manifest.split == "train"].group)
    for best in (1.0, 100.0):
        spy, run = Spy(best), Run(tmp_path / str(best), {"options": {}, "data": {}})
        chosen = choose_weight_decay(Framework(spy.fit, spy.load, 0.0), inputs, run)
        assert chosen.options.optimiser.weight_decay == best and len(spy.trained) == 9
        for fold in spy.trained:
            sides = [set(rows.group) for _, rows in fold.manifest.groupby("split")]
            assert len(sides) == 2 and sides[0].isdisjoint(sides[1]) and sides[0] | sides[1] == own
        assert read_json(run.dir / CHOSEN)["weight_decay"] == best
    again = choose_weight_decay(Framework(None, None, 0.0), inputs, run)  # resumed: it is read
    assert again.options.optimiser.weight_decay == 100.0


def test_a_single_recording_leaves_no_choice(inputs: Inputs, tmp_path: Path) -> None:
    few = dataclasses.replace(inputs, manifest=inputs.manifest.assign(group=inputs.manifest.label))
    chosen = choose_weight_decay(Framework(None, None, 0.0), few, Run(tmp_path, {"options": {}, "data": {}}))
    assert chosen.options.optimiser.weight_decay == 10.0


def test_a_linear_head_starts_at_zero() -> None:
    rng = np.random.default_rng(0)
    for dense, zero in (((), True), ((8,), False)):
        network = Network(Architecture(widths=(), pooling="flatten", dense=dense), (2 * WIDTH, 1), 5)
        assert network.embedding == (dense or (2 * WIDTH,))[0]
        assert (initial_weight("members.0.head.0.weight", (5, 8), network, rng) == 0).all() == zero


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"backbone_path": None}, "--backbone-path: is missing"),
        ({"backbone_sr": None}, "--backbone-sr: is missing"),
        ({"backbone_sr": 16}, "--backbone-sr 16: must be 1000 or more"),
        ({"widths": (8,)}, "--widths (8,): must be left out"),
        ({"crop": 2.0}, "--crop 2.0: must be left out"),
        ({"time_shift": True}, "--time-shift True: must be left out"),
        ({"mixstyle": 0.3}, "--mixstyle 0.3: must be left out"),
        ({"together": True}, "--together True: must be left out"),
        ({"group_by": "similarity"}, "--group-by similarity: must be name"),
        ({"pooling": "mean"}, "--pooling mean: must be flatten"),
        ({"export": ("onnx",)}, "since no export contains the backbone"),
        ({"weight_decays": (-1.0,)}, "--weight-decays (-1.0,): must be numbers of 0 or more"),
        ({"schedule": "plateau", "val_share": 0.2}, "--weight-decays: inner folds have no validation clips"),
        ({"features": "strong", "widths": (8,)}, "is for --recipe transfer"),
    ],
)
def test_options_that_do_not_fit(model: Path, sounds: Path, changes: dict, says: str) -> None:
    with pytest.raises(UserError) as refused:
        options(model, sounds, **changes)
    assert says in str(refused.value)


def test_a_network_on_spectrograms_needs_blocks(sounds: Path, refused) -> None:
    assert "--widths (): must be one or more" in refused(TRAIN, "--data-dir", sounds, "--widths")


@pytest.fixture(scope="module")
def trained(model: Path, sounds: Path, tmp_path_factory: pytest.TempPathFactory, run_script) -> Path:
    """A PyTorch run with a copy of the backbone beside it."""
    folder = tmp_path_factory.mktemp("runs")
    own = shutil.copy(model, folder / "m.onnx")
    arguments = ("--recipe", "transfer", "--backbone-path", own, "--backbone-sr", 8000, "--epochs", 2)
    arguments += ("--weight-decays", 1, 10)
    run_script(TRAIN, "--framework", "torch", "--data-dir", sounds, "--out-dir", folder / "run", *arguments)
    return folder / "run"


@pytest.mark.slow
def test_a_run_predicts_long_recordings(trained: Path, sounds: Path, tmp_path: Path, run_script) -> None:
    metrics, config = (read_json(trained / name) for name in ("metrics.json", "config.json"))
    assert metrics["reported_on"] == "test" and metrics["model/parameters"] == 5 * (2 * WIDTH + 1)
    assert config["features"]["backbone"]["content"] == config["data"]["backbone"]
    assert {"refit", "test/accuracy"} <= metrics.keys() and (trained / "evaluated" / CHOSEN).is_file()
    classifier = Classifier.load(trained, device="cpu")
    clip = next(sounds.glob("train/train/siren/*"))
    y, sr = load_audio(clip, sr=22050), 22050
    long = tmp_path / "long.wav"
    sf.write(long, np.tile(y, 4), sr)
    run_script(PREDICT, "--model-dir", trained, "--input", long, "--output", tmp_path / "p.csv", "--probabilities")
    windows = pd.read_csv(tmp_path / "long_timeline.csv")
    expected = classifier.predict(np.tile(y, 4), sr).probabilities
    assert len(windows) > 3 and (tmp_path / "long_timeline.png").is_file()
    np.testing.assert_allclose(windows.filter(like="p_").mean(), expected, atol=1e-3)
    x = embedding(classifier._samples(clip, None)[: classifier.spec.n_samples], classifier.spec)
    assert classifier.embed([x])[0].shape == (1, 2 * WIDTH)


@pytest.mark.slow
def test_a_backbone_that_is_gone_or_changed(trained: Path, sounds: Path, tmp_path: Path, refused, run_script) -> None:
    backbone = trained.parent / "m.onnx"
    moved = shutil.move(backbone, tmp_path / "moved.onnx")
    predict = ("--model-dir", trained, "--input", sounds / "test" / "test", "--output", tmp_path / "p.csv")
    try:
        assert f"--backbone-path {backbone}: no such file" in refused(PREDICT, *predict)
        run_script(PREDICT, *predict, "--backbone-path", moved)
        assert len(pd.read_csv(tmp_path / "p.csv")) == 10
        save_onnx(backbone, shape=(1, 4000), gain=2.0)
        assert "is not the model that the run was trained with" in refused(PREDICT, *predict)
        train = ("--recipe", "transfer", "--framework", "torch", "--data-dir", sounds, "--out-dir", trained)
        train += ("--backbone-path", backbone, "--backbone-sr", 8000, "--epochs", 2, "--weight-decays", 1, 10)
        other = refused(TRAIN, *train)
        assert "its run has another model as --backbone-path" in other
    finally:
        shutil.copy(moved, backbone)
    assert "which no export contains" in refused(EXPORT, "--model-dir", trained, "--formats", "onnx")


@pytest.mark.slow
def test_a_run_without_a_backbone_takes_none(tiny_classifier: Path, model: Path, sounds: Path, refused) -> None:
    line = refused(PREDICT, "--model-dir", tiny_classifier, "--input", sounds / "test/test", "--backbone-path", model)
    assert "was trained without a backbone; leave it out" in line


@pytest.mark.slow
def test_both_frameworks_train_the_same_head(model: Path, sounds: Path, tmp_path: Path, run_script) -> None:
    losses = []
    for framework in ("torch", "keras"):
        arguments = ("--recipe", "transfer", "--backbone-path", model, "--backbone-sr", 8000, "--epochs", 4)
        arguments += ("--framework", framework, "--no-refit", "--weight-decays", 10, "--device", "cpu")
        run_script(TRAIN, "--data-dir", sounds, "--out-dir", tmp_path / framework, *arguments)
        history = (tmp_path / framework / "history.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["train/loss"] for line in history])
    np.testing.assert_allclose(*losses, rtol=1e-3)
