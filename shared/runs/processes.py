"""Work in a process of its own: one process never imports both TensorFlow and PyTorch."""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a module's function in a new process and return its result; its exception is raised here."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:  # a forked one would inherit the framework
        return pool.submit(_call, function, arguments).result()


def _call(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    try:
        return function(*arguments)
    finally:
        if "joblib" in sys.modules:  # its workers end after five idle minutes, and this process would wait for them
            from joblib.externals.loky import get_reusable_executor

            get_reusable_executor().shutdown(wait=True, kill_workers=True)
