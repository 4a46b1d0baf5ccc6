"""The training loop of every PyTorch model: fit(objective, batches, run). It does not depend on the loss."""

from __future__ import annotations

import os
import pickle
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from shared.errors import UserError
from shared.files import replacing
from shared.runs import ranks
from shared.runs.memory import keep_freed_memory
from shared.runs.progress import Progress
from shared.runs.timing import EpochTimer

if TYPE_CHECKING:  # they import pandas and scikit-learn: three seconds that prediction does not need
    from shared.features.batches import Batches
    from shared.runs.run import Run

CHECKPOINT = "training_state.pt"


class Objective(Protocol):
    """A loss with the networks and optimisers that it trains. Only objectives call backward."""

    def step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """One update on x (B, M, T), y (B,). Returns {"group/name": scalar}; the loop averages each over the clips.

        In a launch every process gets the whole batch and returns the means over its ``ranks.Share``.
        """

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> dict[str, float]:
        """Validate, update schedules and save models after an epoch. Returns further metrics to log."""

    def state_dict(self) -> dict[str, Any]:
        """All that resuming needs: tensors and plain types only."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...

    @property
    def stop_reason(self) -> str:
        """Why training should stop before its last epoch; empty if it should continue."""


def pick_device(device: str) -> torch.device:
    """The device of this name; "auto" is a GPU if there is one. cuDNN is made deterministic for equal seeds.

    Raises:
        UserError: this machine has no such device.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = next(name for name, there in available.items() if there)
    if not available[device]:
        raise UserError(f"--device {device}: this machine has no such device; use --device cpu or auto")
    if device == "cuda":
        torch.backends.cudnn.deterministic = True
    return torch.device(device)


def make_accelerator(device: str, precision: str, *, deterministic: bool = False) -> Accelerator:
    """Create the Accelerator of a training for its device and precision; the precision "auto" is float32.

    With ``deterministic``, PyTorch warns of each operation that has no deterministic kernel.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is not deterministic without it
        torch.use_deterministic_algorithms(True, warn_only=True)
    keep_freed_memory()
    AcceleratorState._reset_state(reset_partial_state=True)  # otherwise the first run's device is kept
    mixed = "bf16" if precision == "bfloat16" else "no"
    return Accelerator(cpu=pick_device(device).type == "cpu", mixed_precision=mixed)


def prepare(accelerator: Accelerator, *parts: Any) -> Sequence[Any]:
    """accelerator.prepare for networks and optimisers, without its DistributedDataParallel.

    That averages gradients during one backward pass per forward pass, which the steps of a GAN do not have; objectives
    average them by ``ranks.Share``.
    """
    if ranks.count() == 1:
        return accelerator.prepare(*parts)
    return [
        accelerator.prepare_model(part, evaluation_mode=True)  # only places it and sets its precision
        if isinstance(part, nn.Module)
        else accelerator.prepare_optimizer(part)
        for part in parts
    ]


def bfloat16_pays(device: torch.device) -> bool:
    """Whether the device computes bfloat16 natively: a CPU with AVX512-BF16 or AMX, or a recent NVIDIA GPU."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def fit(
    objective: Objective,
    batches: Batches,
    run: Run,
    *,
    epochs: int,
    device: torch.device,
    on_epoch: Callable[[int], Mapping[str, float] | None] | None = None,
) -> None:
    """Train from the run's last checkpoint, or from the start, to ``epochs`` or until the objective stops.

    Every epoch is logged and checkpointed (networks, optimisers, random states), so an interrupted run resumes exactly.
    ``on_epoch(epoch)`` may return further metrics to log. It may draw random numbers: the random states are restored
    after it. Of the processes of a launch, only the first calls it and writes the checkpoint.
    """
    timer, first = EpochTimer(batches.clips), load_checkpoint(run, objective)
    nets = [part for part in vars(objective).values() if isinstance(part, nn.Module)]
    ranks.copy_first(tensor for net in nets for tensor in (*net.parameters(), *net.buffers()))
    with Progress(epochs, len(batches), first=first) as progress:
        for epoch in range(first, epochs):
            if objective.stop_reason:
                progress.stop(epoch, objective.stop_reason)
                break
            timer.start()
            metrics = _train_epoch(objective, batches, epoch, device, progress)
            timer.stop()
            ranks.copy_first(buffer for net in nets for buffer in net.buffers())  # statistics of batch norm
            with torch.random.fork_rng():
                metrics |= objective.end_epoch(epoch, metrics)
                if on_epoch is not None and ranks.is_first():
                    metrics |= on_epoch(epoch) or {}
            run.log(epoch, metrics | timer.metrics())
            if ranks.is_first():
                save_checkpoint(run, objective, epoch)
            progress.epoch(epoch, metrics)


def _train_epoch(
    objective: Objective, batches: Batches, epoch: int, device: torch.device, progress: Progress
) -> dict[str, float]:
    """The means of the objective's metrics over the clips of an epoch.

    Raises:
        UserError: a metric of a step is not finite.
    """
    sums: dict[str, Tensor] = defaultdict(float)
    finite: list[Tensor] = []  # looked at only after the epoch: a GPU need not wait for each step
    for x, y in batches(epoch):
        metrics = objective.step(torch.from_numpy(x).to(device), torch.from_numpy(y).to(device))
        for name, value in metrics.items():
            sums[name] = sums[name] + value.detach().float() * ranks.Share(len(x)).clips
        finite.append(torch.stack([value.detach().float().isfinite() for value in metrics.values()]).all())
        progress.batch()
    failures = ranks.total((~torch.stack(finite)).tolist())  # all processes of a launch stop together
    batches.refuse_divergence([not count for count in failures], epoch)
    totals = ranks.total([float(total) for total in sums.values()])
    return {name: total / batches.clips for name, total in zip(sums, totals, strict=True)}


def save_checkpoint(run: Run, objective: Objective, epoch: int) -> None:
    state = {"epoch": epoch, "objective": objective.state_dict(), "rng": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda_rng"] = torch.cuda.get_rng_state_all()
    with replacing(run.checkpoints / CHECKPOINT) as temporary:
        torch.save(state, temporary)


def load_checkpoint(run: Run, objective: Objective) -> int:
    """Restore ``objective`` and the random states from the run's checkpoint.

    Returns:
        The next epoch (counted from 0); 0 if there is no checkpoint.

    Raises:
        UserError: the checkpoint is damaged or was written by another version.
    """
    path = run.checkpoints / CHECKPOINT
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        objective.load_state_dict(state["objective"])
    except Exception as error:  # torch raises many types for a damaged file or another version's nets
        reason = str(error).strip().split("\n", 1)[0]
        if isinstance(error, pickle.UnpicklingError) or "weights_only" in reason:
            reason = "it holds other things than tensors and plain values"  # torch recommends to run them
        raise UserError(
            f"{path}: cannot resume ({type(error).__name__}: {reason}); the file is damaged or was written by another "
            "version. Start the training again with --overwrite"
        ) from error
    torch.set_rng_state(state["rng"])
    if "cuda_rng" in state and torch.cuda.is_available():
        states = state["cuda_rng"][: torch.cuda.device_count()]  # the run may have had more GPUs
        if ranks.count() > 1:  # every GPU draws what the first process's draws
            states = states[:1] * torch.cuda.device_count()
        torch.cuda.set_rng_state_all(states)
    print(f"resuming {run.dir} after epoch {state['epoch'] + 1}", flush=True)
    return state["epoch"] + 1
