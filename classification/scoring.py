"""Predictions -> metrics.json, predictions.csv, classification_report.txt and plots; knows no framework."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import classification_report

from classification.inputs import Inputs
from shared.batches import Batches
from shared.files import write_text
from shared.metrics import classification_metrics
from shared.plots import plot_confusion, plot_history
from shared.runs import Run, peak_memory_mib
from shared.timing import training_cost

Predict = Callable[[np.ndarray], np.ndarray]  # (B, M, T) -> (B, K) probabilities


def probabilities(predict: Predict, batches: Batches) -> np.ndarray:
    """(N, K) over every clip of a split, a batch at a time."""
    return np.concatenate([predict(x) for x, _ in batches()])


def score(inputs: Inputs, predict: Predict, run: Run, training: dict[str, float]) -> dict[str, Any]:
    """Judge the best model on the validation and test splits and write every result file but metrics.json.

    Returns:
        The content of metrics.json; "reported_on" names the split whose figures count.
    """
    reported = "test" if "test" in inputs.splits else "val"
    options = inputs.options
    repeated = inputs.manifest.group.nunique() < len(inputs.manifest)
    metrics: dict[str, Any] = {
        "framework": options.framework,
        "recipe": options.recipe,
        "split": options.split,
        "split_leaks": options.split == "random" and repeated,
        "reported_on": reported,
        "classes": inputs.classes,
    }
    tables = []
    for split in ("val", "test"):
        if split not in inputs.splits:
            continue
        p = probabilities(predict, inputs.splits[split])
        y = inputs.splits[split].labels
        groups = inputs.manifest.group[inputs.manifest.split == split].astype(str).to_list()
        figures = classification_metrics(y, p, inputs.classes, groups)
        metrics |= {f"{split}/{name}": value for name, value in figures.items()}
        tables.append(_predictions_table(inputs, split, p))
        if split == reported:
            _report(inputs, run, y, p, note=_note(metrics))
            plot_confusion(run.dir / "plots" / "confusion_matrix.png", figures["confusion_matrix"], inputs.classes)
    write_text(run.dir / "predictions.csv", pd.concat(tables).to_csv(index=False, float_format="%.6g"))
    history = run.history()
    plot_history(run.dir / "plots" / "curves.png", history)
    return metrics | training_cost(history) | {"memory/peak_mib": peak_memory_mib()} | training


def _note(metrics: dict[str, Any]) -> str:
    if metrics["split_leaks"]:
        return "LEAKING SPLIT (--split random): clips of one recording stand on both sides, which flatters the model"
    if metrics["reported_on"] == "val":
        return "on the validation split, which selected the checkpoint: an optimistic figure (--test-share 0)"
    return "on recordings used for neither training nor selection"


def _report(inputs: Inputs, run: Run, y: np.ndarray, p: np.ndarray, *, note: str) -> None:
    ordinals = range(len(inputs.classes))
    text = classification_report(
        y, p.argmax(axis=1), labels=ordinals, target_names=inputs.classes, digits=3, zero_division=0.0
    )
    text = f"Best model ({inputs.options.framework}), {note}:\n\n{text}"
    write_text(run.dir / "classification_report.txt", text)
    print(f"\n{text}", flush=True)


def _predictions_table(inputs: Inputs, split: str, p: np.ndarray) -> pd.DataFrame:
    table = inputs.manifest[inputs.manifest.split == split].copy()
    table["predicted"] = [inputs.classes[k] for k in p.argmax(axis=1)]
    for k, label in enumerate(inputs.classes):
        table[f"p_{label}"] = p[:, k]
    return table
