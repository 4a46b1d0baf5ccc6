"""The CNN in Keras; torch_cnn.py is the same network in PyTorch."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
from keras import layers, ops

from classification.models.architecture import BandStatistics, Pooling

# With Keras's default of 0.99 the moving statistics take some 500 steps to settle. At 20 steps an epoch, validation
# stays at chance for ten epochs and early stopping acts on noise. 0.9 equals torch's default momentum of 0.1.
BATCH_NORM_MOMENTUM = 0.9


def build(
    *,
    shape: tuple[int, int | None],
    n_classes: int,
    widths: Sequence[int],
    kernel: int,
    pooling: Pooling,
    dense: Sequence[int],
    dropout: float,
    members: int,
    centre: bool,
    standardise: bool,
    statistics: BandStatistics | None = None,
    training: bool = False,
    synchronised: bool = False,
) -> keras.Model:
    """(B, M, T, 1) log-mels in dB -> probabilities (B, K), made only of Keras's own layers.

    Args:
        shape: (M, T); T may be None. The arguments from ``widths`` to ``standardise`` are those of ``Architecture``.
        statistics: the mean and variance of each band, for ``standardise``.
        training: return the model for training instead, with the same weights in the same order: it outputs every
            member's logits (B, R, K).
        synchronised: in training on several devices, batch norm uses the statistics of the whole batch.
    """
    inputs = keras.Input((*shape, 1), name="log_mel")
    x = inputs
    if centre:
        x = x - ops.mean(x, axis=(1, 2), keepdims=True)
    if standardise:
        x = layers.Normalization(axis=1, mean=statistics.mean, variance=statistics.variance, name="standardise")(x)
    conv, norm = layers.Conv2D, layers.BatchNormalization
    if training and keras.backend.backend() == "tensorflow":
        from classification.models import tensorflow_layers  # imported here because Keras may run on another backend

        conv = tensorflow_layers.ConvolutionWithOwnBiasGradient
        norm = norm if synchronised else tensorflow_layers.FusedBatchNormalization
    norm = partial(norm, synchronized=synchronised)
    logits = []
    for prefix in [f"member_{r}_" if members > 1 else "" for r in range(members)]:
        pooled = _pool(_blocks(x, widths, kernel, conv, norm, prefix), pooling, prefix)
        logits.append(_head(pooled, dense, dropout, n_classes, prefix))
    if training:
        return keras.Model(inputs, ops.stack(logits, axis=1), name="trainee")
    each = [layers.Activation("softmax", dtype="float32", name=f"probabilities_{r}")(m) for r, m in enumerate(logits)]
    return keras.Model(inputs, each[0] if len(each) == 1 else layers.Average(name="probabilities")(each), name="cnn")


def _blocks(
    x: Any,
    widths: Sequence[int],
    kernel: int,
    conv: Callable[..., layers.Layer],
    norm: Callable[..., layers.Layer],
    prefix: str,
) -> Any:
    """(B, M, T, 1) -> (B, M', T', C)."""
    for i, width in enumerate(widths):
        x = conv(width, kernel, padding="same", activation="relu", name=f"{prefix}conv_{i}")(x)
        x = norm(momentum=BATCH_NORM_MOMENTUM, name=f"{prefix}norm_{i}")(x)
        x = layers.MaxPooling2D(2, name=f"{prefix}pool_{i}")(x)
    return x


def _pool(x: Any, pooling: Pooling, prefix: str) -> Any:
    """(B, M', T', C) -> (B, C), or with "flatten" (B, M' T' C)."""
    if pooling == "mean":
        return layers.GlobalAveragePooling2D(name=f"{prefix}mean_of_map")(x)
    if pooling == "mean+max":
        x = ops.mean(x, axis=1)  # (B, T', C)
        return layers.Add(name=f"{prefix}mean_max")([ops.mean(x, axis=1), ops.max(x, axis=1)])
    return layers.Flatten(name=f"{prefix}flatten")(x)


def _head(x: Any, dense: Sequence[int], dropout: float, n_classes: int, prefix: str) -> Any:
    """The pooled map -> logits (B, K), always in float32: with bfloat16 the loss would be inaccurate."""
    for i, units in enumerate(dense):
        x = layers.Dense(units, activation="relu", name=f"{prefix}dense_{i}")(x)
        x = layers.Dropout(dropout, name=f"{prefix}dropout_{i}")(x)
    return layers.Dense(n_classes, dtype="float32", name=f"{prefix}logits")(x)
