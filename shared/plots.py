"""The figures of runs and reports, as PNG files that appear whole or not at all."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure  # no pyplot: it keeps figures alive and picks a screen
from matplotlib.ticker import MaxNLocator

from shared.files import replacing


def save_figure(path: Path, figure: Figure) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, facecolor="white")


def plot_confusion(path: Path, matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> None:
    """Confusion matrix (K, K), rows true: shaded by the share of the true class, labelled with counts."""
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = max(4.2, 0.8 + 0.75 * len(classes))
    figure = Figure(figsize=(size + 0.6, size), layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ax.set_xticks(range(len(classes)), classes, rotation=40, ha="right")
    ax.set_yticks(range(len(classes)), classes)
    ax.set(xlabel="predicted", ylabel="true")
    for (row, column), share in np.ndenumerate(shares):
        color = "white" if share > 0.55 else "black"
        ax.text(column, row, counts[row, column], ha="center", va="center", color=color, fontsize=9)
    figure.colorbar(image, ax=ax, label="share of the true class", shrink=0.8)
    save_figure(path, figure)


def plot_history(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Curves over epochs, one panel a quantity: keys "train/loss" and "val/loss" share the panel "loss"."""
    panels: dict[str, list[str]] = {}
    for key in history[0]:
        if key != "epoch" and not key.startswith("time/"):
            panels.setdefault(key.split("/", 1)[1], []).append(key)
    figure = Figure(figsize=(4.2 * len(panels), 3.2), layout="constrained")
    epochs = [line["epoch"] + 1 for line in history]
    for ax, (quantity, keys) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for key in keys:
            ax.plot(epochs, [line[key] for line in history], ".-", label=key, markersize=4)
        ax.set(xlabel="epoch", ylabel=quantity.replace("_", " "))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if quantity == "learning_rate":
            ax.set_yscale("log")
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
    save_figure(path, figure)


def plot_spectrograms(
    path: Path, spectrograms: Mapping[str, np.ndarray], *, sr: int, hop_length: int, title: str, unit: str
) -> None:
    """A grid of (M, T) spectrograms with their names, one colour scale for all; ``unit`` names what it shows."""
    columns = min(len(spectrograms), 5 if len(spectrograms) != 8 else 4)
    rows = -(-len(spectrograms) // columns)
    figure = Figure(figsize=(3.1 * columns + 0.8, 2.5 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    low = min(float(S.min()) for S in spectrograms.values())
    high = max(float(S.max()) for S in spectrograms.values())
    for ax in axes.flat[len(spectrograms) :]:
        ax.set_axis_off()
    for ax, (name, S) in zip(axes.flat, spectrograms.items(), strict=False):
        extent = (0, S.shape[1] * hop_length / sr, 0, S.shape[0])
        image = ax.imshow(S, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high, extent=extent)
        ax.set_title(name, fontsize=10)
    for ax in axes[-1]:
        ax.set_xlabel("seconds")
    for ax in axes[:, 0]:
        ax.set_ylabel("mel band")
    figure.colorbar(image, ax=axes, label=unit, shrink=0.9)
    figure.suptitle(title)
    save_figure(path, figure)
