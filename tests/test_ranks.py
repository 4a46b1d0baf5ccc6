"""Two processes of one launch train the same network as one process does, and stop together."""

import os
import socket
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from classification.models.architecture import Architecture, Network
from classification.models.torch_cnn import CNN
from classification.recipes import Optimiser
from classification.training.fit_torch import ClassifierObjective
from generation.models import flow_net, gan2d
from generation.objectives.flow import FlowObjective
from generation.objectives.gan import GanObjective
from generation.objectives.vae import VaeObjective, make_nets
from generation.recipes import VaeOptions
from generation.scaling import Scaler
from shared.errors import UserError
from shared.features.batches import Batches
from shared.features.spec import PRESETS
from shared.runs import ranks
from shared.runs.loop import _train_epoch, make_accelerator

SHAPE = (16, 32)
SCALER = Scaler("dataset", -1.0, 2.0)
CPU = torch.device("cpu")


def without_norm(net: nn.Module) -> nn.Module:
    """The network with batch norm taken out: it would use the statistics of a process's own rows."""
    for parent in list(net.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, _BatchNorm):
                setattr(parent, name, nn.Identity())
    return net


def classifier() -> ClassifierObjective:
    architecture = Architecture(widths=(4, 8), dense=(8,), dropout=0.0, members=2)
    net = without_norm(CNN(**Network(architecture, SHAPE, 2).arguments))
    return ClassifierObjective(net, None, Optimiser(schedule="cosine"), make_accelerator("cpu", "float32"), Path())


def flow() -> FlowObjective:
    size = {"width": 16, "depth": 1, "heads": 2, "channels": 8, "local_depth": 1, "dropout": 0.0}
    return FlowObjective(flow_net.Generator(2, shape=SHAPE, **size), SCALER, make_accelerator("cpu", "float32"))


def gan() -> GanObjective:
    nets = [without_norm(net) for net in (gan2d.Generator(2, shape=SHAPE), gan2d.Discriminator(2, shape=SHAPE))]
    return GanObjective(*nets, SCALER, make_accelerator("cpu", "float32"), penalty=1.0, average=0.9)


def vae() -> VaeObjective:
    spec = PRESETS["amplitude"]
    nets = make_nets(VaeOptions(model="cvae", features="amplitude", latent=4), spec, 2)
    return VaeObjective(*map(without_norm, nets), SCALER, make_accelerator("cpu", "float32"))


OBJECTIVES: dict[str, Callable] = {"classifier": classifier, "flow": flow, "gan": gan, "vae": vae}


