"""Whether one run is better than another, or differs by chance: frequency-quest compare --runs RUN_A RUN_B

Both must have evaluated the same clips: the difference is bootstrapped over the recordings, drawn for both together.
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

if TYPE_CHECKING:
    import pandas as pd


PREDICTIONS = "predictions.csv"  # of a classification run: a row for every held-out clip, and seed


@dataclasses.dataclass(kw_only=True)
class CompareOptions:
    """Compare the figures of two finished classification runs, recording by recording."""

    runs: tuple[Path, Path]
    """Two run folders of classification/train.py that evaluated the same clips."""
    together: bool = False
    """Compare the predictions averaged over clips that sound like one recording, not those clip by clip."""


def read_predictions(run: Path) -> pd.DataFrame:
    """predictions.csv of a run; labels are text as they stand there, "007" and "NA" too."""
    import pandas as pd  # half a second that --help does not need

    text = dict.fromkeys(("path", "label", "group", "split", "predicted", "together", "alone"), str)
    return pd.read_csv(run / PREDICTIONS, dtype=text, keep_default_na=False, na_values={"fold": [""]})


def evaluated(run: Path, *, together: bool = False) -> pd.DataFrame:
    """The predictions behind a run's figures: path, label, group, predicted; several seeds repeat a clip.

    ``predicted`` is clip by clip or, with ``together``, averaged over clips that sound like one recording.

    Raises:
        UserError: no finished run with figures, or one that averages no clips.
    """
    if not (run / "metrics.json").is_file() or not (run / PREDICTIONS).is_file():
        raise UserError(f"--runs {run}: no finished classification run with figures")
    table = read_predictions(run)
    table = table[table.split == read_json(run / "metrics.json")["reported_on"]]
    if "alone" in table:  # an older version: "predicted" was averaged, "alone" clip by clip
        table = table.rename(columns={"predicted": "together", "alone": "predicted"})
    if together and "together" not in table:
        raise UserError(f"--together: {run} averages no clips; leave it out")
    return table.assign(predicted=table.together) if together else table


def tables_of(table: pd.DataFrame, classes: list[str]) -> np.ndarray:
    """``bootstrap.confusions`` (G, K, K) of a run's predictions, the mean over its seeds."""
    ordinals = {label: k for k, label in enumerate(classes)}
    y, predicted = (table[name].map(ordinals).to_numpy() for name in ("label", "predicted"))
    return bootstrap.confusions(y, predicted, table.group, len(classes)) * table.path.nunique() / len(table)


def compare(run_a: Path, run_b: Path, *, together: bool = False) -> dict[str, dict]:
    """``bootstrap.paired_difference`` of two runs: a minus b.

    Raises:
        UserError: they evaluated other clips.
    """
    a, b = evaluated(run_a, together=together), evaluated(run_b, together=together)
    if set(zip(a.path, a.label, a.group, strict=True)) != set(zip(b.path, b.label, b.group, strict=True)):
        raise UserError(
            f"--runs {run_a} {run_b}: they evaluated other clips; "
            "train both with the same data, --seed, --folds and split"
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
    import pandas as pd

    difference = compare(*options.runs, together=options.together)
    rows = [
        (f"{100 * d['difference']:+.1f}", f"{d['p_value']:.3f}", " to ".join(f"{100 * v:+.1f}" for v in d["interval"]))
        for d in difference.values()
    ]
    print(pd.DataFrame(rows, index=list(difference), columns=["difference", "p", "interval"]).to_string())
    print(sentence(*options.runs, difference))


if __name__ == "__main__":
    run_entry(main)
