"""The plots of runs and reports. Each is written to a temporary PNG first and then moved into place."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure  # not pyplot, which keeps figures in memory and needs a display backend
from matplotlib.image import imsave
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from shared.audio import fix_length
from shared.features.spec import TOP_DB, FeatureSpec
from shared.features.transforms import mel_spectrogram, power_to_db, stft
from shared.files import replacing

STEP_DB = 2.5  # levels in the small pictures of a page: four times fewer bytes than all 256 colours


def save_figure(path: Path, figure: Figure) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, facecolor="white")


def plot_confusion(path: Path, matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> None:
    """Plot a confusion matrix (K, K), true classes as rows: shaded by the share of the row, labelled with counts.

    With more than 15 classes the cells are smaller, and those of 0 clips have no label.
    """
    counts, many = np.asarray(matrix), len(classes) > 15
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = max(4.2, 0.8 + (0.4 if many else 0.75) * len(classes))
    figure = Figure(figsize=(size + 0.6, size), layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ax.set_xticks(range(len(classes)), classes, rotation=40, ha="right")
    ax.set_yticks(range(len(classes)), classes)
    ax.set(xlabel="predicted", ylabel="true")
    for (row, column), count in np.ndenumerate(counts):
        if count or not many:
            color = "white" if shares[row, column] > 0.55 else "black"
            ax.text(column, row, count, ha="center", va="center", color=color, fontsize=8 if many else 9)
    figure.colorbar(image, ax=ax, label="share of the true class", shrink=0.8)
    save_figure(path, figure)


def plot_history(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Plot curves over epochs, one panel for each quantity: "train/loss" and "val/loss" share the panel "loss".

    A metric may be missing in some epochs.
    """
    panels: dict[str, list[str]] = {}
    for key in dict.fromkeys(key for line in history for key in line):
        if key != "epoch" and not key.startswith("time/"):
            panels.setdefault(key.split("/", 1)[1], []).append(key)
    figure = Figure(figsize=(4.2 * len(panels), 3.2), layout="constrained")
    for ax, (quantity, keys) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        for key in keys:
            points = [(line["epoch"] + 1, line[key]) for line in history if key in line]
            ax.plot(*zip(*points, strict=True), ".-", label=key, markersize=4)
        ax.set(xlabel="epoch", ylabel=quantity.replace("_", " "))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if quantity == "learning_rate" and any(line.get(key, 0) > 0 for line in history for key in keys):
            ax.set_yscale("log")
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
    save_figure(path, figure)


def as_image(x: np.ndarray, spec: FeatureSpec) -> tuple[np.ndarray, str]:
    """Convert features x (``spec.shape``) to an image (bands, frames) without padding; also returns its unit."""
    if spec.kind == "waveform":
        return power_to_db(np.abs(stft(x, n_fft=spec.n_fft, hop_length=spec.hop_length)) ** 2), "dB"
    x = (x[0] if spec.kind == "amplitude_phase" else x)[..., : spec.clip_frames]
    if spec.kind == "mfcc":
        return x, "coefficient"
    if spec.scaling == "unit":
        return (x - 1) * TOP_DB / 2, "dB"
    value = "power" if spec.power == 2 else "magnitude"
    return x, {"db": "dB", "log1p": f"ln(1 + {value})", "ln": f"ln({value})"}[spec.scaling]


def spectrogram_png(y: np.ndarray, spec: FeatureSpec) -> bytes:
    """A mel spectrogram of y (N,) as a PNG without axes, ``spec.shape`` pixels, from -80 to 0 dB re its maximum."""
    S = power_to_db(mel_spectrogram(fix_length(y, size=spec.n_samples), spec))
    buffer = io.BytesIO()
    rounded = np.round(S / STEP_DB) * STEP_DB
    imsave(buffer, rounded, origin="lower", cmap="magma", vmin=-TOP_DB, vmax=0, format="png")
    return buffer.getvalue()


def plot_features(path: Path, features: Mapping[str, np.ndarray], spec: FeatureSpec, *, title: str) -> None:
    """Plot several named clips, each ``spec.shape``, in a grid with one colour scale."""
    images, units = zip(*(as_image(x, spec) for x in features.values()), strict=True)
    columns = min(len(features), {8: 4}.get(len(features), 5 if len(features) <= 50 else 10))
    rows = -(-len(features) // columns)
    width, height = 3.1 * columns + 1.4, 2.5 * rows + 0.9  # inches
    figure = Figure(figsize=(width, height))  # fixed margins: to compute them takes longer than the drawing
    grid = {"left": 0.7 / width, "right": 1 - 1.1 / width, "bottom": 0.55 / height, "top": 1 - 0.75 / height}
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True, gridspec_kw=grid | {"wspace": 0.06})
    low, high = min(S.min() for S in images), max(S.max() for S in images)
    for ax in axes.flat[len(features) :]:
        ax.set_axis_off()
    for ax, name, S in zip(axes.flat, features, images, strict=False):
        extent = (0, S.shape[1] * spec.hop_length / spec.sr, 0, S.shape[0])
        image = ax.imshow(S, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high, extent=extent)
        ax.set_title(name, fontsize=10)
    for ax in axes.flat[: len(features)][-columns:]:  # the lowest of each column
        ax.set_xlabel("seconds")
        ax.tick_params(labelbottom=True)
    for ax in axes[:, 0]:
        ax.set_ylabel("band")
    scale = figure.add_axes((1 - 0.9 / width, grid["bottom"], 0.2 / width, grid["top"] - grid["bottom"]))
    figure.colorbar(image, cax=scale, label=units[0])
    figure.suptitle(title, y=1 - 0.15 / height, va="top")
    save_figure(path, figure)


