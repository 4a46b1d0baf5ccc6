"""Weights are converted between Keras and PyTorch and back; both then agree on every clip, and they train alike."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from backbones import save_onnx
from safetensors.numpy import load_file

from classification.export.conversion import convert
from classification.recipes import RECIPES
from classification.rundir import network_of
from classification.training.framework import load_framework
from shared.features.spec import FeatureSpec
from shared.features.transforms import extract
from shared.files import read_json

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clips(sounds: Path) -> list[Path]:
    """Clips of every class, real ones if they are available."""
    folder = Path(os.environ.get("FREQUENCY_QUEST_DATA", "")) / "frequency-quest"
    root = folder if folder.is_dir() else sounds
    return [path for label in sorted((root / "train" / "train").iterdir()) for path in sorted(label.iterdir())[::50]]


def logits(p: np.ndarray) -> np.ndarray:
    """Logits from probabilities, up to the constant that softmax ignores: their mean is 0."""
    log_p = np.log(p.astype(np.float64))
    return log_p - log_p.mean(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("framework", "other", "recipe"),
    [
        pytest.param(*pair, name, marks=[pytest.mark.long] * (pair[0] == "keras" and name != "strong"))
        for pair in (("keras", "torch"), ("torch", "keras"))
        for name in RECIPES
        if name != "blend"  # test_blend.py converts that
    ],
)
def test_a_converted_run_predicts_the_same(
    framework: str, other: str, recipe: str, sounds: Path, clips: list[Path], tmp_path: Path, run_script
):
    members = ("--members", 2) if recipe == "strong" else ()
    options = ("--framework", framework, "--recipe", recipe, "--epochs", 1, "--no-refit", *members)
    if recipe == "transfer":
        save_onnx(tmp_path / "m.onnx", shape=(1, 4000))
        options += ("--dense", 8, "--backbone-path", tmp_path / "m.onnx", "--backbone-sr", 8000)
    run_script("classification/train.py", "--data-dir", sounds, "--out-dir", tmp_path / "a", *options)
    assert convert(tmp_path / "a", tmp_path / "b") == other
    spec = FeatureSpec(**read_json(tmp_path / "a" / "config.json")["features"])
    x = np.stack([extract(path, spec) for path in clips])
    p = {
        name: load_framework(where).load(tmp_path / name, network_of(tmp_path / name), device="cpu")(x)
        for name, where in (("a", framework), ("b", other))
    }
    assert np.ptp(logits(p["a"]), axis=0).max() > 1e-2  # the predictions differ between clips
    assert np.abs(logits(p["a"]) - logits(p["b"])).max() < 1e-4
    if framework == "torch":  # and back: every weight is unchanged
        convert(tmp_path / "b", tmp_path / "c")
        there, back = (load_file(tmp_path / name / "best_model.safetensors") for name in "ac")
        assert there.keys() == back.keys()
        assert all((there[name] == back[name]).all() for name in there if "num_batches" not in name)


@pytest.mark.parametrize("recipe", ["strong", *(pytest.param(n, marks=pytest.mark.long) for n in ("plain", "flatten"))])
def test_both_frameworks_train_alike(recipe: str, sounds: Path, tmp_path: Path, run_script) -> None:
    """With the same start, batches and steps and without dropout, the losses differ only by rounding, which grows."""
    options = ["--data-dir", sounds, "--recipe", recipe, "--epochs", 2, "--batch-size", 8, "--dropout", 0]
    options += ["--learning-rate", 1e-5, "--val-share", 0.2, "--no-refit"]
    options += {"strong": ["--members", 2], "plain": ["--centre"]}.get(recipe, [])
    losses = []
    for framework in ("keras", "torch"):
        run_script("classification/train.py", *options, "--framework", framework, "--out-dir", tmp_path / framework)
        lines = (tmp_path / framework / "history.jsonl").read_text().splitlines()
        losses.append([[json.loads(line)[f"{split}/loss"] for split in ("train", "val")] for line in lines])
    assert np.shape(losses) == (2, 2, 2)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
