"""The weights of the Keras and the PyTorch model: their names, their layouts and their initial values."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from classification.models.architecture import Network, flat_shape


def tensor_names(network: Network) -> Iterator[tuple[str, list[str]]]:
    """Yields each Keras layer with the names of its tensors in PyTorch, in the order of the layer's weights."""
    arch = network.architecture
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


def to_torch(array: np.ndarray, name: str, network: Network) -> np.ndarray:
    """A Keras weight in PyTorch's layout."""
    if array.ndim == 4:  # (height, width, in, out) -> (out, in, height, width)
        return array.transpose(3, 2, 0, 1)
    if _takes_flattened_map(name, network):  # its rows are in the order (M', T', C) in Keras, (C, M', T') in PyTorch
        widths = network.architecture.widths
        maps = array.reshape(*flat_shape(network.shape, widths), widths[-1], -1)
        array = maps.transpose(2, 0, 1, 3).reshape(array.shape)
    return array.T  # a vector stays as it is


def to_keras(array: np.ndarray, name: str, network: Network) -> np.ndarray:
    """The inverse of ``to_torch``: a PyTorch weight in Keras's layout."""
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    array = array.T
    if _takes_flattened_map(name, network):
        widths = network.architecture.widths
        maps = array.reshape(widths[-1], *flat_shape(network.shape, widths), -1)
        array = maps.transpose(1, 2, 0, 3).reshape(array.shape)
    return array


def _takes_flattened_map(name: str, network: Network) -> bool:
    arch = network.architecture
    return arch.pooling == "flatten" and bool(arch.widths) and name.endswith("head.0.weight")


def initial_weight(name: str, shape: Sequence[int], network: Network, rng: np.random.Generator) -> np.ndarray:
    """The initial value of a tensor, the same in both frameworks so that they can be compared: float32 (*shape).

    Keras's defaults: uniform weights (Glorot & Bengio 2010), 1 for batch norm's scale and variance, 0 otherwise. All
    weights of a linear network are 0: training leaves random ones where the clips do not say otherwise.
    """
    if network.linear:
        return np.zeros(shape, dtype=np.float32)
    if len(shape) > 1:  # (out, in, *kernel)
        fans = (shape[0] + shape[1]) * math.prod(shape[2:])
        limit = math.sqrt(6 / fans)
        return rng.uniform(-limit, limit, shape).astype(np.float32)
    return np.full(shape, name.endswith(("weight", "running_var")), dtype=np.float32)
