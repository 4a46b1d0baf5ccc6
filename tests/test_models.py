"""The torch side of the twins, in process; the Keras side runs in processes of its own (test_entries.py)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from classification.fit_torch import ClassifierObjective
from classification.models.torch_cnn import PlainCNN
from classification.recipes import RECIPES, TrainOptions
from generation.recipes import RECIPES as CGAN_RECIPES
from generation.recipes import CganOptions
from shared.batches import Batches
from shared.cache import FeatureCache
from shared.features import PRESETS
from shared.loop import fit, make_accelerator
from shared.runs import Run, describe


@pytest.mark.parametrize("n_classes", [2, 50])
@pytest.mark.parametrize("shape", [(128, 173), (40, 32)])
def test_shapes(n_classes: int, shape: tuple[int, int]) -> None:
    assert PlainCNN(n_classes)(torch.randn(3, *shape)).shape == (3, n_classes)


def test_recipes_name_only_options_that_exist() -> None:
    for options, recipes in ((TrainOptions, RECIPES), (CganOptions, CGAN_RECIPES)):
        assert "plain" in recipes
        for name, differences in recipes.items():
            options(recipe=name, **differences)


def test_batches_depend_on_seed_and_epoch_alone(sounds: Path) -> None:
    features = FeatureCache(PRESETS["classifier"]).build(sorted(sounds.glob("train/train/*/*"))).features
    batches = Batches(features, range(40), batch_size=12, seed=5, shuffle=True)
    epochs = [np.concatenate([y for _, y in batches(epoch)]) for epoch in (0, 1, 0)]
    assert [len(y) for _, y in batches(0)] == [12, 12, 12, 4]
    assert sorted(epochs[0]) == list(range(40)) and (epochs[0] == epochs[2]).all() and (epochs[0] != epochs[1]).any()
    x, y = batches.get(0, 1)
    np.testing.assert_array_equal(x, features[y])


def objective(batches: Batches, folder: Path, **options: object) -> ClassifierObjective:
    torch.manual_seed(0)
    chosen = TrainOptions(**options)
    return ClassifierObjective(
        PlainCNN(2, widths=(4, 8, 8)), batches, chosen, make_accelerator("cpu", "float32"), folder / "best.safetensors"
    )


@pytest.fixture
def toy(sounds: Path) -> Batches:
    """Sirens against drilling."""
    paths = [p for label in ("siren", "drilling") for p in sorted(sounds.glob(f"train/train/{label}/*"))]
    features = FeatureCache(PRESETS["classifier"]).build(paths, progress=False).features
    return Batches(features, [0] * 8 + [1] * 8, batch_size=4, seed=0, shuffle=True)


def test_training_learns_and_keeps_the_best(toy: Batches, tmp_path: Path) -> None:
    run = Run(tmp_path, describe({}, {"root": "d", "clips": 16, "fingerprint": "f"}))
    twin = objective(toy, tmp_path, stop_patience=99, learning_rate=3e-3)
    fit(twin, toy, run, epochs=25, device=torch.device("cpu"))
    history = run.history()
    assert np.mean([line["train/loss"] for line in history[-5:]]) < 0.5 * history[0]["train/loss"]
    assert np.mean([line["train/accuracy"] for line in history[-5:]]) > 0.85
    assert (tmp_path / "best.safetensors").is_file()


def test_schedule_and_stopping_follow_val_loss(toy: Batches, tmp_path: Path) -> None:
    """Keras's counting: the rate halves after plateau_patience bad epochs, training stops after stop_patience."""
    twin = objective(toy, tmp_path, plateau_patience=2, stop_patience=5, learning_rate=1e-3)
    losses = iter([1.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    twin._validate = lambda: (next(losses), 0.5)
    rates = []
    while not twin.finished:
        rates.append(twin.end_epoch(len(rates), {})["optim/learning_rate"])
    assert rates == [1e-3, 1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4]


def test_a_killed_run_resumes_to_the_same_losses(toy: Batches, tmp_path: Path) -> None:
    config = describe({}, {"root": "d", "clips": 16, "fingerprint": "f"})

    def trained(folder: str, *stops: int) -> list[dict[str, float]]:
        for epochs in stops:
            run = Run(tmp_path / folder, config)
            fit(objective(toy, tmp_path / folder), toy, run, epochs=epochs, device=torch.device("cpu"))
            run.close()
        return [{k: v for k, v in line.items() if "time" not in k} for line in run.history()]

    whole = trained("whole", 4)
    assert len(whole) == 4 and whole == trained("killed", 1, 3, 4)
