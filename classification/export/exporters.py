"""Write a finished run in one or several formats, in a process that loads only one framework.

classification/export/export.py starts it: python -m classification.export.exporters SCRATCH RUN STEP...
SCRATCH becomes a run folder with the model in PyTorch, so that every format is made from the same float32 weights,
whatever framework and precision trained them. The steps write their files into SCRATCH.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from classification.export.conversion import keras_to_torch, torch_to_keras
from classification.export.export import INPUT, OPSET, OUTPUT
from classification.rundir import EXPORT, TORCH_MODEL, network_of
from shared.errors import run_entry
from shared.files import read_json


def write_weights(scratch: Path, run_dir: Path) -> None:
    """Write the weights of a Keras run under the names of the PyTorch model."""
    save_file(keras_to_torch(run_dir), scratch / TORCH_MODEL)


def write_safetensors(scratch: Path, run_dir: Path) -> None:
    """Write the weights, with the content of export.json in the metadata of the file."""
    save_file(load_file(scratch / TORCH_MODEL), scratch / "model.safetensors", metadata=as_text(scratch))


def write_onnx(scratch: Path, run_dir: Path) -> None:
    """Write (B, M, T) -> (B, K) for any B, and for any T if the network takes it."""
    import torch
    from safetensors.torch import load_file as load_tensors

    from classification.models.torch_cnn import CNN

    class Probabilities(torch.nn.Module):
        def __init__(self, net: CNN) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net.log_probabilities(x).exp()

    network = network_of(scratch)
    net = CNN(**network.arguments)
    net.load_state_dict(load_tensors(scratch / TORCH_MODEL))
    bands, frames = network.shape
    free = {0: "batch"} if frames else {0: "batch", 2: "frames"}
    program = torch.onnx.export(
        Probabilities(net).eval(),
        (torch.zeros(2, bands, frames or 16 << len(network.architecture.widths)),),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=(free,),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    program.model.metadata_props.update(as_text(scratch))
    program.save(scratch / "model.onnx", external_data=False)


def write_tflite(scratch: Path, run_dir: Path) -> None:
    """Write (B, M, T) -> (B, K) in float32; the interpreter can resize B, while T is that of the run."""
    _convert(torch_to_keras(scratch), scratch, "model.tflite")


def write_tflite_int8(scratch: Path, run_dir: Path) -> None:
    """Write the same with 8-bit weights and feature maps; the ranges of the maps are measured on training clips.

    Input and output stay float32, so that callers need no scales.
    """
    from classification.export.quantise import balance, calibration_clips

    clips = calibration_clips(run_dir)
    model = torch_to_keras(scratch)
    balance(model, network_of(scratch), clips)
    _convert(model, scratch, "model_int8.tflite", clips)


def _convert(model: Any, scratch: Path, name: str, clips: np.ndarray | None = None) -> None:
    import keras
    import tensorflow as tf

    inputs = keras.Input(read_json(scratch / EXPORT)["input"]["shape"][1:], name=INPUT)
    converter = tf.lite.TFLiteConverter.from_keras_model(
        keras.Model(inputs, {OUTPUT: model(keras.ops.expand_dims(inputs, -1))})
    )
    if clips is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([clip[None]] for clip in clips)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]  # all feature maps in 8 bits
    (scratch / name).write_bytes(converter.convert())


def as_text(scratch: Path) -> dict[str, str]:
    """The content of export.json as metadata of a file: text values unchanged, others as JSON."""
    described = read_json(scratch / EXPORT)
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in described.items()}


STEPS = {
    "weights": write_weights,
    "safetensors": write_safetensors,
    "onnx": write_onnx,
    "tflite": write_tflite,
    "tflite-int8": write_tflite_int8,
}


def main() -> None:
    scratch, run_dir, *names = sys.argv[1:]
    os.environ["KERAS_BACKEND"] = "tensorflow"  # TFLite is written by TensorFlow, whatever backend trained
    for name in names:
        STEPS[name](Path(scratch), Path(run_dir))


if __name__ == "__main__":
    run_entry(main)
