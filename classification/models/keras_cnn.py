"""The plain CNN in Keras; its twin is torch_cnn.py."""

from collections.abc import Sequence

import keras
from keras import layers


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
            layers.BatchNormalization(),
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
