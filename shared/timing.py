"""Seconds an epoch of training takes, measured the same way in both frameworks."""

import time


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
