"""Finds clips of the same recording by their sound: near-duplicates, groups, and leaks between splits.

Near-duplicates share audio and are found by correlating the fine structure of their spectrograms. Clips that share
only the place and the microphone are grouped by their mean spectra. Neither method depends on a clip's level or on
where it was cut. Arrays must be in dB, relative or absolute; cached ln(1 + mel) is converted.
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
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from shared.errors import UserError
from shared.features.shards import Features
from shared.recordings.embedding import AnyFeatures, chunks, embed
from shared.recordings.thresholds import DISTANCE, THRESHOLD

MAX_BANDS, MAX_FRAMES = 32, 128  # size of the correlated spectrograms; larger ones are averaged down
MIN_OVERLAP = 0.4  # minimum share of a clip in the common part; consecutive slices of UrbanSound8K share 0.5
MIN_ENERGY = 0.2  # minimum share of a clip's energy assumed in the common part, so that a single click is no match
LEAST_TRUST = 0.56  # factor on the similarity of the shortest clips; their copies still exceed the threshold
DIMENSIONS = 24  # of the embedding; with more dimensions, recordings are divided more often and leak
BLOCK = 128  # clips compared at a time
MOST = 20_000  # with more clips, a sample is compared; 200 million pairs take about ten minutes


def near_duplicates(features: AnyFeatures) -> pd.DataFrame:
    """Find all pairs of clips (N, M, T) that share audio, in a random sample of MOST clips if there are more.

    Each pair is correlated at all shifts with an overlap of at least ``MIN_OVERLAP``, by FFT and in blocks. It takes
    about 50 KB of memory per clip and 2 to 3 microseconds per pair. The correlated signal is the difference between
    neighbouring bands, differentiated over time; Haitsma and Kalker ("A Highly Robust Audio Fingerprinting System",
    2002) use its sign. It does not contain the level, the channel's frequency response or steady sounds, so unrelated
    clips hardly correlate.

    Returns:
        Columns i < j (positions of the clips) and similarity, sorted by descending similarity. The similarity is the
        correlation of the common part at the best shift, from THRESHOLD to 1; it is reduced for clips with little
        sound.
    """
    found, places = [np.empty((3, 0))], np.arange(len(features))
    if len(features) > MOST:
        places = np.sort(np.random.default_rng(0).choice(places, MOST, replace=False))
        features = features.take(places) if isinstance(features, Features) else features[places]
    if len(features):
        read = chunks(features, "reading spectrograms")
        parts = zip(*(_details(x, sounds) for x, sounds in read), strict=True)
        spectra, first, second = (np.concatenate(part, axis=1) for part in parts)
    blocks = [slice(start, start + BLOCK) for start in range(0, len(features), BLOCK)]
    tasks = list(itertools.combinations_with_replacement(blocks, 2))

    def compare(two: tuple[slice, slice]) -> np.ndarray:
        a, b = two
        best = _correlate(spectra[:, a], spectra[:, b], first[:, a], second[:, b])
        i, j = np.nonzero(best >= THRESHOLD)
        return np.stack([i + a.start, j + b.start, best[i, j]])[:, i + a.start < j + b.start]

    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:  # one thread per small matrix product
        done = pool.map(compare, tasks)
        found += tqdm(done, "finding near-duplicates", len(tasks), unit="block", delay=1, disable=None)
    pairs = pd.DataFrame(np.concatenate(found, axis=1).T, columns=["i", "j", "similarity"])
    pairs = pairs.assign(i=places[pairs.i.astype(int)], j=places[pairs.j.astype(int)])
    return pairs.sort_values(["similarity", "i", "j"], ascending=[False, True, True], ignore_index=True)


def _details(x: np.ndarray, sounds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prepare clips (B, M, T) for ``_correlate``.

    Returns:
        The FFT over time of the signal to correlate (F, B, bands), and two scales of each clip at each shift
        (shifts, B), as the first and as the second clip of a pair: 1 / sqrt of its energy in the common part.
    """
    b, bands, frames = x.shape
    edges = np.linspace(0, bands, min(bands, MAX_BANDS) + 1).astype(int)
    pool = -(-frames // MAX_FRAMES)
    x = np.add.reduceat(x, edges[:-1], axis=1) / np.diff(edges)[:, None]
    x = x[..., : frames // pool * pool].reshape(b, len(edges) - 1, -1, pool).mean(axis=-1)
    sounds = sounds[:, : frames // pool * pool].reshape(b, -1, pool).all(axis=-1)
    # all bands jump where padding begins or ends, which must not count as similarity
    x = np.diff(np.diff(x, axis=2), axis=1) * (sounds[:, None, 1:] & sounds[:, None, :-1])
    frames = x.shape[-1]
    most = int(frames * (1 - MIN_OVERLAP))
    shifts = np.arange(-most, most + 1)
    before = np.pad(np.cumsum((x**2).sum(axis=1), axis=1), ((0, 0), (1, 0))).T  # energy before each frame
    least = np.maximum(MIN_ENERGY * before[-1], 1e-9)
    starts, common = (np.maximum(shifts, 0), np.maximum(-shifts, 0)), frames - np.abs(shifts)
    # short sounds correlate by chance more often: one speaker's utterances of a word reach 0.86
    trust = np.clip(sounds.sum(axis=1) / (MIN_OVERLAP * frames), LEAST_TRUST**2, 1) ** 0.25
    scales = [trust / np.sqrt(np.maximum(before[at + common] - before[at], least)) for at in starts]
    n_fft = 2 * fft.next_fast_len(-(-(frames + most) // 2))  # even, so that irfft infers it from F
    return fft.rfft(x.astype(np.float32), n_fft).transpose(2, 0, 1), *np.float32(scales)


def _correlate(a: np.ndarray, b: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The highest correlation (A, B) over all shifts between the clips of two blocks (see ``_details``)."""
    r = fft.irfft(a @ b.conj().transpose(0, 2, 1), axis=0, overwrite_x=True)
    best = np.full(r.shape[1:], -1, r.dtype)
    for k, (early, late) in enumerate(zip(first, second, strict=True)):  # one shift fits the processor's cache
        np.maximum(best, r[k - len(first) // 2] * early[:, None] * late, out=best)
    return best


def similarity_groups(
    features: AnyFeatures, labels: Sequence[str], *, distance: float = DISTANCE, pairs: pd.DataFrame | None = None
) -> np.ndarray:
    """Group clips that sound like one recording, to split data whose recordings are unknown.

    Average linkage merges clips of a class up to ``distance`` (1 - cosine of ``embed``, 0 to 2). Then near-duplicates
    are merged, also across classes, so that no pair is divided between splits. Memory grows with the square of the
    size of a class.

    Args:
        features: the clips (N, M, T).
        labels: their classes (N,).
        distance: see above.
        pairs: the result of ``near_duplicates`` if it is already known.

    Returns:
        The group of each clip (N,), named after the label and the position of the group's first clip.

    Raises:
        UserError: more than MOST clips, because ``near_duplicates`` would compare only a sample.
    """
    labels, n = np.asarray(labels, dtype=object), len(features)
    if len(labels) != n:
        raise ValueError(f"{len(labels)} labels for {n} clips")
    if n > MOST:
        raise UserError(
            f"{n} clips cannot be grouped by similarity: comparing all pairs of more than {MOST} clips takes hours; "
            "use --fraction, or file names that contain the recording (fsID-classID-occurrence-slice)"
        )
    pairs = near_duplicates(features) if pairs is None else pairs
    rows, clusters = embed(features, dimensions=DIMENSIONS), np.arange(n)
    average = AgglomerativeClustering(None, metric="precomputed", linkage="average", distance_threshold=distance)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) > 1:
            found = average.fit_predict(np.maximum(1 - rows[members] @ rows[members].T, 0))
            clusters[members] = members[found]  # numbers that no other class uses
    ends = np.concatenate([np.arange(n), pairs.i]), np.concatenate([n + clusters, pairs.j])
    links = coo_array((np.ones(len(ends[0])), ends), shape=(2 * n, 2 * n))  # nodes: clips, then clusters
    _, firsts, groups = np.unique(connected_components(links)[1][:n], return_index=True, return_inverse=True)
    return np.array([f"{labels[first]}-{first:05d}" for first in firsts], dtype=object)[groups]


def leak_check(features: AnyFeatures, split: Sequence[str], groups: Sequence[str] | None = None) -> pd.DataFrame:
    """Find near-duplicates that are in different splits, which makes the reported metrics too high.

    Args:
        features: the clips (N, M, T).
        split: the split of each clip (N,); "" for a clip in no split.
        groups: the group of each clip (N,); None makes each clip its own group.

    Returns:
        The rows of ``near_duplicates`` that leak, with split_i, split_j and same_group. If same_group is true, the
        split ignores the groups; if it is false, the groups miss this pair.
    """
    split, groups = (np.asarray(a, dtype=object) for a in (split, range(len(split)) if groups is None else groups))
    if not len(split) == len(groups) == len(features):
        raise ValueError(f"{len(split)} splits and {len(groups)} groups for {len(features)} clips")
    pairs = near_duplicates(features)
    pairs = pairs.assign(split_i=split[pairs.i], split_j=split[pairs.j], same_group=groups[pairs.i] == groups[pairs.j])
    leaks = (pairs.split_i != pairs.split_j) & (pairs.split_i != "") & (pairs.split_j != "")
    return pairs[leaks].reset_index(drop=True)


def leak_warning(leaks: pd.DataFrame, paths: Sequence[Path], *, worst: int = 3) -> str:
    """Report the result of ``leak_check`` for the clips at ``paths`` in one line; "" if there are no leaks."""
    sample = f" in a sample of {MOST} of {len(paths)} clips" if len(paths) > MOST else ""
    pairs = [f"{Path(paths[i]).name} = {Path(paths[j]).name}" for i, j in leaks[["i", "j"]].head(worst).to_numpy()]
    text = f"WARNING: the split LEAKS: {len(leaks)} near-duplicate pairs{sample} are in different splits, such as "
    return text + ", ".join(pairs) if pairs else ""


def agreement(groups: Sequence[str], recordings: Sequence[str], labels: Sequence[str]) -> dict[str, float]:
    """Compare groups with the known recordings; each argument has N items, each figure lies between 0 and 1.

    leak/groups is the share of held-out clips whose recording also has clips in training, over five repetitions of
    five folds by these groups; leak/random is the same share for folds that ignore the groups.
    """
    (_, wrong), (missed, right) = pair_confusion_matrix(recordings, groups)
    found = {
        "pairs/precision": right / max(1, right + wrong),
        "pairs/recall": right / max(1, right + missed),
        "pairs/f1": 2 * right / max(1, 2 * right + wrong + missed),
        "adjusted_rand": adjusted_rand_score(recordings, groups),
        "homogeneity": homogeneity_score(recordings, groups),
        "completeness": homogeneity_score(groups, recordings),
    }
    recordings = np.asarray(recordings, dtype=object)
    splitters = [StratifiedGroupKFold(5, shuffle=True, random_state=seed) for seed in range(5)]
    for name, units in (("groups", groups), ("random", np.arange(len(recordings)))):
        bar = tqdm(splitters, f"measuring leak/{name}", unit="split", delay=1, disable=None)
        with warnings.catch_warnings(action="ignore"):  # "least populated class"
            folds = [fold for splitter in bar for fold in splitter.split(labels, labels, units)]
        found[f"leak/{name}"] = np.concatenate([np.isin(recordings[h], recordings[rest]) for rest, h in folds]).mean()
    return {name: float(value) for name, value in found.items()}
