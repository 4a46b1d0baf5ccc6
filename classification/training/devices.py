"""Keras on several devices of one machine: each holds a copy of the model and gets an equal part of every batch.

Batch norm uses the statistics of the whole batch (``synchronised`` in models/keras_cnn.py). So N devices train like
one, up to rounding; only dropout differs, because all devices draw the same masks for their parts.
"""

import contextlib
import os
from collections.abc import Callable
from typing import Any

from classification.inference.keras_model import ON_TENSORFLOW, keras
from shared.errors import UserError


def mirrored(device: str, devices: int) -> contextlib.AbstractContextManager:
    """The scope in which a model for several devices is built and compiled; with one device it changes nothing.

    The device "cpu" is divided into as many logical CPUs. Call it before the first tensor is made.

    Raises:
        UserError: this machine has fewer devices.
    """
    if devices == 1:
        return contextlib.nullcontext()
    if not ON_TENSORFLOW:
        raise UserError(f"--devices {devices}: needs Keras on TensorFlow; unset KERAS_BACKEND")
    import tensorflow as tf

    if device == "cpu":
        kind, there, what, remedy = "CPU", os.cpu_count() or 1, "CPU cores", "use at most as many"
    else:
        kind, there, what = "GPU", len(tf.config.list_physical_devices("GPU")), "GPUs that Keras can use"
        remedy = "use fewer, or --device cpu to try the option"
    if devices > there:
        raise UserError(f"--devices {devices}: this machine has {there} {what}; {remedy}")
    if device == "cpu":
        parts = [tf.config.LogicalDeviceConfiguration()] * devices
        tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    return tf.distribute.MirroredStrategy([f"{kind}:{i}" for i in range(devices)]).scope()


def validate_on_one(model: keras.Model, *, loss: Callable[..., Any], metrics: list[keras.metrics.Metric]) -> None:
    """Let ``model.fit`` validate on the first device alone: Keras fails on a batch that it cannot divide equally.

    Call it outside ``mirrored``.
    """
    one = keras.Model(model.inputs, model.outputs)
    one.compile(loss=loss, metrics=metrics)
    model.evaluate = lambda x, callbacks, **_: one.evaluate(x, callbacks=callbacks, return_dict=True)
