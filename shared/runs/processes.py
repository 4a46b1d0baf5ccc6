"""Work in a process of its own: one process never imports both TensorFlow and PyTorch."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a module's function in a new process and return its result; its exception is raised here."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:  # a forked one would inherit the framework
        return pool.submit(function, *arguments).result()
