"""A trained Keras model as a function from spectrograms to probabilities or features; imports only one backend."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from classification.models.architecture import Network
from classification.rundir import KERAS_MODEL
from shared.errors import UserError


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Discard what libraries write directly to file descriptor 2; exceptions pass."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
with quiet_stderr():  # no log level silences TensorFlow's start-up notes
    import keras

    ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
    if ON_TENSORFLOW:
        import tensorflow as tf

        GPUS = bool(tf.config.list_physical_devices("GPU"))
        tf.get_logger().setLevel(logging.ERROR)  # it would warn at every fold's model
    else:
        import torch

        GPUS = torch.cuda.is_available()


def load(
    run_dir: Path, network: Network, *, device: str = "auto", features: bool = False
) -> Callable[[np.ndarray], np.ndarray]:
    """The best model of a run as a function: x (B, M, T) -> probabilities (B, K).

    With ``features`` it returns the inputs of the last layer, concatenated over the members: x -> features (B, D).
    ``network`` is not used: the Keras file contains the network.
    """
    use_device(device)
    # without the optimiser, loading takes half the time
    model = keras.models.load_model(run_dir / KERAS_MODEL, compile=False)
    if features:  # models/keras_cnn.py names the last layers
        last = [layer.input for layer in model.layers if layer.name.endswith("logits")]
        model = keras.Model(model.inputs, keras.ops.concatenate(last, axis=1))
    return lambda x: model.predict_on_batch(x[..., None])


def use_device(device: str) -> None:
    """Make Keras compute on ``device``; call it before the first tensor is made.

    Raises:
        UserError: a device that Keras cannot use on this machine.
    """
    if device in ("cuda", "mps") and not GPUS:
        raise UserError(f"--device {device}: Keras sees no GPU; use --device cpu")
    if device == "cpu" and GPUS:
        if not ON_TENSORFLOW:
            raise UserError("--device cpu: Keras on torch always uses a GPU; hide it with CUDA_VISIBLE_DEVICES=")
        tf.config.set_visible_devices([], "GPU")
