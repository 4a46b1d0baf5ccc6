"""Carry a trained run to the other framework: python classification/convert.py --model-dir RUN --out-dir RUN2

The weights travel as plain arrays under the torch twin's names, so one process needs Keras alone: torch's side of the
crossing is a safetensors file, which numpy reads and writes.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tyro
from safetensors.numpy import load_file, save_file

from classification.models.architecture import Architecture, BandStatistics
from classification.rundir import architecture_of, read_run
from classification.together import Together
from shared.errors import UserError, run_entry
from shared.files import replacing, write_json

STATISTICS = ("mean", "variance")
KERAS_FILE, TORCH_FILE = "best_model.keras", "best_model.safetensors"


def crossing(arch: Architecture) -> Iterator[tuple[str, list[str]]]:
    """Keras layer -> the torch twin's tensors, in the order of the layer's weights."""
    for r in range(arch.members):
        keras, torch = f"member_{r}_" if arch.members > 1 else "", f"members.{r}"
        for i in range(len(arch.widths)):
            conv, norm = f"{torch}.blocks.{4 * i}", f"{torch}.blocks.{4 * i + 2}"
            yield f"{keras}conv_{i}", [f"{conv}.weight", f"{conv}.bias"]
            yield f"{keras}norm_{i}", [f"{norm}.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
        for i in range(len(arch.dense)):
            yield f"{keras}dense_{i}", [f"{torch}.head.{3 * i}.{name}" for name in ("weight", "bias")]
        last = f"{torch}.head.{3 * len(arch.dense)}"
        yield f"{keras}logits", [f"{last}.weight", f"{last}.bias"]


def to_torch(array: np.ndarray, name: str, arch: Architecture) -> np.ndarray:
    """A Keras weight as torch lays it out."""
    if array.ndim == 4:  # (height, width, in, out) -> (out, in, height, width)
        return array.transpose(3, 2, 0, 1)
    if array.ndim != 2:
        return array
    if _takes_flattened_map(name, arch):  # rows are (M', T', C) in Keras, (C, M', T') in torch
        array = array.reshape(*arch.flat_shape, arch.widths[-1], -1).transpose(2, 0, 1, 3).reshape(array.shape)
    return array.T


def to_keras(array: np.ndarray, name: str, arch: Architecture) -> np.ndarray:
    """``to_torch`` backwards."""
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    if array.ndim != 2:
        return array
    array = array.T
    if _takes_flattened_map(name, arch):
        array = array.reshape(arch.widths[-1], *arch.flat_shape, -1).transpose(1, 2, 0, 3).reshape(array.shape)
    return array


def _takes_flattened_map(name: str, arch: Architecture) -> bool:
    return arch.pooling == "flatten" and name.endswith("head.0.weight")


def keras_to_torch(run_dir: Path) -> dict[str, np.ndarray]:
    """The weights of a Keras run under the torch twin's names."""
    import keras

    arch = architecture_of(run_dir)
    model = keras.models.load_model(run_dir / KERAS_FILE)
    tensors = {}
    for layer, names in crossing(arch):
        for name, array in zip(names, model.get_layer(layer).get_weights(), strict=True):
            tensors[name] = np.ascontiguousarray(to_torch(array, name, arch), dtype=np.float32)
    if arch.standardise:  # statistics, not weights: Keras keeps them in the layer's configuration
        layer = model.get_layer("standardise")
        tensors |= {name: np.reshape(getattr(layer, name), (-1, 1)).astype(np.float32) for name in STATISTICS}
    for name in [name for name in tensors if name.endswith("running_mean")]:
        tensors[name.replace("running_mean", "num_batches_tracked")] = np.array(0, dtype=np.int64)
    return tensors


def torch_to_keras(run_dir: Path):
    """A torch run's best model as a keras.Model: (B, M, T, 1) -> probabilities (B, K)."""
    from classification.models.keras_cnn import build

    arch = architecture_of(run_dir)
    tensors = load_file(run_dir / TORCH_FILE)
    statistics = BandStatistics(*(tensors[name][:, 0] for name in STATISTICS)) if arch.standardise else None
    model = build(arch, statistics)
    for layer, names in crossing(arch):
        model.get_layer(layer).set_weights([to_keras(tensors[name], name, arch) for name in names])
    return model


@dataclasses.dataclass(kw_only=True)
class ConvertOptions:
    """Carry a trained classifier from Keras to PyTorch or back."""

    model_dir: Path
    """Run folder of classification/train.py, finished."""
    out_dir: Path
    """Run folder to make: the same model in the other framework, for predict.py and all that reads a run."""


def convert(model_dir: Path, out_dir: Path) -> str:
    """Write the twin's run folder; the framework it is of."""
    config, labels = read_run(model_dir)
    if out_dir.exists() and any(out_dir.iterdir()):
        raise UserError(f"--out-dir {out_dir}: is not empty; choose another folder")
    target = "torch" if config["options"]["framework"] == "keras" else "keras"
    if target == "torch":
        with replacing(out_dir / TORCH_FILE) as temporary:
            save_file(keras_to_torch(model_dir), temporary)
    else:
        with replacing(out_dir / KERAS_FILE) as temporary:
            torch_to_keras(model_dir).save(temporary)
    config["options"]["framework"] = target
    write_json(out_dir / "labels.json", labels)
    if together := Together.load(model_dir):
        together.save(out_dir)
    write_json(out_dir / "config.json", config | {"converted_from": str(model_dir)})
    write_json(out_dir / "metrics.json", {"converted_from": str(model_dir)})
    return target


def main() -> None:
    options = tyro.cli(ConvertOptions)
    target = convert(options.model_dir, options.out_dir)
    print(f"{options.out_dir}: the model of {options.model_dir} for {target}; its figures are that run's")


if __name__ == "__main__":
    run_entry(main)
