"""The plots of a study: scores over the trials, importances of the options, scores by the options' values."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from classification.tuning.space import text
from shared.report.plots import save_figure
from shared.search import Between, Space

Rows = Sequence[Mapping[str, Any]]  # trials: number, score (None: pruned), folds (the accuracy on each), values


def plot_scores(path: Path, rows: Rows) -> None:
    """The score of each complete trial and the best so far; a pruned trial is a cross at the mean of its folds."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    ax = figure.subplots()
    done = sorted((row["number"], row["score"]) for row in rows if row["score"] is not None)
    numbers, scores = np.array(done).T
    ax.step(numbers, np.maximum.accumulate(scores), where="post", color="0.6", label="best so far")
    ax.plot(numbers, scores, "o", label="complete")
    pruned = [(row["number"], np.mean(row["folds"])) for row in rows if row["score"] is None and row["folds"]]
    if pruned:
        ax.plot(*zip(*pruned, strict=True), "x", color="tab:red", label="pruned")
    ax.set(xlabel="trial", ylabel="accuracy on the inner folds")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(alpha=0.3)
    ax.legend(fontsize=8)
    save_figure(path, figure)


def plot_importances(path: Path, importances: Mapping[str, float]) -> None:
    """The share of the scores' variance that each option explains (fANOVA, Hutter et al. 2014)."""
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    ax = figure.subplots()
    names = sorted(importances, key=importances.get)
    bars = ax.barh([name.replace("_", "-") for name in names], [importances[name] for name in names])
    ax.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    ax.set(xlabel="share of the variance of the scores")
    ax.margins(x=0.12)
    save_figure(path, figure)


def plot_values(path: Path, rows: Rows, space: Space) -> None:
    """The scores of the complete trials by the value of each option; later trials are darker."""
    columns = min(4, len(space))
    lines = -(-len(space) // columns)
    figure = Figure(figsize=(3.1 * columns, 2.5 * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharey=True)
    done = [row for row in rows if row["score"] is not None]
    for ax in axes.flat[len(space) :]:
        ax.set_axis_off()
    for ax, (name, tried) in zip(axes.flat, space.items(), strict=False):
        x = _places(ax, [row["values"][name] for row in done], tried)
        order = [row["number"] for row in done]
        ax.scatter(x, [row["score"] for row in done], c=order, cmap="Blues", vmin=-max(order), edgecolors="0.3")
        ax.set_xlabel(name.replace("_", "-"))
        ax.grid(alpha=0.3)
    for ax in axes[:, 0]:
        ax.set_ylabel("accuracy")
    save_figure(path, figure)


def _places(ax: Axes, values: Sequence[Any], tried: Any) -> Sequence[float]:
    """Where values stand on the horizontal axis, which shows all values to try."""
    if isinstance(tried, Between):
        ax.set_xscale("log" if tried.log else "linear")
        ax.set_xlim(tried.low, tried.high)
        return values
    names = [text(value) for value in tried.examples]
    ax.set_xticks(range(len(names)), names, fontsize=8, rotation=15 if max(map(len, names)) > 6 else 0)
    ax.set_xlim(-0.5, len(names) - 0.5)
    return [names.index(text(value)) for value in values]
