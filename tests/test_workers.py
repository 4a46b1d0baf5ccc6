"""The app's worker processes: they keep what they load, are started again after a crash, and end with the app."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from generation.app.workers import Worker
from shared.errors import UserError


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker("PyTorch")
    yield worker
    worker.stop()


def test_calls_are_made_in_one_process_of_their_own(worker: Worker) -> None:
    first, second = (worker.call("os:getpid") for _ in range(2))
    assert first == second != os.getpid()
    with pytest.raises(FileNotFoundError):
        worker.call("os:listdir", "/nowhere")
    assert worker.call("os:getpid") == first
    worker.stop()
    assert not psutil.pid_exists(first)


def test_a_process_that_died_is_one_clear_line_and_is_started_again(worker: Worker) -> None:
    with pytest.raises(UserError, match=r"the PyTorch process ended unexpectedly.*repeat the request") as raised:
        worker.call("os:_exit", 1)
    assert len(str(raised.value).splitlines()) == 1
    assert worker.call("os:getpid") != os.getpid()


def test_a_busy_process_is_ended_at_once(worker: Worker) -> None:
    worker.call("os:getpid")
    stopper = threading.Timer(0.3, worker.stop)
    began = time.monotonic()
    stopper.start()
    with pytest.raises(UserError):
        worker.call("time:sleep", 60)
    stopper.join()
    assert time.monotonic() - began < 20


def test_a_worker_does_not_outlive_a_killed_app() -> None:
    code = "import time; from generation.app.workers import Worker\n"
    code += "if __name__ == '__main__': print(Worker('Keras').call('os:getpid'), flush=True); time.sleep(60)"
    app = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    worker = psutil.Process(int(app.stdout.readline()))
    app.kill()
    app.wait()
    worker.wait(timeout=20)
