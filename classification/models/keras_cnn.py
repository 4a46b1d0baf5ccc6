"""The plain CNN in Keras; its twin is torch_cnn.py."""

from collections.abc import Sequence

import keras
from keras import layers

# Keras's own 0.99 needs some 500 steps to forget its start: at 20 steps an epoch validation sits at chance for ten
# epochs and the early stopping fires on that noise. This is torch's default, written from the other end.
BATCH_NORM_MOMENTUM = 0.9


def plain_cnn(
    input_shape: tuple[int, int],
    n_classes: int,
    *,
    widths: Sequence[int] = (32, 64, 128),
    dropout: float = 0.3,
) -> keras.Model:
    """(B, M, T, 1) log-mels in dB -> (B, K) probabilities; a convolutional block halves M and T."""
    blocks = []
    for width in widths:
        blocks += [
            layers.Conv2D(width, 3, padding="same", activation="relu"),
            layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM),
            layers.MaxPooling2D(2),
        ]
    return keras.Sequential(
        [
            layers.Input((*input_shape, 1)),
            *blocks,
            layers.GlobalAveragePooling2D(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(dropout),
            # float32 whatever the precision: bfloat16 probabilities cost accuracy in the loss
            layers.Dense(n_classes, activation="softmax", dtype="float32"),
        ],
        name="plain_cnn",
    )