def step(name: str, clips: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """One update on a batch: the networks' weights, and the losses."""
    torch.manual_seed(0)
    objective = OBJECTIVES[name]()
    x, y = torch.randn(clips, *((128, 128) if name == "vae" else SHAPE)), torch.arange(clips) % 2
    losses = objective.step(x, nn.functional.one_hot(y).float() if name == "classifier" else y)
    nets = [net for net in vars(objective).values() if isinstance(net, nn.Module)]
    own = ranks.Share(clips).clips
    totals = ranks.total([own * float(loss.detach()) for loss in losses.values()])
    return {f"{i}.{key}": value.numpy() for i, net in enumerate(nets) for key, value in net.state_dict().items()}, {
        key: total / clips for key, total in zip(losses, totals, strict=True)
    }


class Silent(Batches):
    def paths(self, epoch: int, step: int) -> list[Path]:
        return []


class Diverging:
    """Its second step has an infinite loss, but only in the second of two processes."""

    def __init__(self) -> None:
        self.steps = 0

    def step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        self.steps += 1
        return {"train/loss": torch.tensor(1.0 if self.steps != 2 or ranks.is_first() else float("inf"))}


def diverge() -> str:
    batches = Silent(np.zeros((6, *SHAPE), np.float32), [0] * 6, batch_size=2)
    progress = type("Progress", (), {"batch": lambda self: None})()
    try:
        _train_epoch(Diverging(), batches, 0, CPU, progress)
    except UserError as error:
        return str(error)
    return ""


def draws() -> dict[str, list[float]]:
    torch.manual_seed(0)
    with ranks.Share(4).own_draws():
        pass
    found = {"as in one process": torch.rand(3).tolist()}
    for name in ("own", "again"):
        with ranks.Share(4).own_draws():
            found[name] = torch.rand(3).tolist()
    return found | {"later": torch.rand(3).tolist()}


def agreements() -> dict[str, object]:
    tensor = torch.full((2, 3), float(ranks.rank())).T  # not contiguous
    ranks.copy_first([tensor])
    with ranks.first_alone():
        pass
    return {"agreed": ranks.agreed(f"of {ranks.rank()}"), "total": ranks.total([1.0, ranks.rank()]), "copied": tensor}


def in_a_launch(rank: int, port: int, sizes: dict[str, int]) -> dict[str, object]:
    """What one of two processes computes."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    ranks.start()
    found = {f"{name} {clips}": step(name, clips) for name, clips in sizes}
    found |= {"diverged": diverge(), "draws": draws()} | agreements()
    ranks.end()
    return found


STEPS = [("classifier", 32), ("classifier", 1), ("flow", 32), ("flow", 5), ("gan", 32), ("gan", 3), ("vae", 8)]


@pytest.fixture(scope="module")
def two() -> list[dict[str, object]]:
    """What the two processes of a launch found."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return list(pool.map(in_a_launch, (0, 1), (port, port), (STEPS, STEPS)))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "clips"), STEPS)
def test_two_processes_update_like_one(name: str, clips: int, two: list[dict]) -> None:
    weights, losses = step(name, clips)
    first, second = (found[f"{name} {clips}"] for found in two)
    assert first[0].keys() == weights.keys() and first[1] == second[1]
    for key, value in weights.items():
        np.testing.assert_array_equal(first[0][key], second[0][key], err_msg=key)
        np.testing.assert_allclose(first[0][key], value, atol=1e-5, rtol=0, err_msg=key)
    assert first[1] == pytest.approx(losses, rel=1e-5)


@pytest.mark.slow
def test_all_processes_stop_at_a_loss_that_is_not_finite(two: list[dict]) -> None:
    assert two[0]["diverged"] == two[1]["diverged"] and "step 2 of epoch 1" in two[0]["diverged"]


@pytest.mark.slow
def test_processes_draw_differently_only_where_they_should(two: list[dict]) -> None:
    first, second = (found["draws"] for found in two)
    assert len({*map(tuple, (first["own"], first["again"], second["own"], second["again"]))}) == 4
    assert first["later"] == second["later"] and first["as in one process"] == second["as in one process"]
    torch.manual_seed(0)
    assert first["as in one process"] == torch.rand(3).tolist()


@pytest.mark.slow
def test_the_first_process_tells_the_others(two: list[dict]) -> None:
    for found in two:
        assert found["agreed"] == "of 0" and found["total"] == [2.0, 1.0] and not found["copied"].any()


def pretend(monkeypatch: pytest.MonkeyPatch, rank: int, count: int) -> None:
    """Be one of several processes, without the others."""
    for name, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count}.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize("clips", [32, 7, 2, 1])
def test_every_row_has_one_process(clips: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, weights, turns = [], [], []
    for rank in range(3):
        pretend(monkeypatch, rank, 3)
        share = ranks.Share(clips)
        (own,) = share(torch.arange(clips))
        assert len(own) == max(1, share.clips)  # at least one, which may count nothing
        rows += own[: share.clips].tolist()
        weights.append(share.weight)
        turns += [step for step in range(clips) if ranks.own_turn(step)]
    assert rows == list(range(clips)) and sum(weights) == pytest.approx(1) and sorted(turns) == rows


@pytest.mark.parametrize(
    ("script", "options", "says"),
    [
        ("classification/train.py", ("--framework", "keras"), "--framework keras"),
        ("generation/train_wgan_gp.py", (), "train_wgan_gp trains in one process, not in the 2"),
        ("generation/train_vocoder.py", (), "train_vocoder trains in one process, not in the 2"),
    ],
)
def test_one_process_is_asked_for(script: str, options, says: str, sounds: Path, refused, monkeypatch) -> None:
    monkeypatch.setattr(ranks, "start", lambda: None)
    pretend(monkeypatch, 0, 2)
    assert says in refused(script, "--data-dir", sounds, *options)


def test_a_launch_that_started_one_process_only_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks.start()
    for name in ("ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"):  # as accelerate launch without --multi_gpu sets them
        monkeypatch.setenv(name, "no")
    with pytest.raises(UserError, match="add --multi_gpu"):
        ranks.start()
