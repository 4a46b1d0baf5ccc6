"""Several trainings of one command -> one metrics.json: pooled figures, their spread over folds and seeds."""

import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from classification.rundir import BLEND, BLENDED, H5_MODEL, KERAS_MODEL, LABELS, TOGETHER, TORCH_MODEL
from classification.training.plan import Part
from classification.training.scoring import Scored, evaluate, write_predictions
from shared.runs.run import Run

IN_TABLE = ("accuracy", "together_accuracy", "recording_accuracy", "balanced_accuracy", "macro_f1")
SHOWN = (*IN_TABLE, "log_loss", "calibration_error")
MODEL_FILES = (KERAS_MODEL, H5_MODEL, TORCH_MODEL, LABELS, TOGETHER, BLEND)


def summarise(parts: Sequence[Part], scored: Sequence[Scored], run: Run) -> dict[str, Any]:
    """Pool the predictions of the evaluated parts and write the result files of the run.

    Every clip counts once per seed, in the fold that held it out. "spread" is the mean and the standard deviation over
    the evaluated trainings.
    """
    pairs = list(zip(parts, scored, strict=True))
    evaluated, grouped, refit = (
        [each.metrics for part, each in pairs if part.role == role] for role in ("evaluated", "grouped", "refit")
    )
    split = evaluated[0]["reported_on"]
    same = ("framework", "recipe", "split", "split_leaks", "reported_on", "classes", "model/parameters")
    metrics = {name: evaluated[0][name] for name in same}
    table = pooled_predictions(pairs, split)
    write_predictions(run, table)
    metrics |= {"together": "together" in table, "held_out": all(m["held_out"] for m in evaluated)}
    metrics |= evaluate(table, metrics, run, split=split)
    metrics |= {"spread": spread(evaluated, split), "trainings": len(evaluated)}
    correct = (table.label == table.predicted).groupby(table.seed.astype(str)).mean()
    metrics |= {"seeds": correct.to_dict()} | _cost(evaluated, [each.metrics for each in scored])
    if grouped:
        metrics["grouped"] = spread(grouped, split)
        metrics["optimism"] = metrics["spread"]["accuracy"]["mean"] - metrics["grouped"]["accuracy"]["mean"]
    if refit:
        metrics["refit"] = {name: refit[0][name] for name in ("train/epochs", "time/train_seconds")}
    shutil.copy(run.dir / parts[0].name / "plots/curves.png", run.dir / "plots/curves.png")
    print(table_of(pairs, split), flush=True)
    return metrics


def pooled_predictions(pairs: Sequence[tuple[Part, Scored]], split: str) -> pd.DataFrame:
    """The predictions of every evaluated part on the reported split, with the part's seed and fold.

    If some parts average clips and others do not, the column "together" repeats the clip-by-clip predictions of those
    that do not.
    """
    evaluated = [(part, each.predictions) for part, each in pairs if part.role == "evaluated"]
    rows = [table[table.split == split].assign(seed=part.options.seed, fold=part.fold) for part, table in evaluated]
    pooled = pd.concat(rows, ignore_index=True)
    if "together" in pooled:
        pooled["together"] = pooled.together.fillna(pooled.predicted)
    return pooled


def spread(metrics: Sequence[dict[str, Any]], split: str) -> dict[str, Any]:
    """Mean, sample standard deviation (0 for one training) and values of each figure and of each class's recall."""

    def of(column: pd.Series) -> dict[str, Any]:
        values = column.dropna().to_list()
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return {"mean": float(np.mean(values)), "sd": sd, "values": values}

    figures = pd.DataFrame([_figures(m, split, SHOWN) for m in metrics]).dropna(axis="columns")
    recalls = pd.DataFrame([_recalls(m, split) for m in metrics]).dropna(axis="columns", how="all")
    by_class = {label: of(column) for label, column in recalls.items()}
    return {name: of(column) for name, column in figures.items()} | {"recall": by_class}


