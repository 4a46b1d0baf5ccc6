"""The processes (ranks) of one ``accelerate launch``, which train one model together.

Every process holds the whole network and computes its rows of each batch (``Share``); gradients are averaged before an
update, so all networks stay equal. All processes draw the same random numbers, except inside ``Share.own_draws``. Only
the first process writes files and logs. A command without a launch is one process: then these functions do nothing,
and PyTorch is imported only by the modules that need it anyway.
"""

from __future__ import annotations

import atexit
import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from shared.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.distributed import Store

T = TypeVar("T")
PATIENCE = timedelta(days=7)  # that processes wait for the first, which may compute the features of many clips
LINGER = timedelta(seconds=5)  # that a failed process gives the first to report the same error
_ended = False  # whether the launch of this process is over


def count() -> int:
    """The number of processes of this launch; 1 without a launch."""
    return int(os.environ["WORLD_SIZE"]) if "LOCAL_RANK" in os.environ else 1


def rank() -> int:
    """The number of this process, from 0 on."""
    return int(os.environ["RANK"]) if count() > 1 else 0


def is_first() -> bool:
    return rank() == 0


def start() -> None:
    """Join the other processes of the launch. All but the first are silent, unless one alone fails.

    On each machine one process writes to stderr.

    Raises:
        UserError: accelerate was asked for several processes but started one, as it does on a machine without GPUs.
    """
    if count() == 1:
        if "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_ADDR" in os.environ and "RANK" not in os.environ:
            raise UserError(
                "accelerate launch: started one process only, as it does without several GPUs; add --multi_gpu, which "
                "starts --num_processes processes also on CPUs"
            )
        return
    atexit.register(_leave)  # registered first, it runs last
    import torch

    backends = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(backends, timeout=PATIENCE)
    if not is_first():
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  open until the process ends
        if os.environ["LOCAL_RANK"] != "0":
            sys.stderr = io.StringIO()
    atexit.register(_report, torch.distributed.distributed_c10d._get_default_store())


def _report(store: Store) -> None:
    """At a failure print the last words of a silent process, unless the first process fails, too, and has told why."""
    if is_first():
        store.set("failed", "first")
    elif isinstance(sys.stderr, io.StringIO):
        try:
            store.wait(["failed"], LINGER)
        except RuntimeError:  # it goes on, and the launcher will end it
            print(f"process {rank()}:", *sys.stderr.getvalue().splitlines()[-20:], sep="\n", file=sys.__stderr__)


def end() -> None:
    """Wait for the first process, then leave the others."""
    global _ended
    if count() > 1:
        import torch

        wait_for_first()
        torch.distributed.destroy_process_group()
        atexit.unregister(_report)
        _ended = True


def _leave() -> None:
    """End a process whose launch is over at once: threads of torch.distributed may outlive it and abort it.

    See https://github.com/pytorch/pytorch/issues/190489 and https://github.com/pytorch/pytorch/pull/179291.
    """
    if _ended:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(0)


def refuse(what: str) -> None:
    """Refuse to train in several processes.

    Raises:
        UserError: there are several; the message is ``what`` and their number.
    """
    if count() > 1:
        raise UserError(f"{what}, not in the {count()} of this launch")


def agreed(value: T) -> T:
    """The first process's ``value`` in all processes; the others wait for it."""
    if count() == 1:
        return value
    import torch

    values = [value]
    torch.distributed.broadcast_object_list(values)
    return values[0]


def wait_for_first() -> None:
    """Wait until the first process has come here, which itself does not wait."""
    agreed(None)


@contextmanager
def first_alone() -> Iterator[None]:
    """Run a block in the first process, then in the others, which find what the first has written."""
    if not is_first():
        wait_for_first()
    yield
    if is_first():
        wait_for_first()


def total(values: Sequence[float]) -> list[float]:
    """Each value summed over the processes."""
    if count() == 1:
        return list(values)
    import torch

    sums = torch.tensor(values, dtype=torch.float64)
    torch.distributed.all_reduce(sums)
    return sums.tolist()


def own_turn(step: int) -> bool:
    """Whether this process computes the batch ``step``, where whole batches are distributed."""
    return step % count() == rank()


def copy_first(tensors: Iterable[Tensor]) -> None:
    """Overwrite the tensors of all processes with those of the first."""
    if count() == 1:
        return
    import torch

    for tensor in tensors:
        values = tensor.detach().contiguous()
        torch.distributed.broadcast(values, src=0)
        tensor.detach().copy_(values)


class Share:
    """The rows of a batch that this process computes.

    A process without a row, because the batch has fewer rows than there are processes, computes another's with the
    weight 0.

    Attributes:
        clips: the number of its rows.
        weight: their share of the batch.
    """

    def __init__(self, batch: int) -> None:
        start, end = (batch * number // count() for number in (rank(), rank() + 1))
        self.clips, self.weight = end - start, (end - start) / batch
        self._rows = slice(start, max(end, start + 1))

    def __call__(self, *tensors: Tensor) -> Sequence[Tensor]:
        """The rows of tensors (B, ...)."""
        return tensors if count() == 1 else [tensor[self._rows] for tensor in tensors]

    @contextmanager
    def own_draws(self) -> Iterator[None]:
        """Draw other random numbers than the other processes, for dropout and the like.

        Later draws are equal again, and the same as in one process if nothing was drawn here.
        """
        if count() == 1:
            yield
            return
        import torch

        gpu = torch.cuda.is_initialized()
        with torch.random.fork_rng([torch.cuda.current_device()] if gpu else []):
            torch.manual_seed(int(torch.randint(2**62, ())) + rank())
            before = torch.get_rng_state(), torch.cuda.get_rng_state() if gpu else torch.empty(0)
            yield
            after = torch.get_rng_state(), torch.cuda.get_rng_state() if gpu else torch.empty(0)
        if not all(map(torch.equal, before, after)):
            torch.rand(())  # otherwise the next seed might be the same

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Turn gradients of means over the own rows into gradients of means over the batch, in all processes."""
        if count() == 1:
            return
        import torch

        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients]).mul_(self.weight)
        torch.distributed.all_reduce(flat)
        for gradient, values in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(values.view(gradient.shape))
