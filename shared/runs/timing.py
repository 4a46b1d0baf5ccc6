"""Seconds an epoch of training takes, measured the same way in both frameworks."""

import time
from collections.abc import Mapping, Sequence

import numpy as np


class EpochTimer:
    """start() at the first batch, stop() after the last: validation and checkpoints are not training."""

    def __init__(self, clips: int) -> None:
        self.clips, self._began, self._ended = clips, 0.0, None

    def start(self) -> None:
        self._began, self._ended = time.perf_counter(), None

    def stop(self) -> None:
        if self._ended is None:
            self._ended = time.perf_counter()

    def metrics(self) -> dict[str, float]:
        self.stop()
        seconds = self._ended - self._began
        return {"time/epoch_seconds": seconds, "time/clips_per_second": self.clips / seconds}


def training_cost(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Medians over the epochs, the first left out where there are others: it holds compilation and cold caches."""
    steady = history[1:] or history
    median = {
        name: float(np.median([epoch[name] for epoch in steady]))
        for name in ("time/epoch_seconds", "time/clips_per_second")
    }
    return median | {
        "time/train_seconds": sum(epoch["time/epoch_seconds"] for epoch in history),
        "train/epochs": len(history),
    }
