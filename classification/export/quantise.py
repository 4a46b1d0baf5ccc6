"""Prepare a network for 8 bits: choose the clips that measure its ranges, and balance its channels."""

from pathlib import Path
from typing import Any

import numpy as np

from classification.models.architecture import Network
from classification.models.weights import tensor_names
from classification.rundir import origin, read_run
from shared.data.datasets import load_dataset
from shared.data.splits import take_fraction
from shared.errors import UserError
from shared.features.cache import FeatureCache
from shared.features.spec import FeatureSpec
from shared.files import read_json
from shared.runs.compare import PREDICTIONS, read_predictions

CLIPS = 200  # enough for the ranges: the converter keeps only minimum and maximum of each map
PROBED = 32  # clips whose feature maps are in memory at once: 0.2 GiB in the plain recipe
CEILING = 99.99  # percentile at which a feature map is clipped


def calibration_clips(run_dir: Path, *, limit: int = CLIPS) -> np.ndarray:
    """Up to ``limit`` random training clips of the run's model, from its cache: float32 (n, M, T).

    Raises:
        UserError: the data folder of the run is gone, or none of its sounds can be read.
    """
    config, _ = read_run(run_dir)
    options, root = config["options"], Path(config["data"]["root"])
    if not root.is_dir():
        raise UserError(f"tflite-int8 measures its ranges on training clips, but {root} is gone; put it back")
    manifest = take_fraction(load_dataset(root).manifest, fraction=options["fraction"], seed=options["seed"])
    held_out = _held_out(origin(run_dir))
    clips = zip(manifest.label, manifest.path, strict=True)
    trained_on = [path for label, path in clips if (label, Path(path).name) not in held_out]
    chosen = np.random.default_rng(0).permutation(len(trained_on))[:limit]
    cache = FeatureCache(FeatureSpec(**config["features"]), Path(options["cache_dir"]))
    cached = cache.build([trained_on[i] for i in chosen], n_jobs=options["n_jobs"], progress=False)
    if not cached.kept:
        raise UserError(f"tflite-int8 measures its ranges on training clips, but none of {root} can be read")
    return cached.features[range(len(cached.kept))]


def _held_out(run_dir: Path) -> set[tuple[str, str]]:
    """(label, file name) of the clips the kept model was evaluated on; empty if it was trained on all clips."""
    if "refit" in read_json(run_dir / "metrics.json") or not (run_dir / PREDICTIONS).is_file():
        return set()
    table = read_predictions(run_dir)
    if "seed" in table:  # the kept model is that of the first training
        first = table.iloc[0]
        table = table[(table.seed == first.seed) & (table.fold.isna() | (table.fold == first.fold))]
    return {(label, Path(path).name) for path, label in zip(table.path, table.label, strict=True)}


def balance(model: Any, network: Network, clips: np.ndarray) -> None:
    """Change a Keras model in place so that one scale of 8 bits fits all channels of a map.

    Before a batch norm every channel has its own range, and a scale that fits the widest leaves few bits for the
    narrow ones. ReLU(f x) = f ReLU(x) for f > 0 (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization
    and Bias Correction", eq. 6), so the factors of the norm are moved into the convolution, whose weights have a scale
    per channel. The norm then only shifts, and the output stays the same. Finally each map is clipped at the
    ``CEILING`` percentile, because rare peaks would take bits from all other values.

    Args:
        model: (B, M, T, 1) -> probabilities (B, K), of ``network``.
        clips: float32 (n, M, T) to measure the percentile on.
    """
    import keras

    convolutions = [name for name, _ in tensor_names(network) if "conv_" in name]
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
