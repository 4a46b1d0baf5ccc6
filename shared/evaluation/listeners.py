"""Figures of a listening test: intervals of shares, and the agreement between listeners."""

import itertools
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

Z = 1.959964  # the normal quantile of a two-sided 95 % interval


def wilson_interval(share: float, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share observed in n trials (Wilson 1927); it is within [0, 1] also for 0 and 1."""
    if n == 0:
        return 0.0, 1.0
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def agreement(answers: Sequence[Sequence[Hashable]]) -> tuple[float, float] | None:
    """How far listeners agree.

    Args:
        answers: for each sound, the answers of those who heard it; sounds with one answer do not count.

    Returns:
        The share of equal answers among all pairs of answers to one sound, and Krippendorff's alpha for nominal
        answers (Krippendorff 2011): 1 is perfect agreement, 0 is chance. None if no sound has two answers. Alpha is
        NaN if all answers are the same.
    """
    shared = [Counter(given) for given in answers if len(given) > 1]
    if not shared:
        return None
    totals: Counter = sum(shared, Counter())
    n = totals.total()
    pairs = sum(given.total() * (given.total() - 1) // 2 for given in shared)
    equal = sum(count * (count - 1) // 2 for given in shared for count in given.values())
    observed = sum(
        2 * a * b / (given.total() - 1) for given in shared for a, b in itertools.combinations(given.values(), 2)
    )
    expected = sum(2 * a * b for a, b in itertools.combinations(totals.values(), 2)) / (n - 1)
    return equal / pairs, 1 - observed / expected if expected else float("nan")
