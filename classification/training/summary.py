"""Several trainings of one command -> one metrics.json: pooled figures, their spread over folds and seeds, a table."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from classification.rundir import H5_MODEL, KERAS_MODEL, LABELS, TOGETHER, TORCH_MODEL
from classification.training.plan import Part
from classification.training.scoring import judge, write_predictions
from shared.files import read_json
from shared.runs.run import Run

IN_TABLE = ("accuracy", "alone_accuracy", "recording_accuracy", "balanced_accuracy", "macro_f1")
SHOWN = (*IN_TABLE, "log_loss", "calibration_error")
MODEL_FILES = (KERAS_MODEL, H5_MODEL, TORCH_MODEL, LABELS, TOGETHER)


def summarise(parts: Sequence[Part], run: Run) -> dict[str, Any]:
    """Judge all parts together and write the run's own result files.

    Every clip counts once a seed, in the fold that held it out. "spread" has the mean and the standard deviation over
    the judged trainings.
    """
    by_role = {role: [part for part in parts if part.role == role] for role in ("judged", "honest", "refit")}
    done = {part.name: read_json(run.dir / part.name / "metrics.json") for part in parts}
    judged = [done[part.name] for part in by_role["judged"]]
    split = judged[0]["reported_on"]
    same = ("framework", "recipe", "split", "split_leaks", "reported_on", "classes", "model/parameters")
    metrics = {name: judged[0][name] for name in same}
    table = pooled_predictions(by_role["judged"], run, split)
    write_predictions(run, table)
    metrics["together"] = any(m["together"] for m in judged)
    metrics |= judge(table, metrics, run, split=split)
    metrics |= {"spread": spread(judged, split), "seeds": _by_seed(table), "trainings": len(judged)}
    metrics |= _cost(judged, list(done.values()))
    if by_role["honest"]:
        honest = spread([done[part.name] for part in by_role["honest"]], split)
        metrics["honest"] = honest
        metrics["flattery"] = metrics["spread"]["accuracy"]["mean"] - honest["accuracy"]["mean"]
    if by_role["refit"]:
        metrics["refit"] = {name: done["refit"][name] for name in ("train/epochs", "time/train_seconds")}
    curves = Path("plots") / "curves.png"
    shutil.copy(run.dir / by_role["judged"][0].name / curves, run.dir / curves)
    print(table_of(parts, done, split), flush=True)
    return metrics


def pooled_predictions(parts: Sequence[Part], run: Run, split: str) -> pd.DataFrame:
    """The reported predictions of every part, with its seed and fold."""
    tables = []
    for part in parts:
        table = pd.read_csv(run.dir / part.name / "predictions.csv", dtype={"label": str, "group": str})
        tables.append(table[table.split == split].assign(seed=part.options.seed, fold=part.fold))
    return pd.concat(tables, ignore_index=True)


def spread(metrics: Sequence[dict[str, Any]], split: str) -> dict[str, Any]:
    """figure -> mean, sd (of the sample; 0 for one training), values; per class, of its recall where it has clips."""

    def of(values: Sequence[float]) -> dict[str, Any]:
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        return {"mean": float(np.mean(values)), "sd": sd, "values": list(values)}

    figures = {name: of([m[f"{split}/{name}"] for m in metrics]) for name in SHOWN}
    recalls: dict[str, list[float]] = {}
    for m in metrics:
        for label, row in m[f"{split}/per_class"].items():
            recalls.setdefault(label, []).extend([row["recall"]] if row["clips"] else [])
    return figures | {"recall": {label: of(values) for label, values in recalls.items() if values}}


def _by_seed(table: pd.DataFrame) -> dict[str, float]:
    """Accuracy over all clips of each seed."""
    return {str(seed): float((rows.label == rows.predicted).mean()) for seed, rows in table.groupby("seed")}


def _cost(judged: Sequence[dict[str, Any]], everything: Sequence[dict[str, Any]]) -> dict[str, float]:
    medians = ("time/epoch_seconds", "time/clips_per_second", "train/epochs")
    cost: dict[str, float] = {name: float(np.median([m[name] for m in judged])) for name in medians}
    cost["train/epochs"] = round(cost["train/epochs"])
    return cost | {
        "time/train_seconds": sum(m["time/train_seconds"] for m in everything),
        "time/startup_seconds": max(m.get("time/startup_seconds", 0.0) for m in everything),
        "memory/peak_mib": max(m["memory/peak_mib"] for m in everything),
    }


def table_of(parts: Sequence[Part], done: dict[str, dict[str, Any]], split: str) -> str:
    """One row a training, then mean and standard deviation: figures and each class's recall, in per cent."""
    rows = []
    for part in parts:
        m = done[part.name]
        if part.role == "refit":
            continue
        row = {"training": part.name} | {name.replace("_", " "): 100 * m[f"{split}/{name}"] for name in IN_TABLE}
        recalls = {k: 100 * v["recall"] if v["clips"] else np.nan for k, v in m[f"{split}/per_class"].items()}
        rows.append(row | recalls | {"seconds": m["time/train_seconds"], "role": part.role})
    frame = pd.DataFrame(rows)
    if not any(m["together"] for m in done.values()):
        frame = frame.drop(columns="alone accuracy")
    judged = frame[frame.role == "judged"].drop(columns=["training", "role"])
    frame = frame.drop(columns="role")
    if len(judged) > 1:
        frame.loc[len(frame)] = {"training": "mean"} | judged.mean().to_dict()
        frame.loc[len(frame)] = {"training": "sd"} | judged.std().to_dict()
    text = frame.to_string(index=False, float_format=lambda v: f"{v:.1f}", na_rep="-")
    return f"\nper cent on {split}; after the figures, each class's recall\n{text}"


def keep(part: Part, run: Run) -> None:
    """The part's model becomes the run's."""
    for name in MODEL_FILES:
        source = run.dir / part.name / name
        if source.is_file():
            shutil.copy(source, run.dir / name)


def conclusion(run: Run, metrics: dict[str, Any]) -> str:
    """The last line of a training: what it came to."""
    cost = f"{metrics['train/epochs']} epochs of {metrics['time/epoch_seconds']:.1f} s"
    reported = metrics["reported_on"]
    if reported is None:
        return f"{run.dir}: trained on every clip, so there is no figure; {cost}"
    low, high = metrics[f"{reported}/intervals"]["accuracy"]
    alone = f", {metrics[f'{reported}/alone_accuracy']:.3f} of each clip by itself" if metrics["together"] else ""
    text = (
        f"{run.dir}: accuracy {metrics[f'{reported}/accuracy']:.3f} (95 % interval over recordings {low:.3f} to "
        f"{high:.3f}){alone}, macro-F1 {metrics[f'{reported}/macro_f1']:.3f} on {reported}"
        f"{' (LEAKING SPLIT)' if metrics['split_leaks'] else ''}; {cost}"
    )
    if "flattery" in metrics:
        honest = metrics["honest"]["accuracy"]["mean"]
        text += (
            f"\nthe random split flatters by {100 * metrics['flattery']:.1f} points: {honest:.3f} on unheard recordings"
        )
    return text
