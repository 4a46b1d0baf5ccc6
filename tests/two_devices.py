"""Train one small network on one device and on two logical CPUs; print the largest differences as JSON.

The gradients of the layers that are made for TensorFlow are compared with those of Keras's own, too.
"""

import json

import numpy as np
import tensorflow as tf

from classification.inference.keras_model import keras
from classification.models.keras_cnn import build
from classification.training.devices import mirrored, validate_on_one
from classification.training.fit_keras import BatchSequence, fed, member_cross_entropy
from shared.features.batches import Batches


class Clips(np.ndarray):
    """Features in memory."""

    paths = ()


def trained(
    data: tuple[Batches, Batches], weights: list[np.ndarray], *, epochs: int, devices: int
) -> tuple[list[float], list[np.ndarray]]:
    """The losses of each epoch and the weights after the last one."""
    with mirrored("cpu", devices):
        model = build(**NETWORK, training=True, synchronised=True)  # on one device too: the fused kernel rounds more
        model.compile(optimizer=keras.optimizers.AdamW(1e-3, weight_decay=0.05), loss=member_cross_entropy)
        model.set_weights(weights)
    if devices > 1:
        validate_on_one(model, loss=member_cross_entropy, metrics=[])
    train, val = fed(BatchSequence(data[0], devices=devices)), fed(BatchSequence(data[1]))
    history = model.fit(train, validation_data=val, epochs=epochs, shuffle=False, verbose=0).history
    return [*history["loss"], *history["val_loss"]], model.get_weights()


def gradients(model: keras.Model, x: np.ndarray) -> list[np.ndarray]:
    """Those of the mean square output in training, then the weights, in which batch norm's statistics have moved."""
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(x[..., None], training=True) ** 2)
    found = tape.gradient(loss, model.trainable_variables)
    return [np.asarray(value) for value in [*found, *model.weights]]


def own_layer(layer: keras.Layer) -> keras.Layer:
    """Keras's own layer for one that is made for TensorFlow; a new layer like the others."""
    kinds = (keras.layers.Conv2D, keras.layers.BatchNormalization)
    kind = next((kind for kind in kinds if isinstance(layer, kind)), type(layer))
    return kind.from_config(layer.get_config())


NETWORK = {"shape": (16, 20), "n_classes": 3, "widths": (4, 8), "kernel": 3, "pooling": "mean+max", "dense": (8,)}
NETWORK |= {"dropout": 0.0, "members": 2, "centre": True, "standardise": False}
mirrored("cpu", 2)  # divides the CPU before the first tensor is made
keras.utils.set_random_seed(0)
rng = np.random.default_rng(0)
x = rng.normal(size=(45, 16, 20)).astype(np.float32).view(Clips)
y = np.arange(len(x)) % 3
one_hot = lambda x, y, rng: (np.asarray(x), np.eye(3, dtype=np.float32)[y])  # noqa: E731
found = {}
for name, clips, epochs in (("one step", 32, 1), ("four steps", 38, 2)):
    train = Batches(x[:clips], y[:clips], batch_size=32, shuffle=True, augment=one_hot)
    val = Batches(x[38:], y[38:], batch_size=32, augment=one_hot)
    weights = build(**NETWORK, training=True).get_weights()
    one, two = (trained((train, val), weights, epochs=epochs, devices=devices) for devices in (1, 2))
    pairs = [*zip(one[0], two[0], strict=True), *zip(one[1], two[1], strict=True)]
    found[name] = max(float(np.abs(np.subtract(a, b)).max()) for a, b in pairs)
sequence = BatchSequence(train)
sequence.epoch = 1
batches = fed(sequence)
pairs = zip(batches.as_numpy_iterator(), (sequence[step] for step in range(len(sequence))), strict=True)
found["batches"] = max(float(np.abs(a - b).max()) for pair in pairs for a, b in zip(*pair, strict=True))
ours = build(**NETWORK, training=True)
own = keras.models.clone_model(ours, clone_function=own_layer)
own.set_weights(ours.get_weights())
modules = [{type(layer).__module__.partition(".")[0] for layer in model.layers} for model in (ours, own)]
pairs = zip(gradients(ours, x), gradients(own, x), strict=True)
layers = {
    "made here": ["classification" in some for some in modules],
    "difference": max(float(np.abs(a - b).max() / max(1e-3, np.abs(b).max())) for a, b in pairs),
}
print(json.dumps({"differences": found, "tuner": batches.options().autotune.enabled, "layers": layers}))
