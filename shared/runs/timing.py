"""How long the epochs of a training take, measured the same way in both frameworks."""

import time
from collections.abc import Mapping, Sequence

import numpy as np


def duration(seconds: float) -> str:
    """Format a duration in one unit: 40 s, 9 min or 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


class EpochTimer:
    """Times an epoch from start(), before its first batch, to stop(), after its last; validation does not count."""

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
    """Seconds and clips per second of the median epoch, seconds of all epochs, and the number of epochs.

    With several epochs, the median leaves out the first, which compiles and fills caches.
    """
    steady = history[1:] or history
    names = ("time/epoch_seconds", "time/clips_per_second")
    median = {name: float(np.median([epoch[name] for epoch in steady])) for name in names}
    return median | {
        "time/train_seconds": sum(epoch["time/epoch_seconds"] for epoch in history),
        "train/epochs": len(history),
    }
