"""The progress of a training, the same for Keras and PyTorch: one bar on a terminal, a few plain lines in a log."""

import sys
import time
from collections.abc import Mapping
from typing import Self

from tqdm import tqdm

from shared.runs.timing import duration

_HIDDEN = ("time/", "optim/", "train/accuracy", "val/loss")  # history.jsonl has them
_LINE_EVERY = 10  # epochs, in a log


class Progress:
    """Shows epochs and batches with the remaining time on stderr.

    A terminal gets one bar for the whole training. A log gets a line for the first, the last and every tenth epoch.

    Args:
        epochs: epochs of the whole training.
        batches: batches per epoch.
        first: the epoch (counted from 0) at which this command starts; above 0 for a resumed run.
    """

    def __init__(self, epochs: int, batches: int, *, first: int = 0) -> None:
        self.epochs, self.batches, self.first = epochs, batches, first
        self.bar = tqdm(
            total=epochs * batches,
            initial=first * batches,
            desc=f"epoch {min(first + 1, epochs)}/{epochs}",
            bar_format="{desc} {percentage:3.0f}%|{bar}| {remaining} left{postfix}",
            dynamic_ncols=True,
            mininterval=0.5,
            smoothing=0.05,  # the remaining time should not jump with every slow batch
            disable=None,  # only a terminal gets the bar
        )
        self.began, self.timed = time.perf_counter(), first

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def batch(self) -> None:
        """Count one batch."""
        self.bar.update()

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Show the metrics of a finished epoch (counted from 0)."""
        done = epoch + 1
        figures = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items() if not name.startswith(_HIDDEN))
        self.bar.set_description_str(f"epoch {min(done + 1, self.epochs)}/{self.epochs}", refresh=False)
        self.bar.set_postfix_str(figures, refresh=done == self.epochs)
        if self.bar.disable and (epoch == self.first or done % _LINE_EVERY == 0 or done == self.epochs):
            left = f", {duration(self._seconds_left(done))} left" if done < self.epochs else ""
            print(f"epoch {done}/{self.epochs}: {figures}{left}", file=sys.stderr, flush=True)
        if epoch == self.first:  # it is slower than the others: it compiles and fills caches
            self.began, self.timed = time.perf_counter(), done

    def stop(self, done: int, reason: str) -> None:
        """Say why training stopped after ``done`` epochs, unless training was to end there."""
        self.bar.set_description_str(f"epoch {done}/{self.epochs}", refresh=False)
        self.bar.close()
        if done < self.epochs:
            print(f"stopped after epoch {done}/{self.epochs}: {reason}", file=sys.stderr, flush=True)

    def _seconds_left(self, done: int) -> float:
        """The time of the remaining epochs, from the mean of those timed so far."""
        return (time.perf_counter() - self.began) / (done - self.timed) * (self.epochs - done)
