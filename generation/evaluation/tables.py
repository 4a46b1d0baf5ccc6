"""The figures of an evaluation as text."""

import math
from typing import Any

import pandas as pd

from generation.evaluation import copies
from generation.evaluation.figures import COLUMNS


def table(evaluation: dict[str, Any]) -> str:
    """The figures, those of each class, the copies, the most similar pair and the notes."""
    frame = pd.DataFrame(evaluation["metrics"].values()).set_index("name").rename_axis(None)
    frame = frame[list(COLUMNS)].rename(columns=COLUMNS)
    lines = [frame.to_string(na_rep="-", float_format="{:.3g}".format), "Accuracy of the samples by class:"]
    for label, row in evaluation["by_label"]["samples"].items():
        accuracy = "-" if math.isnan(row["accuracy"]) else f"{row['accuracy']:.3g}"
        lines.append(f"  {label or '(no label)'}: {accuracy} ({row['clips']} samples)")
    lines.append("Copies, the share more like a training clip than 95 % of the training clips of other recordings:")
    lines.append(_indented(_copies(evaluation["copies"])))
    for pair in evaluation["copies"]["closest"][:1]:
        lines.append(f"Most similar: {pair['sample']} and the training clip {pair['real']}, {pair['similarity']:.3f}")
    return "\n".join(lines + [f"Note: {note}" for note in evaluation["notes"]])


def _copies(found: dict[str, Any]) -> pd.DataFrame:
    """Shares: a row for each class and one for all."""
    rows = found["by_label"] | {"all classes": found["all"]}
    return pd.DataFrame(
        {title: [row[name]["share"] for row in rows.values()] for name, title in copies.SETS.items()}, index=list(rows)
    )


def _indented(frame: pd.DataFrame) -> str:
    text = frame.to_string(na_rep="-", float_format="{:.3g}".format)
    return "\n".join(f"  {line}" for line in text.splitlines())
