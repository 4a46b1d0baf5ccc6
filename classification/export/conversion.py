"""Convert a trained model to the other framework, with its weights as arrays under the names of the PyTorch model.

Only Keras is imported: numpy reads and writes the safetensors file of the PyTorch model.
"""

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from classification.inference.together import Together
from classification.models.architecture import BandStatistics
from classification.models.weights import tensor_names, to_keras, to_torch
from classification.rundir import BLEND, BLENDED, KERAS_MODEL, LABELS, TORCH_MODEL, network_of, read_run
from shared.errors import UserError
from shared.files import replacing, write_json

STATISTICS = ("mean", "variance")


def keras_to_torch(run_dir: Path) -> dict[str, np.ndarray]:
    """The weights of a Keras run under the names of the PyTorch model."""
    from classification.inference.keras_model import load_model

    network = network_of(run_dir)
    model = load_model(run_dir)
    tensors = {}
    try:
        for layer, names in tensor_names(network):
            for name, array in zip(names, model.get_layer(layer).get_weights(), strict=True):
                tensors[name] = np.ascontiguousarray(to_torch(array, name, network), dtype=np.float32)
    except ValueError as error:
        raise UserError(f"{run_dir / KERAS_MODEL}: is not the model that config.json describes ({error})") from error
    if network.architecture.standardise:  # not weights: Keras stores them in the layer's configuration
        layer = model.get_layer("standardise")
        tensors |= {name: np.reshape(getattr(layer, name), (-1, 1)).astype(np.float32) for name in STATISTICS}
    for name in [name for name in tensors if name.endswith("running_mean")]:
        tensors[name.replace("running_mean", "num_batches_tracked")] = np.array(0, dtype=np.int64)
    return tensors


def torch_to_keras(run_dir: Path):
    """The best model of a PyTorch run as a keras.Model: (B, M, T, 1) -> probabilities (B, K)."""
    from classification.models.keras_cnn import build

    network = network_of(run_dir)
    try:
        tensors = load_file(run_dir / TORCH_MODEL)
    except Exception as error:  # safetensors raises its own type for a damaged file
        raise UserError(f"{run_dir / TORCH_MODEL}: cannot be loaded ({error}); damaged or missing") from error
    statistics = (
        BandStatistics(*(tensors[name][:, 0] for name in STATISTICS)) if network.architecture.standardise else None
    )
    model = build(**network.arguments, statistics=statistics)
    for layer, names in tensor_names(network):
        model.get_layer(layer).set_weights([to_keras(tensors[name], name, network) for name in names])
    return model


def convert(model_dir: Path, out_dir: Path) -> str:
    """Write a run folder with the model in the other framework; return "keras" or "torch", the new framework.

    Raises:
        UserError: model_dir is not a finished run, or out_dir is not empty.
    """
    config, labels = read_run(model_dir)
    if out_dir.exists() and any(out_dir.iterdir()):
        raise UserError(f"--out-dir {out_dir}: is not empty; choose another folder")
    target = "torch" if config["options"]["framework"] == "keras" else "keras"
    if config["options"].get("blend"):
        for name in BLENDED:
            convert(model_dir / name, out_dir / name)
        shutil.copy(model_dir / BLEND, out_dir)
    elif target == "torch":
        with replacing(out_dir / TORCH_MODEL) as temporary:
            save_file(keras_to_torch(model_dir), temporary)
    else:
        with replacing(out_dir / KERAS_MODEL) as temporary:
            torch_to_keras(model_dir).save(temporary)
    config["options"]["framework"] = target
    write_json(out_dir / LABELS, labels)
    if together := Together.load(model_dir):
        together.save(out_dir)
    write_json(out_dir / "config.json", config | {"converted_from": str(model_dir)})
    write_json(out_dir / "metrics.json", {"converted_from": str(model_dir)})
    return target
