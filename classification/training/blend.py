"""Training of ``--recipe blend``: a model on spectrograms, a head on a backbone's embeddings, and their weights.

Each of the two is trained and evaluated in a folder of its own, exactly as it would be alone. The weights have the
lowest log loss on inner folds of the training recordings.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy.optimize import minimize

from classification.inference.blend import load_blend, pool
from classification.recipes import RECIPES, TrainOptions
from classification.rundir import BLEND, BLENDED
from classification.training.fitting import train_or_read
from classification.training.framework import Framework
from classification.training.inner import choose_weight_decay, inner_folds, log_loss, out_of_fold
from classification.training.inputs import Inputs, choose_epochs, inputs_of
from shared.features.spec import FeatureSpec
from shared.files import read_json, write_json
from shared.runs.options import assemble, flat
from shared.runs.run import Run, plain

MOST = 4.0
EQUAL = [0.5, 0.5]  # the weights if no inner folds can be made
_HEAD = {name: value for name, value in RECIPES["transfer"].items() if name not in ("refit", "val_share")}


def blended(framework: Framework) -> Framework:
    """A framework that trains and loads both models of a blend."""
    return Framework(partial(fit, framework), partial(load_blend, framework.load), framework.startup)


def fit(framework: Framework, inputs: Inputs, run: Run) -> dict[str, float]:
    """Train or resume both models, then weigh them.

    Returns:
        further entries of metrics.json.
    """
    chosen = [spectrogram_options(inputs.options), head_options(inputs.options, inputs.spec, len(inputs.manifest))]
    own = [
        inputs_of(inputs.features.part(i), inputs.classes, inputs.manifest, options) for i, options in enumerate(chosen)
    ]
    scored, decided = [], []
    for name, each in zip(BLENDED, own, strict=True):
        print(f"\n{run.dir / name}", flush=True)
        details = {"options": plain(flat(each.options)), "features": plain(dataclasses.asdict(each.spec))}
        sub = Run(run.dir / name, run.config | details)
        scored.append(train_or_read(framework, each, sub))
        decided.append(choose_weight_decay(framework, each, sub))
        if name == BLENDED[0] and not run.history():  # the curves of the run
            for line in sub.history():
                run.log(line["epoch"], {key: value for key, value in line.items() if key != "epoch"})
    choose_weights(framework, decided, run)
    return {name: sum(each.metrics[name] for each in scored) for name in ("model/parameters", "time/train_seconds")}


def spectrogram_options(options: TrainOptions) -> TrainOptions:
    """The options of the model on spectrograms: those of the blend."""
    optimiser = dataclasses.replace(options.optimiser, weight_decays=())
    return dataclasses.replace(options, blend=False, backbone_path=None, backbone_sr=None, optimiser=optimiser)


def head_options(options: TrainOptions, spec: FeatureSpec, clips: int) -> TrainOptions:
    """The options of the head: those of ``--recipe transfer``, with the blend's data, seed and --weight-decays.

    Args:
        clips: the number of all clips, by which ``train`` chooses its epochs, too.
    """
    defaults = TrainOptions()
    values = flat(options) | flat(defaults.architecture) | flat(defaults.augment) | flat(defaults.optimiser) | _HEAD
    values |= {"recipe": "transfer", "blend": False, "together": False}
    if decays := options.optimiser.weight_decays:
        values["weight_decays"] = decays
    head = assemble(TrainOptions, values)
    return dataclasses.replace(head, epochs=choose_epochs(head, spec.parts[1], clips=clips))


def choose_weights(framework: Framework, own: Sequence[Inputs], run: Run) -> list[float]:
    """The weights of the two models, kept in the run folder; an interrupted training's are read."""
    file = run.dir / BLEND
    if file.is_file():
        return read_json(file, weights=list)["weights"]
    if (folds := inner_folds(own[0])) < 2:
        write_json(file, {"weights": EQUAL})
        return EQUAL
    print(f"\nboth models are trained on {folds} inner folds, to weigh them", flush=True)
    y = own[0].splits["train"].labels
    each = [out_of_fold(framework, inputs) for inputs in own]
    weights = best_weights(each, y)
    accuracy = {name: float((p.argmax(axis=1) == y).mean()) for name, p in zip(BLENDED, each, strict=True)}
    accuracy["blend"] = float((pool(each, weights).argmax(axis=1) == y).mean())
    write_json(file, {"weights": weights, "inner_accuracy": accuracy})
    shown = ", ".join(f"{name} {value:.1%}" for name, value in accuracy.items())
    print(f"weights {weights[0]:.2f} and {weights[1]:.2f}; accuracies on inner folds: {shown}", flush=True)
    return weights


def best_weights(each: Sequence[np.ndarray], y: np.ndarray) -> list[float]:
    """The weights of probabilities (N, K) whose pool has the lowest log loss for the true classes y (N,).

    The loss is convex in the weights. They are between 0 and MOST: a model that is always right could have any.
    """
    bounds = [(0.0, MOST)] * len(each)
    found = minimize(lambda w: log_loss(pool(each, w), y), EQUAL, bounds=bounds, method="L-BFGS-B")
    return [round(float(w), 6) for w in found.x]
