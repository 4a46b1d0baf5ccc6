"""Timing one way of doing a thing against another, in turn."""

import time
from collections.abc import Callable

import numpy as np


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(title: str, ours: Callable[[], object], rival: Callable[[], object], *, clips: int, rounds: int) -> None:
    """Print how many times faster ``ours`` is than ``rival``: median, least and most over the rounds."""
    ours(), rival()  # warm up
    pairs = [(seconds(ours), seconds(rival)) for _ in range(rounds)]
    ratios = sorted(b / a for a, b in pairs)
    mine, theirs = (clips / float(np.median(column)) for column in zip(*pairs, strict=True))
    print(
        f"{title}: {np.median(ratios):.2f} times the rival (least {ratios[0]:.2f}, most {ratios[-1]:.2f}); "
        f"{mine:.1f} against {theirs:.1f} clips/s",
        flush=True,
    )
