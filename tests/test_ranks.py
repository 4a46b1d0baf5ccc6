"""Two processes of one launch train the same network as one process does, stop together and resume exactly."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from conftest import ROOT
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


TRAININGS = {  # script, options, the file of the model
    "classifier": ("classification/train.py", "--framework torch --widths 4 8 --dense 8", "best_model.safetensors"),
    "flow": (
        "generation/train_flow.py",
        "--segment-seconds 0.9 --width 32 --depth 1 --heads 2 --steps 2 --holdout-share 0.25 --sample-every 99",
        "generator.safetensors",
    ),
    "cgan": ("generation/train_cgan.py", "--bands 32 --frames 32 --sample-every 99", "generator.safetensors"),
}
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
LAUNCH += ["--main_process_port", "0"]


def launch(name: str, sounds: Path, folder: Path) -> subprocess.Popen:
    """Start a training in two processes, in the run folder ``folder``/run."""
    script, options, _ = TRAININGS[name]
    command = [*LAUNCH, "tests/launched.py", str(folder), script, "--recipe", "plain"]
    command += [*options.split(), "--data-dir", str(sounds), "--out-dir", str(folder / "run"), "--n-jobs", "1"]
    command += ["--epochs", "4", "--batch-size", "7", "--device", "cpu"]
    with (folder / "log").open("a") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)


@pytest.mark.slow
def test_an_error_is_reported_once(tmp_path: Path) -> None:
    command = [*LAUNCH, "generation/train_wgan_gp.py", "--out-dir", str(tmp_path / "run")]
    failed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert failed.stderr.count("error: train_wgan_gp trains in one process") == 1
    assert "process 1:" not in failed.stderr and failed.returncode and not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_finished_launch_cannot_be_aborted_at_its_exit(tmp_path: Path) -> None:
    """As by a thread of torch.distributed that still runs when the C++ library is taken down."""
    script = tmp_path / "script.py"
    lines = ["import ctypes", "from shared.runs import ranks", "ranks.start()", "libc = ctypes.CDLL(None)"]
    lines += ["libc.__cxa_atexit(libc.abort, None, None)", "print('ended', ranks.agreed(1), flush=True)"]
    for ending, code in (("ranks.end()", 0), ("pass", 1)):
        script.write_text("\n".join([*lines, ending]))
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run([*LAUNCH, str(script)], env=environment, capture_output=True, text=True, timeout=600)
        assert done.stdout.count("ended 1") == 1 and bool(done.returncode) == code, done.stderr


def results(name: str, folder: Path) -> tuple[bytes, list[dict[str, float]]]:
    """The model and the history of a finished run, after its processes were compared."""
    hashes = [(folder / f"{rank}.txt").read_text() for rank in (0, 1)]
    assert hashes[0] == hashes[1]
    assert {path.name for path in folder.iterdir()} == {"0.txt", "1.txt", "log", "run"}
    lines = [json.loads(line) for line in (folder / "run" / "history.jsonl").read_text().splitlines()]
    history = [{key: value for key, value in line.items() if not key.startswith("time/")} for line in lines]
    return (folder / "run" / TRAININGS[name][2]).read_bytes(), history


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.long] * (n != "classifier")) for n in TRAININGS])
def test_a_launch_ends_with_a_complete_run_and_a_killed_one_resumes(name: str, sounds: Path, tmp_path: Path) -> None:
    for folder in (tmp_path / "whole", tmp_path / "killed"):
        folder.mkdir()
    assert launch(name, sounds, tmp_path / "whole").wait(timeout=600) == 0, (tmp_path / "whole" / "log").read_text()
    model, history = results(name, tmp_path / "whole")
    run = tmp_path / "whole" / "run"
    assert len(history) == 4 and (run / "plots" / "curves.png").exists() and (run / "MODEL_CARD.md").exists()
    metrics, config = (json.loads((run / f"{file}.json").read_text()) for file in ("metrics", "config"))
    assert metrics["train/epochs"] == 4 and config["command"].startswith("accelerate launch --multi_gpu")
    assert (tmp_path / "whole" / "log").read_text().count("epoch 4/4") == 1

    killed = launch(name, sounds, tmp_path / "killed")
    checkpoint, deadline = tmp_path / "killed" / "run" / "checkpoints" / "training_state.pt", time.monotonic() + 300
    while not checkpoint.exists() and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in [killed, *psutil.Process(killed.pid).children(recursive=True)]:
        process.kill()
    killed.wait()
    assert not (tmp_path / "killed" / "run" / "metrics.json").exists()
    assert launch(name, sounds, tmp_path / "killed").wait(timeout=600) == 0, (tmp_path / "killed" / "log").read_text()
    assert (tmp_path / "killed" / "log").read_text().count("resuming") == 1
    assert results(name, tmp_path / "killed") == (model, history)
