"""Compare the speed of two implementations by timing them alternately."""

import gc
import time
from collections.abc import Callable

import numpy as np

PAUSE = 0.5  # seconds until the threads of earlier work have gone to sleep; OpenBLAS's wait busily at first


def seconds(work: Callable[[], object]) -> float:
    """Time ``work``. A pause and a garbage collection come first, so that it does not pay for earlier work."""
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
