"""Forwardions -> metrics.json, predictions.csv, classification_report.txt and plots; knows no framework."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import classification_report

from classification.inference.classifier import Forward
from classification.inference.together import Together
from classification.training.inputs import Inputs
from shared.evaluation.metrics import classification_metrics
from shared.features.batches import Batches
from shared.files import write_text
from shared.report.plots import plot_confusion, plot_history
from shared.runs.run import Run, peak_memory_mib
from shared.runs.timing import training_cost


def probabilities(predict: Forward, batches: Batches) -> np.ndarray:
    """(N, K) over every clip of a split, a batch at a time."""
    return np.concatenate([predict(x) for x, _ in batches()])


def score(
    inputs: Inputs, predict: Forward, run: Run, training: dict[str, float], *, together: Together | None = None
) -> dict[str, Any]:
    """Judge the best model on the validation and test splits and write every result file but metrics.json.

    With ``together`` the figures are of clips judged with those that sound like them, as a submission's clips are;
    "alone_accuracy" is of each by itself.

    Returns:
        The content of metrics.json; "reported_on" names the split whose figures count, None where nothing was held out.
    """
    judged = [split for split in ("val", "test") if split in inputs.splits]
    metrics = identity(inputs, reported_on=judged[-1] if judged else None) | {"together": together is not None}
    tables = []
    for split in judged:
        alone = probabilities(predict, inputs.splits[split])
        p = together.judge(alone, inputs.splits[split].features) if together else alone
        tables.append(predictions_table(inputs, split, p, alone))
        metrics |= judge(tables[-1], metrics, run, split=split)
    if tables:
        write_predictions(run, pd.concat(tables))
    history = run.history()
    plot_history(run.dir / "plots" / "curves.png", history)
    return metrics | training_cost(history) | {"memory/peak_mib": peak_memory_mib()} | training


def identity(inputs: Inputs, *, reported_on: str | None) -> dict[str, Any]:
    """What a run's figures are about."""
    options = inputs.options
    repeated = inputs.manifest.group.nunique() < len(inputs.manifest)
    return {
        "framework": options.framework,
        "recipe": options.recipe,
        "split": options.split,
        "split_leaks": options.split == "random" and repeated,
        "reported_on": reported_on,
        "classes": inputs.classes,
    }


def judge(table: pd.DataFrame, metrics: dict[str, Any], run: Run, *, split: str) -> dict[str, Any]:
    """The figures of a predictions table, keyed "split/name"; those of the reported split are also shown and drawn."""
    classes = metrics["classes"]
    p = table[[f"p_{label}" for label in classes]].to_numpy()
    y = table.label.map({label: k for k, label in enumerate(classes)}).to_numpy()
    figures = classification_metrics(y, p, classes, table.group.astype(str).to_list())
    figures["alone_accuracy"] = float((table.alone == table.label).mean())
    if split == metrics["reported_on"]:
        _report(metrics, run, y, p, note=_note(metrics))
        plot_confusion(run.dir / "plots" / "confusion_matrix.png", figures["confusion_matrix"], classes)
    return {f"{split}/{name}": value for name, value in figures.items()}


def write_predictions(run: Run, table: pd.DataFrame) -> None:
    write_text(run.dir / "predictions.csv", table.to_csv(index=False, float_format="%.6g"))


def _note(metrics: dict[str, Any]) -> str:
    if metrics["split_leaks"]:
        return "LEAKING SPLIT (--split random): clips of one recording stand on both sides, which flatters the model"
    if metrics["reported_on"] == "val":
        return "on the validation split, which selected the checkpoint: an optimistic figure (--test-share 0)"
    together = ", clips that sound like one recording judged together" if metrics["together"] else ""
    return f"on recordings used for neither training nor selection{together}"


def _report(metrics: dict[str, Any], run: Run, y: np.ndarray, p: np.ndarray, *, note: str) -> None:
    classes = metrics["classes"]
    text = classification_report(
        y, p.argmax(axis=1), labels=range(len(classes)), target_names=classes, digits=3, zero_division=0.0
    )
    text = f"Best model ({metrics['framework']}), {note}:\n\n{text}"
    write_text(run.dir / "classification_report.txt", text)
    print(f"\n{text}", flush=True)


def predictions_table(inputs: Inputs, split: str, p: np.ndarray, alone: np.ndarray) -> pd.DataFrame:
    """The clips of a split with their predicted class and probabilities, and what each was taken for by itself."""
    columns = ["path", "label", "group", "split"]
    table = inputs.manifest.loc[inputs.manifest.split == split, columns].copy()
    table["predicted"] = [inputs.classes[k] for k in p.argmax(axis=1)]
    table["alone"] = [inputs.classes[k] for k in alone.argmax(axis=1)]
    for k, label in enumerate(inputs.classes):
        table[f"p_{label}"] = p[:, k]
    return table
