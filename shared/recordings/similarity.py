"""Which clips come of one recording, where no name tells it: near-duplicates, groups and a check for leaking splits.

Clips that share audio are found by correlating the detail of their spectrograms; clips that share no moment but a
place and a microphone, by their mean spectra. Neither depends on a clip's level, nor on where it was cut. Arrays are to
be in dB, relative or absolute; what the cache holds as ln(1 + mel) is brought there.
"""

import itertools
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import fft
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score, homogeneity_score
from sklearn.metrics.cluster import pair_confusion_matrix
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits  # scikit-learn brings it

from shared.errors import UserError
from shared.features.cache import Features
from shared.recordings.embedding import AnyFeatures, chunks, embed
from shared.recordings.thresholds import DISTANCE, THRESHOLD

MAX_BANDS, MAX_FRAMES = 32, 128  # of what is correlated; what is finer is averaged
MIN_OVERLAP = 0.4  # share of a clip two must have in common; consecutive slices of UrbanSound8K have 0.5
MIN_ENERGY = 0.2  # share of a clip's energy that the common part counts as holding at least: one click proves nothing
LEAST_TRUST = 0.56  # factor on the similarity of the shortest clips, so that copies still pass the threshold
DIMENSIONS = 24  # of the embedding: with more, recordings are torn apart more often, and leak
BLOCK = 128  # clips compared at a time
MOST = 20_000  # clips whose pairs are all compared: two hundred million pairs take some ten minutes


def near_duplicates(features: AnyFeatures) -> pd.DataFrame:
    """Every pair of the clips (N, M, T) that share audio, whatever their levels and cuts; of more than MOST clips,
    every pair of a random sample of that many.

    All pairs are correlated at all shifts that leave ``MIN_OVERLAP`` in common, by FFT and in blocks: memory grows by
    some 50 KB a clip, time by 2 to 3 microseconds a pair. Correlated is the change from frame to frame of the
    difference of neighbouring bands (Haitsma and Kalker, "A Highly Robust Audio Fingerprinting System", 2002, keep its
    sign): level, colour of the channel and all that is steady drop out, and strangers hardly correlate.

    Returns:
        Columns i < j and similarity, the most alike first: the correlation of the common part at the best shift, less
        where the clips hold little sound; from THRESHOLD to 1.
    """
    found, places = [np.empty((3, 0))], np.arange(len(features))
    if len(features) > MOST:
        places = np.sort(np.random.default_rng(0).choice(places, MOST, replace=False))
        features = features.take(places) if isinstance(features, Features) else features[places]
    if len(features):
        parts = zip(*(_details(x, sounds) for x, sounds in chunks(features)), strict=True)
        spectra, first, second = (np.concatenate(part, axis=1) for part in parts)
    blocks = [slice(start, start + BLOCK) for start in range(0, len(features), BLOCK)]

    def compare(two: tuple[slice, slice]) -> np.ndarray:
        a, b = two
        best = _correlate(spectra[:, a], spectra[:, b], first[:, a], second[:, b])
        i, j = np.nonzero(best >= THRESHOLD)
        return np.stack([i + a.start, j + b.start, best[i, j]])[:, i + a.start < j + b.start]

    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:  # small products are no work for two threads
        found += pool.map(compare, itertools.combinations_with_replacement(blocks, 2))
    pairs = pd.DataFrame(np.concatenate(found, axis=1).T, columns=["i", "j", "similarity"])
    pairs = pairs.assign(i=places[pairs.i.astype(int)], j=places[pairs.j.astype(int)])
    return pairs.sort_values(["similarity", "i", "j"], ascending=[False, True, True], ignore_index=True)


