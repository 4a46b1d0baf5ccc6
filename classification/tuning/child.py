"""The trainings of a trial in a process of their own: Keras keeps some memory of every model until its process ends."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

from classification.training.command import load_framework
from classification.training.plan import Part
from classification.tuning.trial import fold_accuracies
from shared.errors import UserError
from shared.runs.start import Clips

_SPAWN = multiprocessing.get_context("spawn")  # a fork would inherit the locks of other threads
PATIENCE = 20  # seconds that a child has to end by itself


def accuracies_of_child(framework: str, parts: Sequence[Part], inner: Clips, folder: Path) -> Iterator[float]:
    """``fold_accuracies``, computed by a child process, which trains on a fold when its accuracy is asked for.

    Raises:
        UserError: the child's, or the child was killed.
    """
    here, there = _SPAWN.Pipe()
    child = _SPAWN.Process(target=_serve, args=(there, framework, parts, inner, folder), daemon=True)
    child.start()
    there.close()
    busy = False
    try:
        for _ in parts:
            try:
                busy = True
                here.send("next")
                answer = here.recv()
                busy = False
            except (EOFError, ConnectionError):
                child.join()
                reason = f"the process of its training was killed (exit code {child.exitcode})"
                raise UserError(f"{folder}: {reason}, perhaps for lack of memory; run the same command again") from None
            if isinstance(answer, Exception):
                raise answer
            yield answer
    finally:
        here.close()  # ends a child that waits
        if busy:
            child.terminate()
        child.join(PATIENCE)
        child.kill()
        child.join()


def _serve(connection: Connection, framework: str, parts: Sequence[Part], inner: Clips, folder: Path) -> None:
    """Answer each message with the accuracy of the next fold, or with the error that ends the trial."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the parent ends this process
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # as after its last line: its semaphores are freed
    threading.Thread(target=_end_with_parent, daemon=True).start()
    accuracies: Iterator[float] | None = None
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        try:
            accuracies = accuracies or fold_accuracies(load_framework(framework), parts, inner, folder)
            answer: float | Exception = next(accuracies)
        except UserError as error:
            answer = error
        connection.send(answer)


def _end_with_parent() -> None:
    """End this process when its parent is killed, so that the next command may write to the run folder."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
