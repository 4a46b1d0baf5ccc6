"""The only training loop of the torch side: fit(objective, batches, run). It never asks which loss it runs."""

from __future__ import annotations

import ctypes
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor
from tqdm import tqdm

from shared.errors import UserError
from shared.files import replacing
from shared.runs.timing import EpochTimer

if TYPE_CHECKING:  # pandas and scikit-learn come with them: three seconds that prediction does not need
    from shared.features.batches import Batches
    from shared.runs.run import Run

CHECKPOINT = "training_state.pt"
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


class Objective(Protocol):
    """A loss with the nets and optimisers it trains; the only place that calls backward."""

    def step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """One update on x (B, M, T), y (B,): {"group/name": scalar}, averaged over the epoch's clips."""

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> dict[str, float]:
        """After an epoch: validation, schedules, pictures. Returns what to log beside the means."""

    def state_dict(self) -> dict[str, Any]:
        """All it needs to go on: tensors and plain types only."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...

    @property
    def finished(self) -> bool:
        """True when training should stop before its last epoch."""


def pick_device(device: str) -> torch.device:
    """ "auto" takes a GPU if there is one.

    Raises:
        UserError: a device this machine does not have.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        device = next(name for name, there in available.items() if there)
    if not available[device]:
        raise UserError(f"--device {device}: this machine has none; use --device cpu or auto")
    return torch.device(device)


def make_accelerator(device: str, precision: str) -> Accelerator:
    """The device and arithmetic of a training run; a precision of "auto" is float32."""
    _keep_freed_memory()
    AcceleratorState._reset_state(reset_partial_state=True)  # else a second run in one process keeps the first's
    mixed = "bf16" if precision == "bfloat16" else "no"
    return Accelerator(cpu=pick_device(device).type == "cpu", mixed_precision=mixed)


def _keep_freed_memory() -> None:
    """Let glibc keep what large tensors leave: fetched anew from the system for each of them, cleared page by page, it
    is a third of the plain classifier's step on a CPU. Other systems' allocators are left as they are.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt") and sys.platform == "linux":
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def bfloat16_pays() -> bool:
    """Whether bfloat16 is computed natively here: a CPU with AVX512-BF16 or AMX, or a recent GPU."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported()


def fit(
    objective: Objective,
    batches: Batches,
    run: Run,
    *,
    epochs: int,
    device: torch.device,
    on_epoch: Callable[[int], None] | None = None,
) -> None:
    """Train from the run's last checkpoint, or from the start, to ``epochs`` or until the objective has finished.

    Every epoch is logged and checkpointed (nets, optimisers, random numbers), so a killed run goes on as if nothing
    had happened. ``on_epoch(epoch)`` is called with the random numbers set aside, so looking changes nothing.
    """
    timer = EpochTimer(batches.clips)
    for epoch in range(load_checkpoint(run, objective), epochs):
        if objective.finished:
            break
        timer.start()
        means = _train_epoch(objective, batches, epoch, device, f"epoch {epoch + 1}/{epochs}")
        timer.stop()
        with torch.random.fork_rng():
            means |= objective.end_epoch(epoch, means)
            if on_epoch is not None:
                on_epoch(epoch)
        run.log(epoch, means | timer.metrics())
        save_checkpoint(run, objective, epoch)


def _train_epoch(
    objective: Objective, batches: Batches, epoch: int, device: torch.device, description: str
) -> dict[str, float]:
    sums: dict[str, Tensor] = defaultdict(float)
    with tqdm(batches(epoch), total=len(batches), desc=description, unit="batch", mininterval=1.0) as bar:
        for step, (x, y) in enumerate(bar):
            metrics = objective.step(torch.from_numpy(x).to(device), torch.from_numpy(y).to(device))
            for name, value in metrics.items():
                sums[name] = sums[name] + value.detach().float() * len(x)
            if step % 5 == 0:
                bar.set_postfix({name: f"{value.item():.3f}" for name, value in metrics.items()}, refresh=False)
    return {name: float(total) / batches.clips for name, total in sums.items()}


def save_checkpoint(run: Run, objective: Objective, epoch: int) -> None:
    state = {"epoch": epoch, "objective": objective.state_dict(), "rng": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda_rng"] = torch.cuda.get_rng_state_all()
    with replacing(run.checkpoints / CHECKPOINT) as temporary:
        torch.save(state, temporary)


def load_checkpoint(run: Run, objective: Objective) -> int:
    """Restore the run's last state into ``objective``; the epoch to go on with, 0 without a checkpoint."""
    path = run.checkpoints / CHECKPOINT
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        objective.load_state_dict(state["objective"])
    except Exception as error:  # torch raises many types for a damaged file or another version's nets
        reason = str(error).strip().split("\n", 1)[0]
        raise UserError(
            f"{path}: cannot be gone on with ({type(error).__name__}: {reason}): damaged, or of another version; "
            "--overwrite begins the run anew"
        ) from error
    torch.set_rng_state(state["rng"])
    if "cuda_rng" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda_rng"])
    print(f"resuming {run.dir} after epoch {state['epoch'] + 1}", flush=True)
    return state["epoch"] + 1
