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

_COLUMNS = 1600  # of the spectrogram in the figure, about its width in pixels
_RANGE_DB = 80.0  # of the figure, below the loudest bin of the recording


@dataclasses.dataclass(frozen=True, eq=False)
class Timeline:
    """The windows of one recording, W of them, in order.

    Attributes:
        classes: names of the K classes.
        starts, ends: seconds (W,); the window of a short recording ends where the recording ends.
        probabilities: float32 (W, K).
        y: the recording, mono float32 (N,) at spec.sr.
        spec: how the model's input was computed from each window.
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
        """Length of the recording in seconds."""
        return len(self.y) / self.spec.sr

    @property
    def labels(self) -> list[str]:
        """The most probable class of each window."""
        return [self.classes[k] for k in self.probabilities.argmax(axis=1)]

    @property
    def mean(self) -> np.ndarray:
        """Mean probabilities (K,) over the windows of the recording."""
        return self.probabilities.mean(axis=0)

    @property
    def edges(self) -> np.ndarray:
        """Seconds (W + 1,): between edges i and i + 1, the middle of window i is the nearest one."""
        middles = (self.starts + self.ends) / 2
        return np.concatenate([[0.0], (middles[1:] + middles[:-1]) / 2, [self.seconds]])

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yields a dict per window: start and end in seconds, label, probability, and p_<class> for every class."""
        for start, end, label, p in zip(self.starts, self.ends, self.labels, self.probabilities, strict=True):
            row = {"start": round(float(start), 3), "end": round(float(end), 3), "label": label}
            yield row | {"probability": round(float(p.max()), 6)} | by_class(self.classes, p, "p_")

    def save(self, csv_path: Path | str, png_path: Path | str, *, title: str) -> None:
        """Write ``rows`` as CSV, and a figure with the log-mel spectrogram above the probabilities over time."""
        from shared.report.plots import plot_timeline  # imported here: only the figure needs matplotlib

        write_text(Path(csv_path), csv_text(list(self.rows())))
        S = overview(self.y, self.spec)
        hz = mel_filterbank(self.spec).argmax(axis=1) * self.spec.sr / self.spec.n_fft  # centre of each band
        title += f": windows of {self.spec.duration:g} s, the most probable class outlined"
        plot_timeline(Path(png_path), S, self.edges, self.probabilities.T, self.classes, frequencies=hz, title=title)


def by_class(classes: Sequence[str], p: np.ndarray, prefix: str = "") -> dict[str, float]:
    """Probabilities (K,) as a dict keyed by class, rounded to six digits."""
    return {f"{prefix}{label}": round(float(value), 6) for label, value in zip(classes, p, strict=True)}


def csv_text(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with the same keys as the text of a CSV; floats have six digits."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: f"{v:.6g}" if isinstance(v, float) else v for key, v in row.items()} for row in rows)
    return buffer.getvalue()


def overview(y: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """The mel spectrogram of a recording y (N,) of any length: dB below its maximum, (M, at most _COLUMNS).

    Each column is the mean power of its frames. The computation is in blocks: an hour at once would take gigabytes.
    """
    frames = 1 + len(y) // spec.hop_length
    merged = -(-frames // _COLUMNS)  # frames per column
    block = merged * max(1, 4096 // merged) * spec.hop_length
    parts = [mel_spectrogram(y[start : start + block], spec) for start in range(0, len(y), block)]
    parts = [S[:, : block // spec.hop_length] for S in parts]  # the last frame of a block is the first of the next
    S = np.concatenate(parts, axis=1)
    first = np.arange(0, S.shape[1], merged)
    S = np.add.reduceat(S, first, axis=1) / np.diff(first, append=S.shape[1])
    S = np.maximum(S, S.max() * 10 ** (-_RANGE_DB * spec.power / 20))
    return 20 / spec.power * np.log10(S / S.max()) if S.max() > 0 else np.full_like(S, -_RANGE_DB)
