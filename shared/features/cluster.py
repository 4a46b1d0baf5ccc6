"""Work on a Dask cluster: --scheduler ADDRESS for the workers of several machines, local for workers on this machine.

Jobs go to Dask itself because joblib's Dask backend waits forever for a job whose worker has died.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from shared.errors import UserError, not_installed

if TYPE_CHECKING:
    from distributed import Client, Future

LOCAL = "local"
ANSWER = 10  # seconds to wait for the scheduler's answer
WORKERS = 30  # seconds without a result after which a cluster without workers is given up
_IGNORE_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"  # a terminal sends it to all processes
_NO_CODE = ("deserialization", "No module named", "Can't get attribute")  # in errors of schedulers and workers


class Cluster:
    """An open connection to the workers of a cluster."""

    def __init__(self, client: Client, scheduler: str) -> None:
        self.client, self.scheduler = client, scheduler

    def threads(self) -> int:
        """The number of jobs that the workers compute at the same time."""
        return sum(self.client.nthreads().values())

    def run(self, function: Callable[..., Any], jobs: Iterable[tuple]) -> Iterator[Any]:
        """The results of ``function(*job)``, in the order in which they are ready.

        If a worker dies, another one computes its jobs.

        Raises:
            UserError: no workers are left, one job killed several of them, they lack the code, or the connection broke.
        """
        from distributed import KilledWorker

        jobs, running = iter(jobs), set()
        try:
            while True:
                free = max(0, 2 * max(1, self.threads()) - len(running))  # asked each time: clusters grow and shrink
                running |= {self.client.submit(function, *job, pure=False) for job in itertools.islice(jobs, free)}
                if not running:
                    return
                done = self._first(running)
                running -= done
                for future in done:
                    yield future.result()
        except KilledWorker as error:
            reason = "the same job killed several workers, perhaps for lack of memory; see their logs"
            raise UserError(f"--scheduler {self.scheduler}: {reason}") from error
        except (asyncio.CancelledError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # of a job: a full disk, a missing permission
                raise
            reason = "the connection broke; finished work is kept. Run the same command again"
            raise UserError(f"--scheduler {self.scheduler}: {reason}") from error
        except Exception as error:
            if not any(text in str(error) for text in _NO_CODE):
                raise
            remedy = "install the same code and packages on all machines (docs/cluster.md)"
            raise UserError(f"--scheduler {self.scheduler}: cannot load the code there; {remedy}") from error

    def _first(self, running: set[Future]) -> set[Future]:
        """Wait until at least one job has ended; return those that have."""
        from distributed import wait

        while True:
            with contextlib.suppress(TimeoutError):
                return wait(running, timeout=WORKERS, return_when="FIRST_COMPLETED").done
            if not self.threads():
                raise UserError(f"--scheduler {self.scheduler}: has no workers; start some with dask worker ADDRESS")


@contextlib.contextmanager
def connect(scheduler: str, n_jobs: int) -> Iterator[Cluster]:
    """Open the connection to a scheduler, or start a cluster of ``n_jobs`` processes on this machine.

    Raises:
        UserError: Dask is not installed, or no scheduler answers.
    """
    try:
        import distributed
    except ImportError as error:
        raise UserError(f"--scheduler {scheduler}: {not_installed('distributed')}") from error
    with contextlib.ExitStack() as stack:
        address = scheduler
        if scheduler == LOCAL:
            how = {"n_workers": n_jobs, "threads_per_worker": 1, "dashboard_address": ":0"}
            how |= {"preload": [_IGNORE_CTRL_C], "silence_logs": logging.ERROR}
            address = stack.enter_context(distributed.LocalCluster(**how))
        else:
            try:
                distributed.comm.get_address_host_port(address)
            except ValueError as error:
                raise UserError(f"--scheduler {scheduler}: {error}; use HOST:PORT or local") from error
        try:
            client = stack.enter_context(distributed.Client(address, timeout=ANSWER))
        except OSError as error:
            remedy = "start one with dask scheduler, or leave the option out"
            raise UserError(f"--scheduler {scheduler}: no Dask scheduler answers; {remedy}") from error
        yield Cluster(client, scheduler)
