"""Is one run better than another, or is it chance? python -m shared.runs.compare --runs RUN_A RUN_B

Both must have judged the same clips: the difference is bootstrapped over the recordings, drawn for both together.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

from shared.errors import UserError, run_entry
from shared.evaluation import bootstrap
from shared.files import read_json


@dataclasses.dataclass(kw_only=True)
class CompareOptions:
    """Compare the figures of two finished classification runs, recording by recording."""

    runs: tuple[Path, Path]
    """Two run folders of classification/train.py that judged the same clips."""
    alone: bool = False
    """Compare what each clip was taken for by itself, where a recipe judged those that sound alike together."""


def judged(run: Path, *, alone: bool = False) -> pd.DataFrame:
    """The predictions a run's figures are made of: path, label, group, predicted; several seeds repeat a clip.

    With ``alone``, predicted is what each clip was taken for by itself.

    Raises:
        UserError: no finished run with figures.
    """
    if not (run / "metrics.json").is_file() or not (run / "predictions.csv").is_file():
        raise UserError(f"--runs {run}: no finished classification run with figures")
    names = ("label", "group", "predicted", "alone")
    table = pd.read_csv(run / "predictions.csv", dtype=dict.fromkeys(names, str))
    if alone and "alone" in table:
        table = table.assign(predicted=table.alone)
    return table[table.split == read_json(run / "metrics.json")["reported_on"]]


def tables_of(table: pd.DataFrame, classes: list[str]) -> np.ndarray:
    """``bootstrap.confusions`` (G, K, K) of a run's predictions, the mean over its seeds."""
    ordinals = {label: k for k, label in enumerate(classes)}
    y, predicted = (table[name].map(ordinals).to_numpy() for name in ("label", "predicted"))
    return bootstrap.confusions(y, predicted, table.group, len(classes)) * table.path.nunique() / len(table)


def compare(run_a: Path, run_b: Path, *, alone: bool = False) -> dict[str, dict]:
    """``bootstrap.paired_difference`` of two runs: a minus b.

    Raises:
        UserError: they judged other clips.
    """
    a, b = judged(run_a, alone=alone), judged(run_b, alone=alone)
    if set(zip(a.path, a.label, a.group, strict=True)) != set(zip(b.path, b.label, b.group, strict=True)):
        raise UserError(
            f"--runs {run_a} {run_b}: they judged other clips; train both with the same data, --seed, --folds and split"
        )
    classes = sorted(set(a.label) | set(a.predicted) | set(b.predicted))
    return bootstrap.paired_difference(tables_of(a, classes), tables_of(b, classes))


def sentence(run_a: Path, run_b: Path, difference: dict[str, dict]) -> str:
    """The accuracy's difference in words."""
    d = difference["accuracy"]
    low, high = (100 * v for v in d["interval"])
    verdict = "more than chance" if d["more_than_chance"] else "may be chance"
    return (
        f"{run_a.name} minus {run_b.name}: {100 * d['difference']:+.1f} points of accuracy, 95 % interval over "
        f"recordings {low:+.1f} to {high:+.1f}, p {d['p_value']:.3f}: {verdict}"
    )


def main() -> None:
    options = tyro.cli(CompareOptions)
    difference = compare(*options.runs, alone=options.alone)
    rows = {
        name: {"difference": f"{100 * d['difference']:+.1f}", "p": f"{d['p_value']:.3f}"}
        | {"interval": " to ".join(f"{100 * v:+.1f}" for v in d["interval"])}
        for name, d in difference.items()
    }
    print(pd.DataFrame(rows).T.to_string())
    print(sentence(*options.runs, difference))


if __name__ == "__main__":
    run_entry(main)
