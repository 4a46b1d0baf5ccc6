"""The model of ``--recipe blend``: the probabilities of two models, each of which has a run folder of its own."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.special import softmax

from classification.models.architecture import Network
from classification.rundir import BLEND, BLENDED, network_of
from shared.features.joined import split
from shared.features.spec import FeatureSpec
from shared.files import read_json

Forward = Callable[[np.ndarray], np.ndarray]  # (B, M, T) -> (B, K) probabilities


def load_blend(
    load: Callable[..., Forward],
    run_dir: Path,
    network: Network,
    *,
    device: str = "auto",
    features: bool = False,
) -> Forward:
    """The best models of a run with joined features as one function: x (B, *spec.shape) -> probabilities (B, K).

    With ``features`` it returns the inputs of the last layers of both models: x -> (B, D).
    ``network`` is not used: each model has its own.

    Args:
        load: loads a model of the run's framework.
    """
    spec = FeatureSpec(**read_json(run_dir / "config.json", features=dict)["features"])
    folders = [run_dir / name for name in BLENDED]
    models = [load(folder, network_of(folder), device=device, features=features) for folder in folders]
    weights = read_json(run_dir / BLEND, weights=list)["weights"]

    def forward(x: np.ndarray) -> np.ndarray:
        each = [model(part) for model, part in zip(models, split(x, spec), strict=True)]
        return np.concatenate(each, axis=1) if features else pool(each, weights).astype(np.float32)

    return forward


def pool(each: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """The normalised product of probabilities (N, K), each to the power of its weight.

    This is the logarithmic opinion pool (Genest & Zidek 1986). A weight below 1 also corrects a model that is too sure.
    """
    logits = sum(w * np.log(np.maximum(p.astype(np.float64), 1e-7)) for p, w in zip(each, weights, strict=True))
    return softmax(logits, axis=1)
