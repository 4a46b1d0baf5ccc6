"""The PyTorch model and its training, in this process; test_entries.py runs Keras in separate processes."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from classification.models.architecture import Architecture, BandStatistics, Network
from classification.models.torch_cnn import CNN
from classification.recipes import RECIPES, Optimiser, TrainOptions
from classification.training.fit_torch import ClassifierObjective
from generation.recipes import CGAN_RECIPES, CganOptions
from shared.errors import UserError
from shared.features.augment import Augment
from shared.features.batches import Batches
from shared.features.cache import FeatureCache
from shared.features.spec import PRESETS
from shared.runs.loop import CHECKPOINT, fit, make_accelerator
from shared.runs.options import assemble
from shared.runs.run import Run, describe


def cnn(shape: tuple[int, int], n_classes: int, statistics: BandStatistics | None = None, **options: object) -> CNN:
    return CNN(**Network(Architecture(**options), shape, n_classes).arguments, statistics=statistics)


@pytest.mark.parametrize("n_classes", [2, 50])
@pytest.mark.parametrize("shape", [(128, 173), (40, 32)])
@pytest.mark.parametrize("pooling", ["mean", "mean+max", "flatten"])
def test_logits_have_the_right_shape_and_members_are_averaged(
    n_classes: int, shape: tuple[int, int], pooling: str
) -> None:
    net = cnn(shape, n_classes, pooling=pooling, widths=(4, 8), members=2).eval()
    x = torch.randn(3, *shape)
    assert net(x).shape == (3, 2, n_classes)
    p = net.log_probabilities(x).exp()
    torch.testing.assert_close(p, net(x).softmax(dim=2).mean(dim=1))


def test_standardising_undoes_the_statistics(sounds: Path) -> None:
    features = FeatureCache(PRESETS["strong"]).build(sorted(sounds.glob("train/train/siren/*"))).features
    x = features[np.arange(8)]
    statistics = BandStatistics.of([x[:3], x[3:]])
    np.testing.assert_allclose(statistics.mean, x.mean(axis=(0, 2)), rtol=1e-4)
    np.testing.assert_allclose(statistics.variance, x.var(axis=(0, 2)), rtol=1e-3)
    net = cnn(x.shape[1:], 2, statistics, widths=(4,), standardise=True).eval()
    bare = cnn(x.shape[1:], 2, widths=(4,)).eval()
    bare.members.load_state_dict(net.members.state_dict())
    shifted = (x - x.mean(axis=(0, 2))[:, None]) / x.std(axis=(0, 2))[:, None]
    torch.testing.assert_close(net(torch.from_numpy(x)), bare(torch.from_numpy(shifted)), atol=1e-3, rtol=1e-3)


def test_recipes_only_have_options_that_exist() -> None:
    for options, recipes in ((TrainOptions, RECIPES), (CganOptions, CGAN_RECIPES)):
        assert "plain" in recipes
        for name, differences in recipes.items():
            assemble(options, {"recipe": name} | differences)


def test_batches_depend_on_seed_and_epoch_alone(sounds: Path) -> None:
    features = FeatureCache(PRESETS["classifier"]).build(sorted(sounds.glob("train/train/*/*"))).features
    batches = Batches(features, range(40), batch_size=12, seed=5, shuffle=True)
    epochs = [np.concatenate([y for _, y in batches(epoch)]) for epoch in (0, 1, 0)]
    assert [len(y) for _, y in batches(0)] == [12, 12, 12, 4]
    assert sorted(epochs[0]) == list(range(40)) and (epochs[0] == epochs[2]).all() and (epochs[0] != epochs[1]).any()
    x, y = batches.get(0, 1)
    np.testing.assert_array_equal(x, features[y])


@pytest.mark.parametrize("weights", [None, range(1, 41)], ids=["each once", "weighted"])
def test_an_epochs_order_is_drawn_once(weights: range | None, sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = FeatureCache(PRESETS["classifier"]).build(sorted(sounds.glob("train/train/*/*"))).features
    batches = Batches(features, range(40), batch_size=4, seed=5, shuffle=True, weights=weights)
    drawn, draw = [], Batches._draw
    monkeypatch.setattr(Batches, "_draw", lambda self, epoch: drawn.append(epoch) or draw(self, epoch))
    first = [y.tolist() for _, y in batches(3)]
    assert drawn == [3] and len(first) == 10
    assert [y.tolist() for _, y in batches(4)] != first and drawn == [3, 4]
    assert [y.tolist() for _, y in batches(3)] == first


def make_objective(batches: Batches, folder: Path, **options: object) -> ClassifierObjective:
    torch.manual_seed(0)
    net = cnn((128, 173), 2, widths=(4, 8, 8))
    return ClassifierObjective(
        net, batches, Optimiser(**options), make_accelerator("cpu", "float32"), folder / "best.safetensors", steps=16
    )


@pytest.fixture
def toy(sounds: Path) -> Batches:
    """Sirens against drilling."""
    paths = [p for label in ("siren", "drilling") for p in sorted(sounds.glob(f"train/train/{label}/*"))]
    features = FeatureCache(PRESETS["classifier"]).build(paths, progress=False).features
    return Batches(
        features, [0] * 8 + [1] * 8, batch_size=4, seed=0, shuffle=True, augment=partial(Augment(), n_classes=2)
    )


def test_training_learns_and_keeps_the_best(toy: Batches, tmp_path: Path) -> None:
    run = Run(tmp_path, describe({}, {"root": "d", "clips": 16, "fingerprint": "f"}))
    objective = make_objective(toy, tmp_path, stop_patience=99, learning_rate=3e-3)
    fit(objective, toy, run, epochs=25, device=torch.device("cpu"))
    history = run.history()
    assert np.mean([line["train/loss"] for line in history[-5:]]) < 0.5 * history[0]["train/loss"]
    assert np.mean([line["train/accuracy"] for line in history[-5:]]) > 0.85
    assert (tmp_path / "best.safetensors").is_file()


def test_schedule_and_stopping_follow_val_loss(toy: Batches, tmp_path: Path) -> None:
    """As in Keras: the rate halves after plateau_patience bad epochs, and training stops after stop_patience."""
    objective = make_objective(toy, tmp_path, plateau_patience=2, stop_patience=5, learning_rate=1e-3)
    losses = iter([1.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    objective._validate = lambda: (next(losses), 0.5)
    rates = []
    while not objective.stop_reason:
        rates.append(objective.end_epoch(len(rates), {})["optim/learning_rate"])
    assert rates == [1e-3, 1e-3, 1e-3, 5e-4, 5e-4, 2.5e-4]


def test_cosine_schedule_keeps_the_last_epoch(toy: Batches, tmp_path: Path) -> None:
    run = Run(tmp_path, describe({}, {"root": "d", "clips": 16, "fingerprint": "f"}))
    objective = make_objective(toy, tmp_path, schedule="cosine", learning_rate=1e-3, warmup=0.25)
    fit(objective, toy, run, epochs=4, device=torch.device("cpu"))
    rates = [line["optim/learning_rate"] for line in run.history()]
    assert rates[0] == pytest.approx(1e-3) and rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-9)
    kept = load_file(tmp_path / "best.safetensors")
    assert all((kept[name] == value).all() for name, value in objective.net.state_dict().items())


@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
def test_a_killed_run_resumes_to_the_same_losses(toy: Batches, tmp_path: Path, schedule: str) -> None:
    config = describe({}, {"root": "d", "clips": 16, "fingerprint": "f"})

    def trained(folder: str, *stops: int) -> list[dict[str, float]]:
        for epochs in stops:
            run = Run(tmp_path / folder, config)
            fit(
                make_objective(toy, tmp_path / folder, schedule=schedule),
                toy,
                run,
                epochs=epochs,
                device=torch.device("cpu"),
            )
            run.close()
        return [{k: v for k, v in line.items() if "time" not in k} for line in run.history()]

    whole = trained("whole", 4)
    assert len(whole) == 4 and whole == trained("killed", 1, 3, 4)


def test_a_loss_that_is_not_finite_names_the_clips_and_keeps_the_model(toy: Batches, tmp_path: Path) -> None:
    run = Run(tmp_path, describe({}, {"root": "d", "clips": 16, "fingerprint": "f"}))
    objective = make_objective(toy, tmp_path, schedule="cosine", learning_rate=1e-3)
    fit(objective, toy, run, epochs=1, device=torch.device("cpu"))
    kept = {path: path.read_bytes() for path in (tmp_path / "best.safetensors", run.checkpoints / CHECKPOINT)}
    steps, step = iter(range(4)), objective.step
    objective.step = lambda x, y: step(x * (float("nan") if next(steps) == 2 else 1), y)
    with pytest.raises(UserError, match=r"step 3 of epoch 2.*--learning-rate") as refused:
        fit(objective, toy, run, epochs=2, device=torch.device("cpu"))
    named = [str(path) in str(refused.value) for path in toy.features.paths]
    assert named == [path in toy.paths(1, 2) for path in toy.features.paths] and sum(named) == 4
    assert all(path.read_bytes() == content for path, content in kept.items())
