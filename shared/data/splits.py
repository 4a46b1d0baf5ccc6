"""Which clips are trained on, which select, which judge: splits that keep a recording on one side."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from shared.errors import UserError

if TYPE_CHECKING:  # the command lines import this module for its Literals alone
    import pandas as pd

SplitKind = Literal["auto", "grouped", "official", "random"]
GroupBy = Literal["name", "similarity"]


def check_trainable(manifest: pd.DataFrame, *, root: Path, splits: int) -> None:
    """Refuse what no classifier can learn from, before anything is trained.

    Raises:
        UserError: fewer than two classes, or a class with fewer clips than splits to stand in.
    """
    counts = manifest.label.value_counts()
    if len(counts) < 2:
        raise UserError(
            f"--data-dir {root}: one class only ({counts.index[0]}, {counts.iloc[0]} clips); a classifier needs two"
        )
    smallest = counts.idxmin()
    if counts[smallest] < splits:
        raise UserError(
            f"--data-dir {root}: class {smallest} has {counts[smallest]} usable clip(s); {splits} splits need at least "
            f"{splits}. Add clips, or remove that folder"
        )


def take_fraction(manifest: pd.DataFrame, *, fraction: float, seed: int) -> pd.DataFrame:
    """That share of each class's clips (at least 6), drawn by ``seed``, in the order of the manifest.

    They are spread over as many recordings as there are, so that what is left can still be split by recording.
    """
    if not 0 < fraction <= 1:
        raise UserError(f"--fraction {fraction}: must be above 0 and at most 1")
    if fraction == 1:
        return manifest
    kept: list[int] = []
    for _, rows in manifest.groupby("label"):
        shuffled = rows.sample(frac=1, random_state=seed)
        turn = shuffled.groupby("group").cumcount()  # a recording's first clip comes before any other's second
        kept.extend(turn.sort_values(kind="stable").index[: max(6, round(fraction * len(rows)))])
    return manifest.loc[sorted(kept)]


def resolve_split(manifest: pd.DataFrame, *, how: SplitKind, folds: int = 1) -> SplitKind:
    """What "auto" means for this data: its official protocol where it has one for so many folds, else grouped.

    Raises:
        UserError: "official" where the data has no such protocol.
    """
    names = set(manifest.official)
    known = names == {"train", "test"} if folds == 1 else len(names) == folds and "" not in names | {"train", "test"}
    if how == "official" and not known:
        has = f"has {len(names)} official folds: --folds {len(names)}" if len(names) > 2 else "names no official folds"
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
    """A copy of the manifest with split = train, val or test.

    "grouped" keeps all clips of a recording on one side (StratifiedGroupKFold); "random" does not, and so tells
    how well recordings are recognised again; "official" tests on the data's own fold or test set. The test split is
    fold number ``fold`` of ``folds``, or without one ``test_share`` of the clips; a share of 0 leaves a split out.

    Raises:
        UserError: shares that leave nothing to train on, or too few recordings.
    """
    if not (0 <= val_share < 1 and 0 <= test_share < 1 and val_share + test_share <= 0.8):
        raise UserError(
            f"--val-share {val_share} --test-share {test_share}: each must be at least 0, the sum at most 0.8"
        )
    how = resolve_split(manifest, how=how, folds=folds)
    manifest = manifest.assign(split="train")
    if fold is not None:
        manifest.loc[_fold_numbers(manifest, folds=folds, how=how, seed=seed) == fold, "split"] = "test"
    elif how == "official":
        manifest.loc[manifest.official == "test", "split"] = "test"
    elif test_share > 0:
        manifest.loc[_held_out(manifest, share=test_share, how=how, seed=seed), "split"] = "test"
    if val_share > 0:
        rest = manifest[manifest.split == "train"]
        share = min(0.5, val_share * len(manifest) / len(rest))
        inside = "random" if how == "official" and fold is None else how  # the official set repeats the speakers
        manifest.loc[_held_out(rest, share=share, how=inside, seed=seed + 1), "split"] = "val"
    if fold is None and how != "official":
        _check_every_class_everywhere(manifest, how=how, splits=1 + (val_share > 0) + (test_share > 0))
    return manifest


def _fold_numbers(manifest: pd.DataFrame, *, folds: int, how: SplitKind, seed: int) -> np.ndarray:
    """The fold of every clip, from 0; with few recordings a fold may lack a class."""
    if how == "official":
        return manifest.official.map({name: k for k, name in enumerate(sorted(set(manifest.official), key=int))})
    units = manifest.group.nunique() if how == "grouped" else len(manifest)
    if units < folds:
        raise UserError(f"--folds {folds}: the data has {units} recordings; take at most so many folds")
    splitter = _splitter(how)
    numbers = np.full(len(manifest), -1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "least populated class": a fold without it is allowed
        try:
            split = splitter(folds, shuffle=True, random_state=seed).split(manifest, manifest.label, manifest.group)
            for k, (_, held) in enumerate(split):
                numbers[held] = k
        except ValueError as error:  # no class has as many clips as folds
            raise UserError(f"--folds {folds}: too many for this data ({error}); take fewer") from error
    if len(np.unique(numbers)) < folds:
        raise UserError(f"--folds {folds}: too few recordings to fill them; take fewer")
    return numbers


def _splitter(how: SplitKind) -> Any:
    """scikit-learn's splitter by recording, or by clip."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold  # 1.5 s, and only to split

    return StratifiedGroupKFold if how == "grouped" else StratifiedKFold


def _held_out(frame: pd.DataFrame, *, share: float, how: SplitKind, seed: int) -> pd.Index:
    """The fold, of several shuffles, whose share of every class is nearest to ``share``.

    With few recordings a fold of that share may lack a class: then larger folds are tried.
    """
    totals = frame.label.value_counts()
    best, best_error = frame.index[:0], np.inf
    for n_splits in range(max(2, round(1 / share)), 1, -1):
        for held in _folds(frame, n_splits=n_splits, how=how, seed=seed):
            shares = frame.label.iloc[held].value_counts().reindex(totals.index, fill_value=0) / totals
            lacking = int(((shares == 0) | (shares == 1)).sum())
            error = float((shares - share).abs().sum()) + 10.0 * lacking
            if error < best_error:
                best, best_error = frame.index[held], error
        if best_error < 10.0:
            break
    return best


def _folds(frame: pd.DataFrame, *, n_splits: int, how: SplitKind, seed: int) -> Iterator[np.ndarray]:
    """The held-out positions of every fold of a few shuffles."""
    splitter = _splitter(how)
    for shuffle in range(4 if how == "grouped" else 1):
        folds = splitter(n_splits, shuffle=True, random_state=1000 * seed + shuffle)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "least populated class": checked afterwards, in the user's words
            try:
                yield from (held for _, held in folds.split(frame, frame.label, frame.group))
            except ValueError:  # more folds than clips or recordings
                return


def _check_every_class_everywhere(manifest: pd.DataFrame, *, how: SplitKind, splits: int) -> None:
    table = manifest.groupby(["label", "split"]).size().unstack(fill_value=0)
    for label, row in table.iterrows():
        if (row > 0).sum() < splits:
            recordings = manifest[manifest.label == label].group.nunique()
            raise UserError(
                f"class {label} has clips of {recordings} recording(s), too few for {splits} splits (--split {how}). "
                "Add recordings, remove that folder, or use --test-share 0 or --split random"
            )
