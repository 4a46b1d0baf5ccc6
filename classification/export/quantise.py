"""Preparing a network for 8 bits: the clips that its ranges are measured on, and the balance of its channels."""

from pathlib import Path
from typing import Any

import numpy as np

from classification.models.architecture import Network
from classification.models.weights import crossing
from classification.rundir import origin, read_run
from shared.data.datasets import load_dataset
from shared.data.splits import take_fraction
from shared.errors import UserError
from shared.features.cache import FeatureCache
from shared.features.spec import FeatureSpec
from shared.files import read_json
from shared.runs.compare import PREDICTIONS, read_predictions

CLIPS = 200  # enough for the ranges: the converter keeps only their ends
PROBED = 32  # clips whose maps are held in memory at once: 0.2 GiB in the plain recipe
CEILING = 99.99  # per cent of a map's values that are not clipped


def calibration_clips(run_dir: Path, *, limit: int = CLIPS) -> np.ndarray:
    """Up to ``limit`` of the clips the run's model was trained on, drawn at random: float32 (n, M, T), from its cache.

    Raises:
        UserError: the sounds are no longer where the run found them.
    """
    config, _ = read_run(run_dir)
    options, root = config["options"], Path(config["data"]["root"])
    if not root.is_dir():
        raise UserError(f"the ranges of 8 bits are measured on training clips, but {root} is gone; put it back")
    manifest = take_fraction(load_dataset(root).manifest, fraction=options["fraction"], seed=options["seed"])
    held_out = _held_out(origin(run_dir))
    clips = zip(manifest.label, manifest.path, strict=True)
    heard = [path for label, path in clips if (label, path.name) not in held_out]
    chosen = np.random.default_rng(0).permutation(len(heard))[:limit]
    cache = FeatureCache(FeatureSpec(**config["features"]), Path(options["cache_dir"]))
    cached = cache.build([heard[i] for i in chosen], n_jobs=options["n_jobs"], progress=False)
    if not cached.kept:
        raise UserError(f"the ranges of 8 bits are measured on training clips, but none of {root} can be read")
    return cached.features[range(len(cached.kept))]


def _held_out(run_dir: Path) -> set[tuple[str, str]]:
    """(label, file name) of the clips the kept model was evaluated on; none where it was trained on all of them."""
    if "refit" in read_json(run_dir / "metrics.json") or not (run_dir / PREDICTIONS).is_file():
        return set()
    table = read_predictions(run_dir)
    if "seed" in table:  # of several trainings the first one's model is kept
        first = table.iloc[0]
        table = table[(table.seed == first.seed) & (table.fold.isna() | (table.fold == first.fold))]
    return {(label, Path(path).name) for path, label in zip(table.path, table.label, strict=True)}


def balance(model: Any, network: Network, clips: np.ndarray) -> None:
    """Change a Keras model in place so that one scale of 8 bits fits all channels of a map.

    Before a batch norm every channel has its own range, and a scale that fits the widest leaves the narrow ones few
    bits. ReLU(f x) = f ReLU(x) for f > 0 (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and
    Bias Correction", eq. 6), so the norm's factors move into the convolution, whose weights have a scale for each
    channel. The norm then only shifts, and the output stays the same. Last, each map is clipped at the ``CEILING``
    percentile: the rare peaks above it would take bits from all other values.

    Args:
        model: (B, M, T, 1) -> probabilities (B, K), of ``network``.
        clips: float32 (n, M, T) on which the percentile is measured.
    """
    import keras

    convolutions = [name for name, _ in crossing(network) if "conv_" in name]
    probe = keras.Model(model.input, [model.get_layer(name).output for name in convolutions])
    maps = probe(clips[:PROBED, ..., None], training=False)
    for name, heights in zip(convolutions, maps if len(convolutions) > 1 else [maps], strict=True):
        conv, norm = model.get_layer(name), model.get_layer(name.replace("conv_", "norm_"))
        kernel, bias = conv.get_weights()
        gamma, beta, mean, variance = norm.get_weights()
        scale = gamma / np.sqrt(variance + norm.epsilon)
        factor = np.where(scale == 0, 1, np.abs(scale))
        conv.set_weights([kernel * factor, bias * factor])
        norm.set_weights([np.sign(scale), beta - mean * scale, 0 * mean, np.full_like(variance, 1 - norm.epsilon)])
        ceiling = np.percentile(keras.ops.convert_to_numpy(heights) * factor, CEILING)
        conv.activation = lambda x, most=float(ceiling): keras.ops.minimum(keras.ops.relu(x), most)
