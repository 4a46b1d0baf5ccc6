"""Compare the speed of two implementations by timing them alternately."""

import gc
import time
from collections.abc import Callable

import numpy as np

PAUSE = 0.5  # seconds, in which the threads of what ran before come to rest: OpenBLAS's wait busily for a while


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes, without what it inherits: others' busy threads and a garbage collection that is due."""
    time.sleep(PAUSE)
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare_speed(
    title: str, ours: Callable[[], object], other: Callable[[], object], *, clips: int, rounds: int
) -> None:
    """Print the speed of ``ours`` divided by that of ``other``: median, minimum and maximum over the rounds."""
    ours(), other()  # warm up
    pairs = [(seconds(ours), seconds(other)) for _ in range(rounds)]
    ratios = sorted(b / a for a, b in pairs)
    our_speed, other_speed = (clips / float(np.median(column)) for column in zip(*pairs, strict=True))
    print(
        f"{title}: {np.median(ratios):.2f} times as fast ({ratios[0]:.2f} to {ratios[-1]:.2f}); "
        f"{our_speed:.1f} and {other_speed:.1f} clips/s",
        flush=True,
    )
