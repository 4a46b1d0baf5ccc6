"""Predictions of a trained model -> figures, predictions.csv, classification_report.txt and plots.

Every figure is clip by clip. If a run averages clips that sound like one recording, "together_accuracy" is the accuracy
of the averages. This module needs neither Keras nor PyTorch.
"""

import dataclasses
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.metrics import classification_report

from classification.inference.blend import Forward
from classification.inference.together import Together
from classification.training.inputs import Inputs
from shared.evaluation import bootstrap
from shared.evaluation.metrics import classification_metrics
from shared.files import read_json, write_text
from shared.report.plots import plot_confusion, plot_history
from shared.runs.compare import PREDICTIONS, read_predictions
from shared.runs.run import Run, peak_memory_mib
from shared.runs.timing import training_cost


@dataclasses.dataclass(frozen=True)
class Scored:
    """The results of a finished training.

    Attributes:
        metrics: the content of metrics.json.
        predictions: the content of predictions.csv; None if nothing was held out.
        together: averages its test clips; None if each is predicted by itself.
    """

    metrics: dict[str, Any]
    predictions: pd.DataFrame | None
    together: Together | None

    @classmethod
    def read(cls, run_dir: Path) -> Self:
        """Read the results of a run that an earlier command finished."""
        table = read_predictions(run_dir) if (run_dir / PREDICTIONS).is_file() else None
        return cls(read_json(run_dir / "metrics.json"), table, Together.load(run_dir))


def score(inputs: Inputs, predict: Forward, run: Run, training: dict[str, float], together: Together | None) -> Scored:
    """Evaluate the best model on the validation and test splits and write every result file but metrics.json.

    "reported_on" in the metrics is the split with the reported figures; None if nothing was held out.
    """
    evaluated = [split for split in ("val", "test") if split in inputs.splits]
    metrics = identity(inputs, reported_on=evaluated[-1] if evaluated else None) | {"together": together is not None}
    tables = []
    for split in evaluated:
        p = np.concatenate([predict(x) for x, _ in inputs.splits[split]()])  # (N, K)
        averaged = together.average(p, inputs.splits[split].features) if together else None
        tables.append(predictions_table(inputs, split, p, averaged))
        metrics |= evaluate(tables[-1], metrics, run, split=split)
    table = pd.concat(tables) if tables else None
    if table is not None:
        write_predictions(run, table)
    history = run.history()
    plot_history(run.dir / "plots" / "curves.png", history)
    metrics |= training_cost(history) | {"memory/peak_mib": peak_memory_mib()} | training
    return Scored(metrics, table, together)


def identity(inputs: Inputs, *, reported_on: str | None) -> dict[str, Any]:
    """What a run's figures describe; "held_out" is true if no recording of the reported clips was trained on."""
    options, manifest = inputs.options, inputs.manifest
    repeated = manifest.group.nunique() < len(manifest)
    trained_on = set(manifest[manifest.split == "train"].group)
    return {
        "framework": options.framework,
        "recipe": options.recipe,
        "split": options.split,
        "split_leaks": options.split == "random" and repeated,
        "reported_on": reported_on,
        "held_out": trained_on.isdisjoint(manifest[manifest.split == reported_on].group),
        "classes": inputs.classes,
    }


def evaluate(table: pd.DataFrame, metrics: dict[str, Any], run: Run, *, split: str) -> dict[str, Any]:
    """Figures of a predictions table, keyed "split/name"; also prints and plots those of the reported split."""
    classes = metrics["classes"]
    ordinals = {label: k for k, label in enumerate(classes)}
    p = table[[f"p_{label}" for label in classes]].to_numpy()
    y, groups = table.label.map(ordinals).to_numpy(), table.group.astype(str).to_list()
    figures = classification_metrics(y, p, classes, groups)
    if "together" in table:
        averaged = bootstrap.confusions(y, table.together.map(ordinals).to_numpy(), groups, len(classes))
        figures["together_accuracy"] = float(bootstrap.figures(averaged.sum(axis=0))["accuracy"])
        figures["together_interval"] = bootstrap.intervals(averaged)["accuracy"]
    if split == metrics["reported_on"]:
        _report(metrics, run, table, figures)
        path = run.dir / "plots" / "confusion_matrix.png"
        plot_confusion(path, figures["confusion_matrix"], classes)
        run.events.file(len(run.history()), path)
    return {f"{split}/{name}": value for name, value in figures.items()}


def write_predictions(run: Run, table: pd.DataFrame) -> None:
    write_text(run.dir / PREDICTIONS, table.to_csv(index=False, float_format="%.6g"))


def _note(metrics: dict[str, Any]) -> str:
    """A phrase for the clips that the figures were measured on."""
    if metrics["split_leaks"]:
        return "on a LEAKING split (--split random): training and test share recordings, so the figures are too high"
    if metrics["reported_on"] == "val":
        return "on the validation split (--test-share 0), which selected the checkpoint: optimistic figures"
    if not metrics["held_out"]:
        return "on held-out clips of recordings (or speakers) that were also trained on"
    return "on held-out recordings, none of which was used for training or selection"


def _report(metrics: dict[str, Any], run: Run, table: pd.DataFrame, figures: dict[str, Any]) -> None:
    y, predicted, classes = table.label.to_list(), table.predicted.to_list(), metrics["classes"]
    text = classification_report(y, predicted, labels=classes, digits=3, zero_division=0.0)
    model = "All evaluated trainings pooled" if "seed" in table else "Best model"
    text = f"{model} ({metrics['framework']}), clip by clip, {_note(metrics)}:\n\n{text}"
    if "together_accuracy" in figures:
        text += f"\naccuracy with clips that sound like one recording averaged: {figures['together_accuracy']:.3f}\n"
    write_text(run.dir / "classification_report.txt", text)
    print(f"\n{text}", flush=True)


def predictions_table(inputs: Inputs, split: str, p: np.ndarray, averaged: np.ndarray | None) -> pd.DataFrame:
    """The clips of a split with their predicted class and probabilities, and the class predicted after averaging."""
    columns = ["path", "label", "group", "split"]
    table = inputs.manifest.loc[inputs.manifest.split == split, columns].copy()
    table["predicted"] = [inputs.classes[k] for k in p.argmax(axis=1)]
    if averaged is not None:
        table["together"] = [inputs.classes[k] for k in averaged.argmax(axis=1)]
    return table.assign(**{f"p_{label}": p[:, k] for k, label in enumerate(inputs.classes)})
