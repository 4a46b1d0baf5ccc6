"""The CNN in Keras; its twin is torch_cnn.py."""

import keras
from keras import layers, ops

from classification.models.architecture import Architecture, BandStatistics

# Keras's own 0.99 needs some 500 steps to forget its start: at 20 steps an epoch validation sits at chance for ten
# epochs and the early stopping fires on that noise. This is torch's default, written from the other end.
BATCH_NORM_MOMENTUM = 0.9


def build(arch: Architecture, statistics: BandStatistics | None = None) -> tuple[keras.Model, keras.Model]:
    """Two models of the same weights: (B, M, T, 1) dB -> logits (B, R, K) to train, -> probabilities (B, K) to keep."""
    inputs = keras.Input((*arch.shape, 1), name="log_mel")
    x = inputs
    if arch.standardise:
        x = layers.Normalization(axis=1, mean=statistics.mean, variance=statistics.variance, name="standardise")(x)
    members = [_member(arch, x, f"member_{r}_" if arch.members > 1 else "") for r in range(arch.members)]
    each = [layers.Activation("softmax", dtype="float32", name=f"probabilities_{r}")(m) for r, m in enumerate(members)]
    probabilities = each[0] if arch.members == 1 else layers.Average(name="probabilities")(each)
    logits = ops.stack(members, axis=1)
    return keras.Model(inputs, logits, name="trainee"), keras.Model(inputs, probabilities, name="cnn")


def _member(arch: Architecture, x: keras.KerasTensor, prefix: str) -> keras.KerasTensor:
    """One network: standardised (B, M, T, 1) -> logits (B, K)."""
    for i, width in enumerate(arch.widths):
        x = layers.Conv2D(width, 3, padding="same", activation="relu", name=f"{prefix}conv_{i}")(x)
        x = layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, name=f"{prefix}norm_{i}")(x)
        x = layers.MaxPooling2D(2, name=f"{prefix}pool_{i}")(x)
    if arch.pooling == "mean":
        x = layers.GlobalAveragePooling2D(name=f"{prefix}mean")(x)
    elif arch.pooling == "mean+max":
        x = ops.mean(x, axis=1)  # (B, T, C)
        x = layers.Add(name=f"{prefix}mean_max")([ops.mean(x, axis=1), ops.max(x, axis=1)])
    else:
        x = layers.Flatten(name=f"{prefix}flatten")(x)
    for i, units in enumerate(arch.dense):
        x = layers.Dense(units, activation="relu", name=f"{prefix}dense_{i}")(x)
        x = layers.Dropout(arch.dropout, name=f"{prefix}dropout_{i}")(x)
    # float32 whatever the precision: bfloat16 logits cost accuracy in the loss
    return layers.Dense(arch.n_classes, dtype="float32", name=f"{prefix}logits")(x)
