"""A Keras model that takes a waveform: spectrogram and network in one graph."""

from typing import Any

import keras
import numpy as np
from keras import ops

from classification.export.front_end import bands, cosines, dft_basis
from shared.features.spec import AMIN, FLOOR, TOP_DB, FeatureSpec


def spectrogram(y: Any, spec: FeatureSpec) -> Any:
    """Samples (B, N), N = ``spec.n_samples`` -> spectrograms (B, M, T), as in ``shared.features.transforms``."""
    side = spec.n_fft // 2
    mode = "reflect" if spec.convention == "torchaudio" and spec.kind != "stft" else "constant"
    kernel = dft_basis(spec).T[:, None]  # (n_fft, 1, 2 F)
    parts = ops.conv(ops.pad(y, [(0, 0), (side, side)], mode=mode)[..., None], kernel, strides=spec.hop_length)
    real, imaginary = ops.split(parts, 2, axis=-1)
    S = ops.square(real) + ops.square(imaginary)  # (B, T, F)
    if spec.power != 2:
        S = ops.sqrt(S) if spec.power == 1 else ops.sqrt(S) ** spec.power
    filters = bands(spec)
    if filters is not None:
        S = ops.matmul(S, np.ascontiguousarray(filters.T))
    if spec.kind == "mfcc":
        return _fixed(ops.matmul(_decibels(S, 1.0), np.ascontiguousarray(cosines(spec).T)), spec)
    S = _fixed(S, spec)
    if spec.scaling == "log1p":
        return ops.log1p(S)
    if spec.scaling == "ln":
        return ops.log(ops.maximum(S, FLOOR))
    loudest = ops.max(S, axis=(1, 2), keepdims=True)
    db = ops.where(loudest > AMIN, _decibels(S, ops.maximum(loudest, AMIN)), -TOP_DB)
    return db if spec.scaling == "db" else db / (TOP_DB / 2) + 1


def _decibels(S: Any, reference: Any) -> Any:
    db = 10 * ops.log10(ops.maximum(S, AMIN) / reference)
    return ops.maximum(db, ops.max(db, axis=(1, 2), keepdims=True) - TOP_DB)


def _fixed(S: Any, spec: FeatureSpec) -> Any:
    """(B, T, M) -> (B, M, T) with the spec's number of frames."""
    frames = spec.shape[-1]
    S = ops.pad(S[:, :frames], [(0, 0), (0, max(0, frames - spec.clip_frames)), (0, 0)])
    return ops.transpose(S, (0, 2, 1))


def waveform_model(cnn: keras.Model, spec: FeatureSpec) -> keras.Model:
    """Waveforms (B, N) of one window, N = ``spec.n_samples`` -> probabilities (B, K), embedding (B, D)."""
    waveform = keras.Input((spec.n_samples,), name="waveform")
    x = spectrogram(waveform, spec)[..., None]
    last = [layer.input for layer in cnn.layers if layer.name.endswith("logits")]
    both = keras.Model(cnn.inputs, [cnn.outputs[0], ops.concatenate(last, axis=1)])
    probabilities, embedding = both(x)
    return keras.Model(waveform, {"probabilities": probabilities, "embedding": embedding})
