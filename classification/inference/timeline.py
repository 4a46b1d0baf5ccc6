"""Timeline: the predictions of a long recording's windows, as a CSV and a figure."""

import csv
import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shared.features.spec import FeatureSpec
from shared.features.transforms import mel_filterbank, mel_spectrogram
from shared.files import write_text

_COLUMNS = 1600  # of the figure's spectrogram: about its width in pixels
_RANGE_DB = 80.0  # the figure's range below the recording's loudest cell


@dataclasses.dataclass(frozen=True, eq=False)
class Timeline:
    """The windows of one recording, W of them, in order.

    Attributes:
        classes: names of the K classes.
        starts, ends: seconds (W,); the window of a shorter recording ends with it.
        probabilities: float32 (W, K).
        y: the recording, mono float32 (N,) at spec.sr.
        spec: how each window became the model's input.
    """

    classes: Sequence[str]
    starts: np.ndarray
    ends: np.ndarray
    probabilities: np.ndarray
    y: np.ndarray
    spec: FeatureSpec

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return len(self.y) / self.spec.sr

    @property
    def labels(self) -> list[str]:
        """The most probable class of each window."""
        return [self.classes[k] for k in self.probabilities.argmax(axis=1)]

    @property
    def mean(self) -> np.ndarray:
        """Probabilities (K,) of the recording: the mean over its windows."""
        return self.probabilities.mean(axis=0)

    @property
    def edges(self) -> np.ndarray:
        """Seconds (W + 1,): window i owns the time from edge i to edge i + 1, which is nearest to its middle."""
        middles = (self.starts + self.ends) / 2
        return np.concatenate([[0.0], (middles[1:] + middles[:-1]) / 2, [self.seconds]])

    def rows(self) -> Iterator[dict[str, Any]]:
        """One dict a window: start, end (seconds), label, probability and p_<class> of every class."""
        for start, end, label, p in zip(self.starts, self.ends, self.labels, self.probabilities, strict=True):
            row = {"start": round(float(start), 3), "end": round(float(end), 3), "label": label}
            yield row | {"probability": round(float(p.max()), 6)} | by_class(self.classes, p, "p_")

    def save(self, csv_path: Path | str, png_path: Path | str, *, title: str) -> None:
        """Write ``rows`` as CSV and the figure: the recording's log-mel above the probabilities over time."""
        from shared.report.plots import plot_timeline  # imported here: only the figure needs matplotlib

        write_text(Path(csv_path), csv_text(list(self.rows())))
        S = overview(self.y, self.spec)
        hz = mel_filterbank(self.spec).argmax(axis=1) * self.spec.sr / self.spec.n_fft  # of the bands
        title += f": windows of {self.spec.duration:g} s, the most probable class outlined"
        plot_timeline(Path(png_path), S, self.edges, self.probabilities.T, self.classes, frequencies=hz, title=title)


def by_class(classes: Sequence[str], p: np.ndarray, prefix: str = "") -> dict[str, float]:
    """Probabilities (K,) under the names of their classes, rounded to six digits."""
    return {f"{prefix}{label}": round(float(value), 6) for label, value in zip(classes, p, strict=True)}


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with the same keys as CSV, floats with six digits."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: f"{v:.6g}" if isinstance(v, float) else v for key, v in row.items()} for row in rows)
    return buffer.getvalue()


def overview(y: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """The mel spectrogram of a recording y (N,) of any length: dB below its maximum, (M, at most _COLUMNS).

    A column is the mean power of its frames. Computed in blocks: the frames of an hour would take gigabytes.
    """
    frames = 1 + len(y) // spec.hop_length
    merged = -(-frames // _COLUMNS)  # frames a column
    block = merged * max(1, 4096 // merged) * spec.hop_length
    parts = [mel_spectrogram(y[start : start + block], spec) for start in range(0, len(y), block)]
    parts = [S[:, : block // spec.hop_length] for S in parts]  # its last frame is the next one's first
    S = np.concatenate(parts, axis=1)
    first = np.arange(0, S.shape[1], merged)
    S = np.add.reduceat(S, first, axis=1) / np.diff(first, append=S.shape[1])
    S = np.maximum(S, S.max() * 10 ** (-_RANGE_DB * spec.power / 20))
    return 20 / spec.power * np.log10(S / S.max()) if S.max() > 0 else np.full_like(S, -_RANGE_DB)
