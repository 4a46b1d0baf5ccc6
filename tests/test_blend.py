"""--recipe blend: two representations in one array, two models, and weights that inner folds give."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from backbones import WIDTH, save_onnx

from classification.inference.blend import pool
from classification.inference.classifier import Classifier
from classification.recipes import RECIPES, TrainOptions
from classification.rundir import BLEND, BLENDED, TORCH_MODEL
from classification.training.blend import best_weights, choose_weights, head_options, spectrogram_options
from classification.training.framework import Framework
from classification.training.inner import log_loss
from classification.training.inputs import Inputs, choose_spec, inputs_of, make_inputs
from classification.training.plan import plan
from shared.errors import UserError
from shared.features.backbone import spec_of
from shared.features.cache import FeatureCache
from shared.features.joined import join, joined_spec, split
from shared.features.spec import PRESETS, FeatureSpec
from shared.features.transforms import extract
from shared.files import read_json
from shared.runs.options import assemble
from shared.runs.run import Run
from shared.runs.start import find_data, load_clips

TRAIN, PREDICT, CONVERT = "classification/train.py", "classification/predict.py", "classification/convert.py"
EXPORT = "classification/export/export.py"
SHORT = dataclasses.replace(PRESETS["strong"], duration=0.5)
SMALL = ("--epochs", 2, "--widths", 4, 8, "--members", 2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_onnx(tmp_path_factory.mktemp("backbone") / "m.onnx", shape=(1, 4000))


def options(model: Path, sounds: Path, **changes: Any) -> TrainOptions:
    given = {"recipe": "blend", "framework": "torch", "data_dir": sounds, "n_jobs": 1}
    given |= {"backbone_path": model, "backbone_sr": 8000}
    chosen = assemble(TrainOptions, RECIPES["blend"] | given | changes)
    chosen.check()
    return chosen


@pytest.fixture(scope="module")
def inputs(model: Path, sounds: Path) -> Inputs:
    chosen = options(model, sounds, epochs=1)
    dataset = find_data(chosen)
    clips = load_clips(chosen, dataset, choose_spec(chosen, dataset))
    return make_inputs(clips, plan(chosen)[0])


def test_arrays_are_joined_and_split(model: Path) -> None:
    spec = joined_spec(SHORT, spec_of(model, 8000, duration=0.5))
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(3, *part.shape)).astype(np.float32) for part in spec.parts]
    x = np.stack([join(clip) for clip in zip(*arrays, strict=True)])
    assert x.shape[1:] == spec.shape == (64, SHORT.shape[1] + 1)
    for part, again in zip(arrays, split(x, spec), strict=True):
        np.testing.assert_array_equal(part, again)


@pytest.mark.parametrize(("sr", "same"), [(22050, (0, 1)), (8000, (0,)), (32000, (1,))])
def test_each_part_has_its_own_rate(model: Path, sounds: Path, sr: int, same: tuple) -> None:
    spec = joined_spec(SHORT, spec_of(model, sr, duration=0.5))
    assert spec.sr == max(sr, 22050)
    clip = next(sounds.glob("train/train/siren/*"))
    parts = split(extract(clip, spec)[None], spec)
    alone = [extract(clip, part)[None] for part in spec.parts]
    for i, (x, expected) in enumerate(zip(parts, alone, strict=True)):
        if i in same:  # no second resampling
            np.testing.assert_array_equal(x, expected)
        else:
            assert np.corrcoef(x.ravel(), expected.ravel())[0, 1] > 0.99


def test_joined_features_are_cached_and_read_by_parts(model: Path, sounds: Path, tmp_path: Path) -> None:
    spec = joined_spec(SHORT, spec_of(model, 22050, duration=0.5))
    assert FeatureSpec(**dataclasses.asdict(spec)) == spec  # as in config.json
    moved = spec.with_backbone_at(tmp_path / "m.onnx")
    assert moved == spec and moved.used_backbone.path == str(tmp_path / "m.onnx")
    files = sorted(sounds.glob("train/train/*/*"))[:5]
    joined = FeatureCache(spec, tmp_path).build(files, n_jobs=1).features
    for i, part in enumerate(spec.parts):
        own = FeatureCache(part, tmp_path).build(files, n_jobs=1).features
        np.testing.assert_array_equal(joined.part(i).take([4, 1])[[0, 1]], own[[4, 1]])
    assert own.part(0) is own


def test_the_pool_favours_the_model_that_inner_folds_favour() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    wrong = rng.random(300) < 0.1
    right = np.eye(3)[np.where(wrong, (y + 1) % 3, y)] * 0.4 + 0.2
    noise = rng.dirichlet(np.ones(3), 300)
    equal = np.full((300, 3), 1 / 3)
    for each, favoured in (((right, noise), 0), ((noise, right), 1)):
        weights = best_weights(each, y)
        assert weights[favoured] > 1 and weights[1 - favoured] < 0.1
        assert log_loss(pool(each, weights), y) <= min(log_loss(p, y) for p in each)
    np.testing.assert_allclose(pool((right, equal), [1.0, 5.0]), right, rtol=1e-5)
    half = pool((np.array([[0.9, 0.1]]), np.array([[0.1, 0.9]])), [1.0, 1.0])
    np.testing.assert_allclose(half, 0.5)


class Spy:
    """A framework in which one model is right about clips that it was not trained on, and the other is not."""

    def __init__(self, right: str) -> None:
        self.right, self.trained = right, []

    def fit(self, inputs: Inputs, run: Run) -> dict[str, float]:
        self.trained.append(inputs)
        return {}

    def load(self, run_dir: Path, network: Any, *, device: str) -> Any:
        inputs = self.trained[-1]
        y = inputs.splits["test"].labels
        if inputs.spec.kind != self.right:
            y = np.random.default_rng(len(self.trained)).permutation(y)
        p = 0.9 * np.eye(len(inputs.classes), dtype=np.float32)[y] + 0.1 / len(inputs.classes)
        rows = iter(np.array_split(p, len(inputs.splits["test"])))
        assert len(inputs.splits["test"]) == 1  # the clips of one batch
        return lambda x: next(rows)


@pytest.mark.parametrize("right", ["log_mel", "embedding"])
def test_the_weights_come_from_recordings_that_are_trained_on(inputs: Inputs, tmp_path: Path, right: str) -> None:
    chosen = spectrogram_options(inputs.options), head_options(inputs.options, inputs.spec, 100)
    own = [inputs_of(inputs.features.part(i), inputs.classes, inputs.manifest, each) for i, each in enumerate(chosen)]
    spy, run = Spy(right), Run(tmp_path, {"options": {}, "data": {}})
    weights = choose_weights(Framework(spy.fit, spy.load, 0.0), own, run)
    assert (weights[0] > weights[1]) == (right == "log_mel") and len(spy.trained) == 6
    train = set(inputs.manifest[inputs.manifest.split == "train"].group)
    assert all(train.issuperset(fold.manifest.group) for fold in spy.trained)
    again = choose_weights(Framework(None, None, 0.0), own, run)  # resumed: they are read
    assert weights == read_json(tmp_path / BLEND)["weights"] == again


def test_a_single_recording_leaves_equal_weights(inputs: Inputs, tmp_path: Path) -> None:
    few = dataclasses.replace(inputs, manifest=inputs.manifest.assign(group=inputs.manifest.label))
    run = Run(tmp_path, {"options": {}, "data": {}})
    assert choose_weights(Framework(None, None, 0.0), [few, few], run) == [0.5, 0.5]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"backbone_path": None}, "--backbone-path: is missing"),
        ({"backbone_sr": None}, "--backbone-sr: is missing"),
        ({"export": ("onnx",)}, "since no export contains the backbone"),
        ({"schedule": "plateau", "val_share": 0.2}, "--blend: inner folds have no validation clips"),
        ({"blend": False}, "is for --recipe transfer or blend"),
        (RECIPES["transfer"] | {"together": False, "centre": False}, "must be left out, since embeddings"),
    ],
)
def test_options_that_do_not_fit(model: Path, sounds: Path, changes: dict, says: str) -> None:
    with pytest.raises(UserError) as refused:
        options(model, sounds, **changes)
    assert says in str(refused.value)


@pytest.fixture(scope="module")
def trained(model: Path, sounds: Path, tmp_path_factory: pytest.TempPathFactory, run_script) -> Path:
    """A folder with a blend in PyTorch, and what it consists of as runs of their own."""
    folder = tmp_path_factory.mktemp("runs")
    common = ("--framework", "torch", "--data-dir", sounds, "--device", "cpu")
    backbone, decays = ("--backbone-path", model, "--backbone-sr", 22050), ("--weight-decays", 1, 10)
    run_script(TRAIN, *common, "--recipe", "blend", *SMALL, *backbone, *decays, "--out-dir", folder / "blend")
    run_script(TRAIN, *common, "--recipe", "strong", *SMALL, "--out-dir", folder / "spectrogram")
    run_script(TRAIN, *common, "--recipe", "transfer", *backbone, *decays, "--out-dir", folder / "head")
    return folder


@pytest.mark.slow
@pytest.mark.long
def test_both_models_are_those_of_their_own_recipes(trained: Path) -> None:
    for name in BLENDED:
        for place in ("", "evaluated", "refit"):
            ours, alone = trained / "blend" / place / name, trained / name / place
            assert (ours / TORCH_MODEL).read_bytes() == (alone / TORCH_MODEL).read_bytes()
    metrics = read_json(trained / "blend/metrics.json")
    parts = [read_json(trained / "blend/evaluated" / name / "metrics.json") for name in BLENDED]
    assert metrics["model/parameters"] == sum(part["model/parameters"] for part in parts)
    alone = [pd.read_csv(trained / name / "evaluated/predictions.csv") for name in BLENDED]
    blended = pd.read_csv(trained / "blend/evaluated/predictions.csv").filter(like="p_").to_numpy()
    weights = read_json(trained / "blend/evaluated" / BLEND)["weights"]
    expected = pool([table.filter(like="p_").to_numpy() for table in alone], weights)
    np.testing.assert_allclose(blended, expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.long
def test_a_blend_predicts_like_any_run(trained: Path, sounds: Path, tmp_path: Path, run_script, refused) -> None:
    run, files = trained / "blend", sounds / "test" / "test"
    run_script(PREDICT, "--model-dir", run, "--input", files, "--output", tmp_path / "p.csv", "--probabilities")
    ours = pd.read_csv(tmp_path / "p.csv").filter(like="p_")
    classifier = Classifier.load(run, device="cpu")
    for name, row in zip(pd.read_csv(tmp_path / "p.csv").ID, ours.to_numpy(), strict=True):
        np.testing.assert_allclose(classifier.predict(files / name).probabilities, row, atol=1e-4)
    spectrogram, head = (read_json(run / name / "config.json")["features"] for name in BLENDED)
    assert (spectrogram["kind"], head["kind"]) == ("log_mel", "embedding")
    x = extract(next(files.iterdir()), classifier.spec)
    features, p = classifier.embed([x])
    assert features.shape == (1, 2 * 128 + 2 * WIDTH)
    np.testing.assert_allclose(p, classifier.probabilities([x]), atol=1e-6)
    card = (run / "MODEL_CARD.md").read_text()
    assert "network on log-mel spectrograms and a head on the embeddings" in card and "m.onnx" in card
    assert "which no export contains" in refused(EXPORT, "--model-dir", run, "--formats", "onnx")
    backbone = ("--backbone-path", "m.onnx", "--backbone-sr", 8000)
    line = refused("classification/tune.py", "--data-dir", sounds, "--recipe", "blend", *backbone)
    assert "tune the model on spectrograms" in line


@pytest.mark.slow
@pytest.mark.long
def test_a_converted_blend_predicts_the_same(trained: Path, sounds: Path, tmp_path: Path, run_script) -> None:
    run_script(CONVERT, "--model-dir", trained / "blend", "--out-dir", tmp_path / "keras")
    tables = []
    for run in (trained / "blend", tmp_path / "keras"):
        output = tmp_path / f"{run.name}.csv"
        files = ("--input", sounds / "test/test", "--output", output, "--probabilities")
        run_script(PREDICT, "--model-dir", run, *files)
        tables.append(pd.read_csv(output).filter(like="p_"))
    np.testing.assert_allclose(*tables, atol=1e-4)


@pytest.mark.slow
@pytest.mark.long
def test_an_interrupted_blend_goes_on(trained: Path, sounds: Path, tmp_path: Path, model: Path, run_script) -> None:
    """Without its last results it reads both models and the weights, and predicts the same."""
    run = shutil.copytree(trained / "blend", tmp_path / "blend")
    before = (run / "evaluated/predictions.csv").read_bytes()
    for lost in ("metrics.json", "evaluated/metrics.json", "evaluated/predictions.csv", "evaluated/blend.json"):
        (run / lost).unlink()
    common = ("--framework", "torch", "--data-dir", sounds, "--device", "cpu", "--out-dir", run)
    backbone = ("--backbone-path", model, "--backbone-sr", 22050, "--weight-decays", 1, 10)
    output = run_script(TRAIN, *common, "--recipe", "blend", *SMALL, *backbone).stdout
    assert all(f"{run / 'evaluated' / name} is already done" in output for name in BLENDED)
    assert (run / "evaluated/predictions.csv").read_bytes() == before