def plot_mosaic(path: Path, rows: Mapping[str, Sequence[np.ndarray]], spec: FeatureSpec, *, title: str) -> None:
    """Plot many clips ``spec.shape`` in one image and colour scale: a row for each name, equally many clips in each."""
    unit = next(as_image(clips[0], spec)[1] for clips in rows.values())
    tiles = [[np.pad(as_image(x, spec)[0][::-1], 2, constant_values=np.nan) for x in clips] for clips in rows.values()]
    height, width = tiles[0][0].shape
    figure = Figure(figsize=(1.1 * len(tiles[0]) + 1.8, 1.0 * len(tiles) + 0.9), layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(np.block(tiles), aspect="auto", cmap="magma")
    ax.set_yticks((np.arange(len(tiles)) + 0.5) * height, list(rows))
    ax.set_xticks((np.arange(len(tiles[0])) + 0.5) * width, range(len(tiles[0])))
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_xlabel(f"each image: {spec.duration:g} s wide, {height - 4} bands high")
    figure.colorbar(image, ax=ax, label=unit, shrink=0.9, pad=0.01)
    figure.suptitle(title)
    save_figure(path, figure)


def plot_timeline(
    path: Path,
    S: np.ndarray,
    edges: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    *,
    frequencies: np.ndarray,
    title: str,
) -> None:
    """Plot a recording's spectrogram above its class probabilities over time, with the most probable class outlined.

    Args:
        S: spectrogram in dB (M, T) of the whole recording.
        edges: times in seconds (W + 1,) that bound the W windows.
        probabilities: (K, W); the 12 classes with the highest maxima are shown.
        frequencies: centres of the mel bands in Hz (M,).
    """
    shown = np.sort(np.argsort(-probabilities.max(axis=1), kind="stable")[:12])
    end = float(edges[-1])
    heights = [2.4, max(1.4, 0.32 * len(shown))]  # inches
    figure = Figure(figsize=(min(18.0, max(8.0, 6.0 + end / 8)), sum(heights) + 0.8), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=heights)
    image = top.imshow(
        S, origin="lower", aspect="auto", cmap="magma", extent=(0, end, 0, len(S)), interpolation="nearest"
    )
    ticks = [f for f in (500, 1000, 2000, 4000, 8000, 16000) if frequencies[0] < f <= frequencies[-1]]
    names = [f"{f // 1000} kHz" if f >= 1000 else f"{f} Hz" for f in ticks]
    top.set_yticks(np.interp(ticks, frequencies, np.arange(len(S)) + 0.5), names)
    top.set_title(title, fontsize=10, loc="left")
    figure.colorbar(image, ax=top, label="dB", pad=0.01)
    mesh = bottom.pcolormesh(edges, np.arange(len(shown) + 1), probabilities[shown], cmap="Blues", vmin=0, vmax=1)
    best = probabilities.argmax(axis=0)
    line = {"fill": False, "edgecolor": "#d9480f", "linewidth": 1.6 if len(best) <= 200 else 0.7, "clip_on": False}
    for row, k in enumerate(shown):  # one outline for consecutive windows with the same class
        inside = np.flatnonzero(np.diff(np.concatenate([[0], best == k, [0]])))
        for first, last in inside.reshape(-1, 2):
            bottom.add_patch(Rectangle((edges[first], row), edges[last] - edges[first], 1, **line))
    bottom.hlines(np.arange(1, len(shown)), 0, end, color="0.85", linewidth=0.6)
    bottom.set_yticks(np.arange(len(shown)) + 0.5, [classes[k] for k in shown])
    bottom.invert_yaxis()
    bottom.tick_params(axis="y", length=0)
    bottom.set_xlim(0, end)
    if end > 180:
        bottom.xaxis.set_major_locator(MaxNLocator(steps=[1, 3, 6, 10], nbins=12))
        bottom.xaxis.set_major_formatter(lambda x, _: f"{int(x) // 60}:{int(x) % 60:02d}")
    bottom.set_xlabel("minutes:seconds" if end > 180 else "seconds")
    figure.colorbar(mesh, ax=bottom, label="probability", pad=0.01)
    save_figure(path, figure)
