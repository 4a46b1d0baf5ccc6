"""Test whether two classifiers differ by more than chance: frequency-quest compare --runs RUN_A RUN_B

Both runs must have evaluated the same clips: the bootstrap draws the same recordings for both.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tyro

from shared.errors import UserError, run_entry
from shared.evaluation import bootstrap
from shared.files import read_json
from shared.tables import read_table

if TYPE_CHECKING:
    import pandas as pd


PREDICTIONS = "predictions.csv"  # a classification run's predictions: one row per held-out clip and seed


@dataclasses.dataclass(kw_only=True)
class CompareOptions:
    """Test whether two classifiers differ by more than chance."""

    runs: tuple[Path, Path]
    """Two run folders of finished classifiers that evaluated the same clips."""
    together: bool = False
    """Compare predictions averaged over clips that sound like one recording, instead of clip by clip."""


def read_predictions(run: Path) -> pd.DataFrame:
    """A run's predictions.csv. Labels stay text: "007" and "NA" are not converted."""
    text = ("path", "label", "group", "split", "predicted")
    types = dict.fromkeys((*text, "together", "alone"), str)
    return read_table(run / PREDICTIONS, text, dtype=types, na_values={"fold": [""]})


def evaluated(run: Path, *, together: bool = False) -> pd.DataFrame:
    """The predictions that a run's figures are computed from, one row per clip and seed: path, label, group, predicted.

    ``predicted`` is clip by clip or, with ``together``, averaged over clips that sound like one recording.

    Raises:
        UserError: the run is not finished, has no figures, or does not average clips although ``together`` asks for it.
    """
    if not (run / "metrics.json").is_file() or not (run / PREDICTIONS).is_file():
        raise UserError(f"--runs {run}: no finished classifier with held-out clips; train it first")
    table = read_predictions(run)
    table = table[table.split == read_json(run / "metrics.json", reported_on=str)["reported_on"]]
    if "alone" in table:  # written by an older version: "predicted" is averaged, "alone" is clip by clip
        table = table.rename(columns={"predicted": "together", "alone": "predicted"})
    if together and "together" not in table:
        raise UserError(f"--together: {run} does not average clips; leave the option out")
    return table.assign(predicted=table.together) if together else table


def tables_of(table: pd.DataFrame, classes: list[str]) -> np.ndarray:
    """``bootstrap.confusions`` (G, K, K) of a run's predictions, averaged over its seeds."""
    ordinals = {label: k for k, label in enumerate(classes)}
    y, predicted = (table[name].map(ordinals).to_numpy() for name in ("label", "predicted"))
    return bootstrap.confusions(y, predicted, table.group, len(classes)) * table.path.nunique() / len(table)


def compare(run_a: Path, run_b: Path, *, together: bool = False) -> dict[str, dict]:
    """``bootstrap.paired_difference`` of two runs: a minus b.

    Raises:
        UserError: they evaluated different clips.
    """
    a, b = evaluated(run_a, together=together), evaluated(run_b, together=together)
    if set(zip(a.path, a.label, a.group, strict=True)) != set(zip(b.path, b.label, b.group, strict=True)):
        raise UserError(
            f"--runs {run_a} {run_b}: they evaluated different clips; "
            "train both with the same data, --seed, --folds and --split"
        )
    classes = sorted(set(a.label) | set(a.predicted) | set(b.predicted))
    return bootstrap.paired_difference(tables_of(a, classes), tables_of(b, classes))


def sentence(run_a: Path, run_b: Path, difference: dict[str, dict]) -> str:
    """The difference in accuracy as a sentence."""
    d = difference["accuracy"]
    low, high = (100 * v for v in d["interval"])
    better = run_a.name if d["difference"] > 0 else run_b.name
    verdict = f"{better} is better beyond chance" if d["more_than_chance"] else "no difference beyond chance"
    return (
        f"{run_a.name} minus {run_b.name}: {100 * d['difference']:+.1f} points of accuracy "
        f"(95 % interval {low:+.1f} to {high:+.1f}, p {d['p_value']:.2g}): {verdict}"
    )


def main() -> None:
    options = tyro.cli(CompareOptions)
    import pandas as pd

    difference = compare(*options.runs, together=options.together)
    rows = [
        (f"{100 * d['difference']:+.1f}", " to ".join(f"{100 * v:+.1f}" for v in d["interval"]), f"{d['p_value']:.2g}")
        for d in difference.values()
    ]
    columns = ["points", "95 % interval", "p"]
    print(pd.DataFrame(rows, index=[name.replace("_", " ") for name in difference], columns=columns).to_string())
    print(sentence(*options.runs, difference))


if __name__ == "__main__":
    run_entry(main)
