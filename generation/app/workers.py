"""The app's worker processes. Each keeps its models between calls; TensorFlow and PyTorch never share a process."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from pkgutil import resolve_name as load
from typing import Any

from tqdm import tqdm

from shared.errors import UserError


class Worker:
    """A process that starts with the first call, does one call at a time, and is started again if it died.

    Args:
        name: the framework's, for messages.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock, self._pool, self._pid = threading.Lock(), None, 0

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function in the process and return its result; its exception is raised here.

        Args:
            function: its path "module:name", so that this process does not import the module.

        Raises:
            UserError: the process ended, killed by the system or by a crash; the next call starts another one.
        """
        pool = self._running()
        try:
            return pool.submit(_call, function, arguments).result()
        except BrokenExecutor as error:
            with self._lock:
                if self._pool is pool:
                    self._pool = None
            raise UserError(
                f"the {self.name} process ended unexpectedly, perhaps for lack of memory; "
                "it is started again: repeat the request"
            ) from error

    def stop(self) -> None:
        """End the process, also in the middle of a call."""
        with self._lock:
            if self._pool is None:
                return
            for process in multiprocessing.active_children():
                if process.pid == self._pid:
                    process.kill()
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _running(self) -> ProcessPoolExecutor:
        with self._lock:
            if self._pool is None:
                spawn = multiprocessing.get_context("spawn")  # a forked process would inherit the server's threads
                self._pool = ProcessPoolExecutor(1, mp_context=spawn, initializer=_prepare)
                self._pid = self._pool.submit(os.getpid).result()
            return self._pool


def _call(function: str, arguments: Sequence[Any]) -> Any:
    return load(function)(*arguments)


def _prepare() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches this process too, but the app ends it
    tqdm.set_lock(threading.RLock())  # its own lock is a semaphore, which a killed process leaves behind
    threading.Thread(target=_end_with_the_app, daemon=True).start()


def _end_with_the_app() -> None:
    multiprocessing.parent_process().join()  # also if the app was killed
    os._exit(1)
