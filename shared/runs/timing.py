"""Seconds an epoch of training takes, measured the same way in both frameworks."""

import time
from collections.abc import Mapping, Sequence

import numpy as np


class EpochTimer:
    """start() at the first batch, stop() after the last: validation and checkpoints are not training."""

    def __init__(self, clips: int) -> None:
        self.clips = clips

    def start(self) -> None:
        self._began, self._ended = time.perf_counter(), None

    def stop(self) -> None:
        self._ended = time.perf_counter()

    def metrics(self) -> dict[str, float]:
        seconds = (self._ended or time.perf_counter()) - self._began
        return {"time/epoch_seconds": seconds, "time/clips_per_second": self.clips / seconds}


def training_cost(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Medians over the epochs, the first left out where there are others: it holds compilation and cold caches."""
    steady = history[1:] or history
    names = ("time/epoch_seconds", "time/clips_per_second")
    median = {name: float(np.median([epoch[name] for epoch in steady])) for name in names}
    return median | {
        "time/train_seconds": sum(epoch["time/epoch_seconds"] for epoch in history),
        "train/epochs": len(history),
    }
