"""The figures of an evaluation as text."""

import math
from typing import Any

import pandas as pd

from generation.evaluation import copies
from generation.evaluation.backbone_space import FIGURES
from generation.evaluation.figures import COLUMNS


def table(evaluation: dict[str, Any]) -> str:
    """The figures, those of each class, the copies, the most similar pair and the notes."""
    frame = pd.DataFrame(evaluation["metrics"].values()).set_index("name").rename_axis(None)
    frame = frame[list(COLUMNS)].rename(columns=COLUMNS).dropna(axis="columns", how="all")
    scorers = evaluation["scorers"]
    lines = [f"Means of {len(scorers)} classifiers:"] if len(scorers) > 1 else []
    lines += [_text(frame), "Accuracy by class:", _text(_accuracies(evaluation), indent="  ")]
    if len(scorers) > 1:
        lines += ["By classifier:", _text(_scorers(scorers), indent="  ")]
    lines.append("Copies, the share more like a training clip than 95 % of the training clips of other recordings:")
    lines.append(_text(_copies(evaluation["copies"]), indent="  "))
    lines.append("Change from frame to frame of log-mels, in standard deviations of the band:")
    lines.append(_text(_changes(evaluation["frame_change"]), indent="  "))
    if space := evaluation["backbone"]:
        lines.append(f"In the space of {space['backbone']}, means of {space['features']} values:")
        lines.append(_text(_distances(space), indent="  "))
    for pair in evaluation["copies"]["closest"][:1]:
        lines.append(f"Most similar: {pair['sample']} and the training clip {pair['real']}, {pair['similarity']:.3f}")
    return "\n".join(lines + [f"Note: {note}" for note in evaluation["notes"]])


def _copies(found: dict[str, Any]) -> pd.DataFrame:
    """Shares: a row for each class and one for all."""
    rows = found["by_label"] | {"all classes": found["all"]}
    return pd.DataFrame(
        {title: [row[name]["share"] for row in rows.values()] for name, title in copies.SETS.items()}, index=list(rows)
    )


def _accuracies(evaluation: dict[str, Any]) -> pd.DataFrame:
    """A row for each class and one for all: number of samples, accuracies, share of the vocoded reference's."""
    by_label, metrics, share = (evaluation[name] for name in ("by_label", "metrics", "accuracy_share"))
    columns = {"samples": "samples", "vocoded_floor": "vocoded held-out", "floor": "real held-out"}
    rows = {}
    for label, row in by_label["samples"].items():
        accuracies = {title: by_label[key].get(label, {}).get("accuracy", math.nan) for key, title in columns.items()}
        rows[label or "(no label)"] = accuracies | {"share of vocoded": share["by_label"][label], "clips": row["clips"]}
    accuracies = {title: metrics["accuracy"][key] for key, title in columns.items()}
    clips = sum(row["clips"] for row in by_label["samples"].values())
    rows["all classes"] = accuracies | {"share of vocoded": share["all"], "clips": clips}
    return pd.DataFrame.from_dict(rows, orient="index").dropna(axis="columns", how="all")


def _scorers(scorers: list[dict[str, Any]]) -> pd.DataFrame:
    """A row for each classifier: accuracies, FAD and KAD of the samples, coverage, diversity."""
    shown = {"kernel_distance": "KAD", "frechet": "FAD", "coverage": "coverage", "within_class_distance": "diversity"}
    rows = {}
    for scorer in scorers:
        metrics = scorer["metrics"]
        accuracies = {COLUMNS[key]: metrics["accuracy"][key] for key in ("samples", "vocoded_floor", "floor")}
        others = {title: metrics[key]["samples"] for key, title in shown.items()}
        name = f"{scorer['name']} ({scorer['title']})"
        rows[name] = accuracies | {"share of vocoded": scorer["accuracy_share"]["all"]} | others
    return pd.DataFrame.from_dict(rows, orient="index").dropna(axis="columns", how="all")


def _changes(changes: dict[str, Any]) -> pd.DataFrame:
    """A row for each class and one for all."""
    titles = {"real": "real training"} | COLUMNS
    frame = pd.DataFrame.from_dict(changes["by_label"] | {"all classes": changes["all"]}, orient="index")
    return frame.rename(columns=titles, index={"": "(no label)"}).dropna(axis="columns", how="all")


def _distances(space: dict[str, Any]) -> pd.DataFrame:
    """A row for FAD and one for KAD."""
    frame = pd.DataFrame.from_dict({title: space[name] for name, (title, _) in FIGURES.items()}, orient="index")
    return frame[[key for key in COLUMNS if key in frame]].rename(columns=COLUMNS).dropna(axis="columns", how="all")


def _text(frame: pd.DataFrame, *, indent: str = "") -> str:
    lines = frame.to_string(na_rep="-", float_format="{:.3g}".format).splitlines()
    return "\n".join(f"{indent}{line}".rstrip() for line in lines)
