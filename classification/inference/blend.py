"""The model of ``--recipe blend``: the probabilities of two models, each of which has a run folder of its own."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from classification.models.architecture import Network
from classification.rundir import BLEND, BLENDED, network_of
from shared.features.joined import split
from shared.features.spec import FeatureSpec
from shared.files import read_json

Forward = Callable[[np.ndarray], Any]  # (B, M, T) -> (B, K) probabilities, or with features (B, D) before them


def load_blend(
    load: Callable[..., Forward],
    run_dir: Path,
    network: Network,
    *,
    device: str = "auto",
    features: bool = False,
) -> Forward:
    """The best models of a run with joined features as one function: x (B, *spec.shape) -> probabilities (B, K).

    With ``features`` it also returns the inputs of the last layers of both models: x -> (B, D), (B, K).
    ``network`` is not used: each model has its own.

    Args:
        load: loads a model of the run's framework.
    """
    spec = FeatureSpec(**read_json(run_dir / "config.json", features=dict)["features"])
    folders = [run_dir / name for name in BLENDED]
    models = [load(folder, network_of(folder), device=device, features=features) for folder in folders]
    weights = read_json(run_dir / BLEND, weights=list)["weights"]

    def forward(x: np.ndarray) -> Any:
        each = [model(part) for model, part in zip(models, split(x, spec), strict=True)]
        if not features:
            return pool(each, weights).astype(np.float32)
        inputs, p = zip(*each, strict=True)
        return np.concatenate(inputs, axis=1), pool(p, weights).astype(np.float32)

    return forward


def pool(each: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """The normalised product of probabilities (N, K), each to the power of its weight.

    This is the logarithmic opinion pool (Genest & Zidek 1986). A weight below 1 also corrects a model that is too sure.
    """
    logits = sum(w * np.log(np.maximum(p.astype(np.float64), 1e-7)) for p, w in zip(each, weights, strict=True))
    return softmax(logits, axis=1)
