"""Choices made on inner folds of a training's own recordings, so that nothing held out takes part in them."""

import contextlib
import dataclasses
import io
import tempfile
from pathlib import Path

import numpy as np

from classification.training.framework import Framework
from classification.training.inputs import Inputs, inputs_of
from shared.data.splits import assign_splits
from shared.files import read_json, write_json
from shared.runs.run import Run

FOLDS = 3  # fewer if a class has fewer recordings
CHOSEN = "weight_decay.json"  # in the run folder: the accuracies of all weight decays and the chosen one


def choose_weight_decay(framework: Framework, inputs: Inputs, run: Run) -> Inputs:
    """The inputs with the weight decay of --weight-decays that does best on inner folds, kept in the run folder.

    The accuracy of the inner folds' clips counts, of equal ones the log loss, which alone prefers heads that are sure
    of nothing. If a class has a single recording, nothing can be held out and the middle one is taken.
    """
    decays, file = inputs.options.optimiser.weight_decays, run.dir / CHOSEN
    if not decays:
        return inputs
    if file.is_file():  # an interrupted training chose it
        return _with_decay(inputs, read_json(file, weight_decay=float)["weight_decay"])
    chosen, figures = float(decays[len(decays) // 2]), {}
    if len(decays) > 1 and inner_folds(inputs) > 1:
        y = inputs.splits["train"].labels
        for decay in decays:
            p = out_of_fold(framework, _with_decay(inputs, decay))
            figures[float(decay)] = float((p.argmax(axis=1) == y).mean()), -log_loss(p, y)
        chosen = max(figures, key=figures.__getitem__)
        listed = ", ".join(f"{accuracy:.1%} ({decay:g})" for decay, (accuracy, _) in figures.items())
        print(f"weight decay {chosen:g}; accuracies on inner folds: {listed}", flush=True)
    write_json(file, {"weight_decay": chosen, "inner_accuracy": {k: accuracy for k, (accuracy, _) in figures.items()}})
    return _with_decay(inputs, chosen)


def out_of_fold(framework: Framework, inputs: Inputs) -> np.ndarray:
    """The probabilities (N, K) of the N training clips, each by a model that was trained on other recordings."""
    train = inputs.splits["train"]
    manifest = inputs.manifest[inputs.manifest.split == "train"].reset_index(drop=True)
    p, folds = np.zeros((train.clips, len(inputs.classes)), dtype=np.float32), inner_folds(inputs)
    options = dataclasses.replace(inputs.options, val_share=0.0, test_share=0.0)
    for fold in range(folds):
        split = assign_splits(manifest, how="grouped", val_share=0, fold=fold, folds=folds, seed=options.seed)
        own = inputs_of(train.features, inputs.classes, split, options)
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            inner = Run(Path(folder), {"options": {}, "data": {}})
            framework.fit(own, inner)
            predict = framework.load(inner.dir, own.network, device=options.device)
            p[split.split == "test"] = np.concatenate([predict(x) for x in own.splits["test"].each_clip()])
            inner.close()
    return p


def inner_folds(inputs: Inputs) -> int:
    """The number of inner folds: FOLDS, or the recordings of the class that has the fewest."""
    rows = inputs.manifest[inputs.manifest.split == "train"]
    return min(FOLDS, int(rows.groupby("label").group.nunique().min()))


def log_loss(p: np.ndarray, y: np.ndarray) -> float:
    """The mean negative logarithm of the probabilities (N, K) of the true classes y (N,)."""
    return float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-7)).mean())


def _with_decay(inputs: Inputs, decay: float) -> Inputs:
    optimiser = dataclasses.replace(inputs.options.optimiser, weight_decay=decay, weight_decays=())
    return dataclasses.replace(inputs, options=dataclasses.replace(inputs.options, optimiser=optimiser))
