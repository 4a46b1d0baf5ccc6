"""Splits the clips into train, val and test, with all clips of a recording in the same split."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from shared.errors import UserError

if TYPE_CHECKING:  # the command lines import this module only for its Literals
    import pandas as pd

SplitKind = Literal["auto", "grouped", "official", "random"]
GroupBy = Literal["name", "similarity"]


def check_trainable(manifest: pd.DataFrame, *, root: Path, splits: int) -> None:
    """Check that a classifier can be trained on these clips.

    Raises:
        UserError: fewer than two classes, or a class with fewer clips than splits.
    """
    counts = manifest.label.value_counts()
    if len(counts) < 2:
        raise UserError(f"--data-dir {root}: holds one class only, {', '.join(counts.index)}; a classifier needs two")
    smallest = counts.idxmin()
    if counts[smallest] < splits:
        has = f"class {smallest} has {counts[smallest]} usable clip(s), fewer than {splits} splits"
        raise UserError(f"--data-dir {root}: {has}. Add clips or remove this class")


def take_fraction(manifest: pd.DataFrame, *, fraction: float, seed: int) -> pd.DataFrame:
    """Keep a random ``fraction`` of each class's clips (at least 6), in the manifest's order.

    The kept clips come from as many recordings as possible, so that they can still be split by recording.
    """
    if not 0 < fraction <= 1:
        raise UserError(f"--fraction {fraction}: must be above 0 and at most 1")
    if fraction == 1:
        return manifest
    kept: list[int] = []
    for _, rows in manifest.groupby("label"):
        shuffled = rows.sample(frac=1, random_state=seed)
        turn = shuffled.groupby("group").cumcount()  # every recording's first clip comes before any second clip
        kept.extend(turn.sort_values(kind="stable").index[: max(6, round(fraction * len(rows)))])
    return manifest.loc[sorted(kept)]


def draw_weights(manifest: pd.DataFrame, *, balance: float = 1.0) -> np.ndarray:
    """How often to draw each clip (N,): all classes equally often, and with ``balance`` 1 all recordings of a class.

    With ``balance`` 0 the clips of a class are drawn equally often.
    """
    each = 1.0 / manifest.groupby("group").label.transform("size") ** balance
    return (each / each.groupby(manifest.label).transform("sum")).to_numpy()


def resolve_split(manifest: pd.DataFrame, *, how: SplitKind, folds: int = 1) -> SplitKind:
    """Resolve "auto": the data set's official split if it has one with this number of folds, otherwise "grouped".

    Raises:
        UserError: "official" for data without such a split.
    """
    names = set(manifest.official)
    known = names == {"train", "test"} if folds == 1 else len(names) == folds and not names & {"", "train", "test"}
    if how == "official" and not known:
        has = f"has {len(names)} official folds: --folds {len(names)}" if len(names) > 2 else "has no official folds"
        has = "has one official test set: leave out --folds" if names == {"train", "test"} else has
        raise UserError(f"--split official --folds {folds}: the data {has}, or choose --split grouped")
    return ("official" if known else "grouped") if how == "auto" else how


def assign_splits(
    manifest: pd.DataFrame,
    *,
    how: SplitKind = "grouped",
    val_share: float = 0.2,
    test_share: float = 0.2,
    seed: int = 0,
    fold: int | None = None,
    folds: int = 1,
) -> pd.DataFrame:
    """Assign each clip to split train, val or test, in a copy of the manifest.

    "grouped" keeps all clips of a recording in one split (StratifiedGroupKFold). "random" ignores the recordings and
    therefore leaks. "official" tests on the data set's own fold or test set. The test split is fold number ``fold`` of
    ``folds``, or ``test_share`` of the clips if ``fold`` is None. A share of 0 leaves its split empty.

    Raises:
        UserError: the shares leave too little to train on, or there are too few recordings.
    """
    if not (0 <= val_share < 1 and 0 <= test_share < 1 and val_share + test_share <= 0.8):
        raise UserError(f"--val-share {val_share} --test-share {test_share}: must be 0 or more, in total at most 0.8")
    how = resolve_split(manifest, how=how, folds=folds)
    manifest = manifest.assign(split="train")
    if fold is not None:
        manifest.loc[_fold(manifest, fold, folds=folds, how=how, seed=seed), "split"] = "test"
    elif how == "official":
        manifest.loc[manifest.official == "test", "split"] = "test"
    elif test_share > 0:
        manifest.loc[_held_out(manifest, share=test_share, how=how, seed=seed), "split"] = "test"
    if val_share > 0:
        rest = manifest[manifest.split == "train"]
        share = min(0.5, val_share * len(manifest) / len(rest))
        inside = "random" if how == "official" and fold is None else how  # official train and test share speakers
        manifest.loc[_held_out(rest, share=share, how=inside, seed=seed + 1), "split"] = "val"
    if fold is None and how != "official":
        splits, present = 1 + (val_share > 0) + (test_share > 0), manifest.groupby("label").split.nunique()
        for label in present.index[present < splits]:
            has = f"class {label} has clips of {manifest[manifest.label == label].group.nunique()} recording(s)"
            remedy = "Add recordings, remove this class, or use --test-share 0 or --split random"
            raise UserError(f"{has}, too few for {splits} splits (--split {how}). {remedy}")
    return manifest


def _fold(manifest: pd.DataFrame, fold: int, *, folds: int, how: SplitKind, seed: int) -> pd.Index:
    """The clips of fold number ``fold``, counted from 0; with few recordings it may lack a class."""
    if how == "official":
        return manifest.index[manifest.official == sorted(set(manifest.official), key=int)[fold]]
    every_held = _folds(manifest, n_splits=folds, how=how, seeds=[seed])
    if not every_held or min(map(len, every_held)) == 0:
        has = f"{len(manifest)} clips of {manifest.group.nunique()} recordings"
        raise UserError(f"--folds {folds}: too many for {has}; use fewer folds")
    return manifest.index[every_held[fold]]


def _held_out(frame: pd.DataFrame, *, share: float, how: SplitKind, seed: int) -> pd.Index:
    """Choose, from the folds of several shuffles, the one whose share of each class is closest to ``share``.

    With few recordings every fold of this size may lack a class; then larger folds are tried.
    """
    totals = frame.label.value_counts()
    best, best_error = frame.index[:0], np.inf
    shuffles = range(1000 * seed, 1000 * seed + (4 if how == "grouped" else 1))
    for n_splits in range(max(2, round(1 / share)), 1, -1):
        for held in _folds(frame, n_splits=n_splits, how=how, seeds=shuffles):
            shares = frame.label.iloc[held].value_counts().reindex(totals.index, fill_value=0) / totals
            error = (shares - share).abs().sum() + 10.0 * shares.isin([0, 1]).sum()  # 0 or 1: a side lacks the class
            if error < best_error:
                best, best_error = frame.index[held], error
        if best_error < 10.0:
            break
    return best


def _folds(frame: pd.DataFrame, *, n_splits: int, how: SplitKind, seeds: Iterable[int]) -> list[np.ndarray]:
    """The positions of each fold's held-out clips, for one shuffle per seed; [] if no class has ``n_splits`` clips."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # imported here because it takes 1.5 s

    splitter = StratifiedGroupKFold if how == "grouped" else StratifiedKFold
    shuffles = [splitter(n_splits, shuffle=True, random_state=seed) for seed in seeds]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "least populated class": the callers report it
        try:
            return [held for shuffle in shuffles for _, held in shuffle.split(frame, frame.label, frame.group)]
        except ValueError:
            return []
