"""Copies: generated sounds that are more like a training clip than training clips of different recordings are.

Sounds are compared by pictures of the final audio, 40-band log-mel spectrograms, over all shifts in time. The threshold
of a class is the 95 % quantile of what its training clips reach with their most similar training clip of another
recording. Clips of the same recording show what copying looks like.
"""

import math
from collections.abc import Collection
from typing import Any

import numpy as np

from generation.evaluation.clips import Pictured
from shared.evaluation.pictures import similarity, smooth
from shared.features.spec import FeatureSpec

PICTURE = FeatureSpec(n_fft=1024, hop_length=512, n_mels=40, power=1.0, scaling="ln")
QUANTILE = 0.95  # share of the training clips that are less like any clip of another recording than the threshold
SMOOTHING = 9  # frames, 0.2 s: as blurred as generated spectrograms are
SETS = {  # what is compared with the training clips -> heading
    "samples": "samples",
    "floor": "real held-out",
    "smoothed": "held-out, smoothed",
    "own_recording": "same recording",
}


def find_copies(
    samples: Pictured,
    searched: Pictured,
    floor: Pictured | None,
    *,
    compared: Pictured,
    common: Collection[str],
) -> dict[str, Any]:
    """Compare every sound with the training clips of its class.

    Args:
        searched: the training clips.
        floor: held-out clips; None if there are none.
        compared: the training clips that ``floor`` is compared with: none is of a recording of ``floor``.
        common: labels that samples and reference share; if there are none, all clips count as one class.

    Returns:
        all: set of SETS -> {"clips", "share"}, the share of its clips above the threshold of their class.
        by_label: label -> {"threshold", **set -> {"clips", "share", "median", "high"}}: median and 95 % quantile of the
            similarity to the most similar training clip.
        closest: the five samples most similar to a training clip.
    """
    by_label, closest = {}, []
    for label in sorted(common) or ["all"]:
        own, real, known, held = (_of_class(c, label, common) for c in (samples, searched, compared, floor))
        within = similarity(real[1], real[1])
        same = real[0].group.to_numpy()[:, None] == real[0].group.to_numpy()
        np.fill_diagonal(within, -np.inf)
        reached = {"samples": similarity(own[1], real[1])}
        if held is not None:
            reached["floor"] = similarity(held[1], known[1])
            reached["smoothed"] = similarity(smooth(held[1], frames=SMOOTHING), known[1])
        best = {name: s.max(axis=1, initial=-np.inf) for name, s in reached.items()}
        best["own_recording"] = np.where(same, within, -np.inf).max(axis=1, initial=-np.inf)
        others = np.where(same, -np.inf, within).max(axis=1, initial=-np.inf)
        others = others[np.isfinite(others)]
        threshold = float(np.quantile(others, QUANTILE)) if len(others) else math.nan
        by_label[label] = {"threshold": threshold} | {name: _figures(best.get(name), threshold) for name in SETS}
        if len(real[0]):
            place = reached["samples"].argmax(axis=1)
            closest += [
                {"sample": _name(own[0].iloc[i]), "real": _name(real[0].iloc[place[i]]), "similarity": float(value)}
                for i, value in enumerate(best["samples"])
            ]
    return {
        "all": {name: _pooled([row[name] for row in by_label.values()]) for name in SETS},
        "by_label": by_label,
        "closest": sorted(closest, key=lambda pair: -pair["similarity"])[:5],
    }


def _of_class(clips: Pictured | None, label: str, common: Collection[str]) -> tuple[Any, np.ndarray] | None:
    """Manifest and pictures (N, M, T) of one class; without common labels, of all clips."""
    if clips is None:
        return None
    rows = np.flatnonzero(clips.manifest.label == label) if common else np.arange(len(clips))
    return clips.manifest.iloc[rows], clips.features[rows]


def _figures(best: np.ndarray | None, threshold: float) -> dict[str, Any]:
    """Figures of the similarities (N,) to the most similar training clip; -inf where there is none."""
    best = np.array([]) if best is None else best[np.isfinite(best)]
    if not len(best):
        return {"clips": 0, "share": math.nan, "median": math.nan, "high": math.nan}
    share = math.nan if math.isnan(threshold) else float((best > threshold).mean())
    median, high = np.quantile(best, (0.5, QUANTILE)).tolist()
    return {"clips": len(best), "share": share, "median": median, "high": high}


def _pooled(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The share over the clips of all classes."""
    known = [(row["clips"], row["share"]) for row in rows if not math.isnan(row["share"])]
    clips = sum(n for n, _ in known)
    return {"clips": clips, "share": sum(n * share for n, share in known) / clips if clips else math.nan}


def _name(clip: Any) -> str:
    """A clip's file and, if it does not begin there, its start."""
    return f"{clip.path} at {clip.offset:g} s" if clip.offset else str(clip.path)
