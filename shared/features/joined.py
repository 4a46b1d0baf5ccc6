"""Several representations of a clip in one array, for models that take more than one (``--recipe blend``).

The first one is a spectrogram; the values of each other one follow in further columns of the same height, the last of
which is filled with zeros. So a clip stays one array (M, T) for the cache, the batches and the test set.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from shared.audio import fix_length
from shared.features.spec import FeatureSpec


def joined_spec(*parts: FeatureSpec) -> FeatureSpec:
    """The spec of these in one array, all of the duration of the first, which is a spectrogram.

    Its sampling rate is the highest of the parts, so that no part lacks frequencies.
    """
    first = parts[0]
    same = tuple(dataclasses.replace(part, duration=first.duration) for part in parts)
    return dataclasses.replace(first, kind="joined", sr=max(part.sr for part in parts), frames=None, parts=same)


def join(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of the parts' shapes -> (M, T), T as in ``FeatureSpec.shape``."""
    bands = len(arrays[0])
    columns = [fix_length(x.ravel(), size=-(-x.size // bands) * bands).reshape(bands, -1) for x in arrays]
    return np.concatenate(columns, axis=1)


def split(x: np.ndarray, spec: FeatureSpec) -> list[np.ndarray]:
    """The inverse of ``join`` for a batch x (B, M, T): an array (B, *shape) for each part of the spec."""
    sizes = [math.prod(part.shape) for part in spec.parts]
    ends = np.cumsum([-(-size // x.shape[1]) for size in sizes])
    columns = np.split(x, ends[:-1], axis=2)
    return [
        column.reshape(len(x), -1)[:, :size].reshape(len(x), *part.shape)
        for column, size, part in zip(columns, sizes, spec.parts, strict=True)
    ]
