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
from classification.export.export import EMBEDDING, INPUT, OPSET, OUTPUT, WAVEFORM
from classification.rundir import EXPORT, TORCH_MODEL, network_of
from shared.errors import run_entry
from shared.features.spec import FeatureSpec
from shared.files import read_json


def write_weights(scratch: Path, run_dir: Path) -> None:
    """Write the weights of a Keras run under the names of the PyTorch model."""
    save_file(keras_to_torch(run_dir), scratch / TORCH_MODEL)


def write_safetensors(scratch: Path, run_dir: Path) -> None:
    """Write the weights, with the content of export.json in the metadata of the file."""
    save_file(load_file(scratch / TORCH_MODEL), scratch / "model.safetensors", metadata=as_text(scratch))


def write_onnx(scratch: Path, run_dir: Path) -> None:
    """Write waveforms (B, N) -> probabilities (B, K), embeddings (B, D), for any B and N."""
    import torch

    from classification.export.front_end_torch import WaveformModel

    spec = spec_of(scratch)
    _write_onnx(
        WaveformModel(_network(scratch), spec),
        torch.zeros(2, 3 * spec.n_samples + 1),
        {0: "batch", 1: "samples"},
        scratch / "model.onnx",
        names=(WAVEFORM, [OUTPUT, EMBEDDING]),
    )


def write_onnx_spectrogram(scratch: Path, run_dir: Path) -> None:
    """Write (B, M, T) -> (B, K) for any B, and for any T if the network takes it."""
    import torch

    from classification.models.torch_cnn import CNN

    class Probabilities(torch.nn.Module):
        def __init__(self, net: CNN) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net.log_probabilities(x).exp()

    network = network_of(scratch)
    bands, frames = network.shape
    _write_onnx(
        Probabilities(_network(scratch)),
        torch.zeros(2, bands, frames or 16 << len(network.architecture.widths)),
        {0: "batch"} if frames else {0: "batch", 2: "frames"},
        scratch / "model_spectrogram.onnx",
        names=(INPUT, [OUTPUT]),
    )


def _network(scratch: Path) -> Any:
    from safetensors.torch import load_file as load_tensors

    from classification.models.torch_cnn import CNN

    net = CNN(**network_of(scratch).arguments)
    net.load_state_dict(load_tensors(scratch / TORCH_MODEL))
    return net


def _write_onnx(module: Any, x: Any, free: dict[int, str], path: Path, *, names: tuple[str, list[str]]) -> None:
    """Write a module that takes an input like ``x`` with these free axes; ``names`` are of its input and outputs."""
    import torch

    program = torch.onnx.export(
        module.eval(),
        (x,),
        input_names=[names[0]],
        output_names=names[1],
        dynamic_shapes=(free,),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    program.model.metadata_props.update(as_text(path.parent))
    program.save(path, external_data=False)


def write_tflite(scratch: Path, run_dir: Path) -> None:
    """Write the waveform of one window (B, N) -> probabilities (B, K), embeddings (B, D); B can be resized."""
    from classification.export.front_end_keras import waveform_model

    _convert(waveform_model(torch_to_keras(scratch), spec_of(scratch)), scratch / "model.tflite")


def write_tflite_spectrogram(scratch: Path, run_dir: Path) -> None:
    """Write (B, M, T) -> (B, K) in float32; the interpreter can resize B, while T is that of the run."""
    _convert(_on_spectrograms(torch_to_keras(scratch), scratch), scratch / "model_spectrogram.tflite")


def write_tflite_int8(scratch: Path, run_dir: Path) -> None:
    """Write the same with 8-bit weights and feature maps; the ranges of the maps are measured on training clips.

    Input and output stay float32, so that callers need no scales.
    """
    from classification.export.quantise import balance, calibration_clips

    clips = calibration_clips(run_dir)
    model = torch_to_keras(scratch)
    balance(model, network_of(scratch), clips)
    _convert(_on_spectrograms(model, scratch), scratch / "model_int8.tflite", clips)


def _on_spectrograms(model: Any, scratch: Path) -> Any:
    import keras

    inputs = keras.Input(read_json(scratch / EXPORT)["input"]["shape"][1:], name=INPUT)
    return keras.Model(inputs, {OUTPUT: model(keras.ops.expand_dims(inputs, -1))})


def _convert(model: Any, path: Path, clips: np.ndarray | None = None) -> None:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if clips is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([clip[None]] for clip in clips)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]  # all feature maps in 8 bits
    path.write_bytes(converter.convert())


def spec_of(scratch: Path) -> FeatureSpec:
    return FeatureSpec(**read_json(scratch / EXPORT)["features"])


def as_text(scratch: Path) -> dict[str, str]:
    """The content of export.json as metadata of a file: text values unchanged, others as JSON."""
    described = read_json(scratch / EXPORT)
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in described.items()}


STEPS = {
    "weights": write_weights,
    "safetensors": write_safetensors,
    "onnx": write_onnx,
    "tflite": write_tflite,
    "onnx-spectrogram": write_onnx_spectrogram,
    "tflite-spectrogram": write_tflite_spectrogram,
    "tflite-int8": write_tflite_int8,
}


def main() -> None:
    scratch, run_dir, *names = sys.argv[1:]
    os.environ["KERAS_BACKEND"] = "tensorflow"  # TFLite is written by TensorFlow, whatever backend trained
    for name in names:
        STEPS[name](Path(scratch), Path(run_dir))


if __name__ == "__main__":
    run_entry(main)