def _figures(metrics: dict[str, Any], split: str, names: Sequence[str]) -> dict[str, float]:
    return {name: metrics[f"{split}/{name}"] for name in names if f"{split}/{name}" in metrics}


def _recalls(metrics: dict[str, Any], split: str) -> dict[str, float]:
    """The recall of each class; nan if it has no clips."""
    return {k: row["recall"] if row["clips"] else np.nan for k, row in metrics[f"{split}/per_class"].items()}


def _cost(evaluated: Sequence[dict[str, Any]], everything: Sequence[dict[str, Any]]) -> dict[str, float]:
    medians = ("time/epoch_seconds", "time/clips_per_second", "train/epochs")
    cost: dict[str, float] = {name: float(np.median([m[name] for m in evaluated])) for name in medians}
    cost["train/epochs"] = round(cost["train/epochs"])
    return cost | {
        "time/train_seconds": sum(m["time/train_seconds"] for m in everything),
        "time/startup_seconds": max(m.get("time/startup_seconds", 0.0) for m in everything),
        "memory/peak_mib": max(m["memory/peak_mib"] for m in everything),
    }


def table_of(pairs: Sequence[tuple[Part, Scored]], split: str) -> str:
    """Figures and the recall of each class in per cent: a row per training, then mean and standard deviation.

    With many classes, the trainings are the columns.
    """
    done = {part.name: each.metrics for part, each in pairs if part.role != "refit"}
    rows = {name: _figures(m, split, IN_TABLE) | _recalls(m, split) for name, m in done.items()}
    shown = {name: name.replace("_", " ") for name in IN_TABLE}
    frame = 100 * pd.DataFrame.from_dict(rows, orient="index").rename(columns=shown)
    frame["seconds"] = [m["time/train_seconds"] for m in done.values()]
    evaluated = frame.loc[[part.name for part, _ in pairs if part.role == "evaluated"]]
    if len(evaluated) > 1:
        frame = pd.concat([frame, evaluated.agg(["mean", "std"])])
    if len(frame.columns) > 20:
        frame = frame.T  # wider than a terminal
    text = frame.to_string(float_format=lambda v: f"{v:.1f}", na_rep="-")
    return f"\nfigures on the {split} split and recall of each class, in per cent\n{text}"


def keep(part: Part, run: Run) -> None:
    """Copy the model of a part into the run's folder; of a blend also its two runs, without their checkpoints."""
    for source in (run.dir / part.name).iterdir():
        if source.name in MODEL_FILES:
            shutil.copy(source, run.dir)
        elif source.name in BLENDED:
            left_out = shutil.ignore_patterns("checkpoints", "events", ".lock")
            shutil.copytree(source, run.dir / source.name, ignore=left_out, dirs_exist_ok=True)


def conclusion(run: Run, metrics: dict[str, Any]) -> str:
    """The last lines that a training prints: its figures and its cost."""
    cost = f"trained {metrics['train/epochs']} epochs of {metrics['time/epoch_seconds']:.1f} s"
    reported = metrics["reported_on"]
    if reported is None:
        return f"{run.dir}: no figures, because no clip was held out; {cost}"
    figure = {name: metrics[f"{reported}/{name}"] for name in ("accuracy", "intervals", "macro_f1")}
    low, high = figure["intervals"]["accuracy"]
    leaking = "LEAKING " if metrics["split_leaks"] else ""
    text = (
        f"{run.dir}: accuracy {figure['accuracy']:.3f} (95 % interval {low:.3f} to {high:.3f}) on the {leaking}"
        f"{reported} split, clip by clip; macro F1 {figure['macro_f1']:.3f}; {cost}"
    )
    if metrics["together"]:
        averaged = metrics[f"{reported}/together_accuracy"]
        text += f"\naccuracy with clips that sound like one recording averaged: {averaged:.3f}"
    if "optimism" in metrics:
        points, grouped = 100 * metrics["optimism"], metrics["grouped"]["accuracy"]["mean"]
        text += f"\nthe random split overstates accuracy by {points:.1f} points: held-out recordings give {grouped:.3f}"
    return text