def _details(x: np.ndarray, sounds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The FFT (F, B, bands) over time of what is correlated, and what scales each clip as the earlier and as the later
    of a pair, (shifts, B): one over the root of its energy in the common part."""
    b, bands, frames = x.shape
    edges = np.linspace(0, bands, min(bands, MAX_BANDS) + 1).astype(int)
    pool = -(-frames // MAX_FRAMES)
    x = np.add.reduceat(x, edges[:-1], axis=1) / np.diff(edges)[:, None]
    x = x[..., : frames // pool * pool].reshape(b, len(edges) - 1, -1, pool).mean(axis=-1)
    sounds = sounds[:, : frames // pool * pool].reshape(b, -1, pool).all(axis=-1)
    # where padding begins or ends all bands jump at once, and that is no likeness
    x = np.diff(np.diff(x, axis=2), axis=1) * (sounds[:, None, 1:] & sounds[:, None, :-1])
    frames = x.shape[-1]
    most = int(frames * (1 - MIN_OVERLAP))
    shifts = np.arange(-most, most + 1)
    before = np.pad(np.cumsum((x**2).sum(axis=1), axis=1), ((0, 0), (1, 0))).T  # energy before each frame
    least = np.maximum(MIN_ENERGY * before[-1], 1e-9)
    starts, common = (np.maximum(shifts, 0), np.maximum(-shifts, 0)), frames - np.abs(shifts)
    # the less there is to compare, the likelier is chance: utterances of a word by one speaker reach 0.86
    trust = np.clip(sounds.sum(axis=1) / (MIN_OVERLAP * frames), LEAST_TRUST**2, 1) ** 0.25
    scales = [trust / np.sqrt(np.maximum(before[at + common] - before[at], least)) for at in starts]
    n_fft = 2 * fft.next_fast_len(-(-(frames + most) // 2))  # even, so that irfft knows it by F
    return fft.rfft(x.astype(np.float32), n_fft).transpose(2, 0, 1), *np.float32(scales)


def _correlate(a: np.ndarray, b: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The highest correlation (A, B) over all shifts of each clip of a block with each of another (see _details)."""
    r = fft.irfft(a @ b.conj().transpose(0, 2, 1), axis=0, overwrite_x=True)
    best = np.full(r.shape[1:], -1, r.dtype)
    for k, (early, late) in enumerate(zip(first, second, strict=True)):  # one shift stays in the processor's cache
        np.maximum(best, r[k - len(first) // 2] * early[:, None] * late, out=best)
    return best


def similarity_groups(
    features: AnyFeatures, labels: Sequence[str], *, distance: float = DISTANCE, pairs: pd.DataFrame | None = None
) -> np.ndarray:
    """Groups to split by where no recordings are known: (N,) names, the label and the position of the first clip.

    Average linkage joins what is nearer than ``distance`` (1 - cosine of ``embed``, 0 to 2) within a class; then
    near-duplicates are joined whatever their class, so that none can stand in two splits. Memory grows with the square
    of a class. Takes the clips (N, M, T), N labels and ``pairs``, what ``near_duplicates`` returned if asked before.

    Raises:
        UserError: more than MOST clips: a group must not miss a pair.
    """
    labels, n = np.asarray(labels, dtype=object), len(features)
    if len(labels) != n:
        raise ValueError(f"{len(labels)} labels for {n} clips")
    if n > MOST:
        raise UserError(
            f"{n} clips cannot be grouped by similarity: every two are compared, which takes hours above {MOST}; "
            "use --fraction, or tell recordings by file name (fsID-classID-occurrence-slice)"
        )
    pairs = near_duplicates(features) if pairs is None else pairs
    rows, clusters = embed(features, dimensions=DIMENSIONS), np.arange(n)
    average = AgglomerativeClustering(None, metric="precomputed", linkage="average", distance_threshold=distance)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) > 1:
            found = average.fit_predict(np.maximum(1 - rows[members] @ rows[members].T, 0))
            clusters[members] = members[found]  # any number of the class's own does
    ends = np.concatenate([np.arange(n), pairs.i]), np.concatenate([n + clusters, pairs.j])
    links = coo_array((np.ones(len(ends[0])), ends), shape=(2 * n, 2 * n))  # clips, and clusters as nodes of their own
    _, firsts, groups = np.unique(connected_components(links)[1][:n], return_index=True, return_inverse=True)
    return np.array([f"{labels[first]}-{first:05d}" for first in firsts], dtype=object)[groups]


def leak_check(features: AnyFeatures, split: Sequence[str], groups: Sequence[str] | None = None) -> pd.DataFrame:
    """The near-duplicates in different splits: what is reported was partly trained on.

    Takes the clips (N, M, T), N splits ("" is none) and the N groups they were split by (None: each by itself).
    Returns rows of ``near_duplicates`` with split_i, split_j and same_group, which tells whether the split disregards
    the groups or the groups miss a likeness.
    """
    split, groups = (np.asarray(a, dtype=object) for a in (split, range(len(split)) if groups is None else groups))
    if not len(split) == len(groups) == len(features):
        raise ValueError(f"{len(split)} splits and {len(groups)} groups for {len(features)} clips")
    pairs = near_duplicates(features)
    pairs = pairs.assign(split_i=split[pairs.i], split_j=split[pairs.j], same_group=groups[pairs.i] == groups[pairs.j])
    leaks = (pairs.split_i != pairs.split_j) & (pairs.split_i != "") & (pairs.split_j != "")
    return pairs[leaks].reset_index(drop=True)


def leak_warning(leaks: pd.DataFrame, paths: Sequence[Path], *, worst: int = 3) -> str:
    """What ``leak_check`` found among the clips at ``paths``, in one line; "" if nothing."""
    sample = f" in a sample of {MOST} of {len(paths)} clips" if len(paths) > MOST else ""
    pairs = [f"{Path(paths[i]).name} = {Path(paths[j]).name}" for i, j in leaks[["i", "j"]].head(worst).to_numpy()]
    text = f"WARNING: {len(leaks)} near-duplicate pairs{sample} stand in different splits and LEAK, above all "
    return text + ", ".join(pairs) if pairs else ""


def agreement(groups: Sequence[str], recordings: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """How well groups recover known recordings, as shares of 1; each argument has N items.

    leak/groups is the share of held-out clips that have another clip of their recording in training, over five times
    five folds by these groups; leak/random the same of folds by clip.
    """
    (_, false), (missed, true) = pair_confusion_matrix(recordings, groups)
    found = {
        "pairs/precision": true / max(1, true + false),
        "pairs/recall": true / max(1, true + missed),
        "pairs/f1": 2 * true / max(1, 2 * true + false + missed),
        "adjusted_rand": adjusted_rand_score(recordings, groups),
        "homogeneity": homogeneity_score(recordings, groups),
        "completeness": homogeneity_score(groups, recordings),
    }
    recordings = np.asarray(recordings, dtype=object)
    splitters = [StratifiedGroupKFold(5, shuffle=True, random_state=seed) for seed in range(5)]
    for name, units in (("groups", groups), ("random", np.arange(len(recordings)))):
        with warnings.catch_warnings(action="ignore"):  # a class of fewer than five clips
            folds = [fold for splitter in splitters for fold in splitter.split(labels, labels, units)]
        found[f"leak/{name}"] = np.concatenate([np.isin(recordings[h], recordings[rest]) for rest, h in folds]).mean()
    return {name: float(value) for name, value in found.items()}
