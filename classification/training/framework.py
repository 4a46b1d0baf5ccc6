"""Keras or PyTorch as a training needs it: how to fit, and how to load what was fitted."""

import importlib
import time
from collections.abc import Callable
from typing import NamedTuple

from classification.inference.blend import Forward
from classification.training.inputs import Inputs
from shared.runs.run import Run


class Framework(NamedTuple):
    fit: Callable[[Inputs, Run], dict[str, float]]
    load: Callable[..., Forward]
    startup: float  # seconds that its import took


def load_framework(name: str) -> Framework:
    """Import Keras or PyTorch, never both."""
    began = time.perf_counter()
    fit = importlib.import_module(f"classification.training.fit_{name}").fit
    load = importlib.import_module(f"classification.inference.{name}_model").load
    return Framework(fit, load, time.perf_counter() - began)
