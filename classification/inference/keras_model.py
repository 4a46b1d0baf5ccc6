"""A trained Keras model as a function from spectrograms to probabilities or features; imports only one backend."""

import logging
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from classification.models.architecture import Network
from classification.rundir import KERAS_MODEL
from shared.errors import UserError
from shared.files import quiet_stderr

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
) -> Callable[[np.ndarray], Any]:
    """The best model of a run as a function: x (B, M, T) -> probabilities (B, K).

    With ``features`` it also returns the inputs of the last layer, concatenated over the members: x -> features (B, D),
    probabilities (B, K).
    ``network`` is not used: the Keras file contains the network.
    """
    use_device(device)
    model = load_model(run_dir)
    if features:  # models/keras_cnn.py names the last layers
        last = [layer.input for layer in model.layers if layer.name.endswith("logits")]
        model = keras.Model(model.inputs, [keras.ops.concatenate(last, axis=1), model.output])
    return lambda x: model.predict_on_batch(x[..., None])


def load_model(run_dir: Path) -> keras.Model:
    """The best model of a run, without its optimiser, which halves the time.

    Raises:
        UserError: it is damaged, or holds code of its own.
    """
    path = run_dir / KERAS_MODEL
    if not zipfile.is_zipfile(path):  # Keras would say that it does not exist
        raise UserError(f"{path}: {'is damaged or cut short' if path.is_file() else 'is missing'}; train the run again")
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises many types
        if "lambda" in str(error).lower():  # its message recommends running the code
            raise UserError(f"{path}: holds code (a Lambda layer), which is never run; train the run again") from error
        reason = str(error).strip().split("\n", 1)[0]
        raise UserError(f"{path}: cannot be loaded ({reason}); damaged, or of another version") from error


def use_device(device: str, *, deterministic: bool = False) -> None:
    """Make Keras compute on ``device``; call it before the first tensor is made.

    With ``deterministic``, only kernels are used that give equal results for equal inputs.

    Raises:
        UserError: a device that Keras cannot use on this machine.
    """
    if device in ("cuda", "mps") and not GPUS:
        raise UserError(f"--device {device}: Keras sees no GPU; use --device cpu")
    if device == "cpu" and GPUS:
        if not ON_TENSORFLOW:
            raise UserError("--device cpu: Keras on torch always uses a GPU; hide it with CUDA_VISIBLE_DEVICES=")
        tf.config.set_visible_devices([], "GPU")
    if deterministic and ON_TENSORFLOW:
        tf.config.experimental.enable_op_determinism()
    elif deterministic:
        torch.use_deterministic_algorithms(True, warn_only=True)
