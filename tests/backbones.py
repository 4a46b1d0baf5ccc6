"""Small models that take a waveform, to test backbones with."""

from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, helper

WIDTH = 4  # values of an embedding: as many neighbouring samples, times the gain


def save_onnx(
    path: Path,
    *,
    shape: Sequence[int | str] = (1, "samples"),
    dtype: int = TensorProto.FLOAT,
    gain: float = 1.0,
    outputs: Sequence[str] = ("scores", "embedding"),
    inputs: int = 1,
) -> Path:
    """A model whose "embedding" (T, WIDTH) is the waveform, cut into steps, times ``gain``; "scores" are the same steps
    twice, (T, 2 WIDTH)."""
    nodes = [
        helper.make_node("Cast", ["y0"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["real", "steps"], ["cut"]),
        helper.make_node("Mul", ["cut", "gain"], ["embedding"]),
        helper.make_node("Concat", ["embedding", "embedding"], ["scores"], axis=1),
    ]
    constants = [
        helper.make_tensor("steps", TensorProto.INT64, [2], [-1, WIDTH]),
        helper.make_tensor("gain", TensorProto.FLOAT, [], [gain]),
    ]
    given = [helper.make_tensor_value_info(f"y{i}", dtype, shape) for i in range(inputs)]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "backbone", given, made, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path
