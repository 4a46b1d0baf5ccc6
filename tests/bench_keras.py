"""Compare the speed of an epoch in Keras with model.fit on arrays: the same architecture, batch size and clips.

This project reads its batches from the cache; the other has all arrays in memory.
"""

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import tyro
from speed import compare_speed

from classification.models.architecture import Architecture, Network
from classification.models.keras_cnn import build
from classification.training.fit_keras import BatchSequence, fed, keras, member_cross_entropy
from shared.data.datasets import load_dataset
from shared.data.demo_data import make_demo_data
from shared.errors import run_entry
from shared.features.augment import Augment
from shared.features.batches import Batches
from shared.features.cache import FeatureCache
from shared.features.spec import PRESETS
from shared.files import DEMO_DIR
from shared.runs.memory import keep_freed_memory


@dataclasses.dataclass(kw_only=True)
class BenchOptions:
    """Time an epoch of the plain recipe in Keras."""

    data_dir: Path | None = None
    """Folder of labelled sounds; None uses the demo sounds."""
    rounds: int = 5
    """How often each pair is timed."""
    clips: int = 480
    """Clips per epoch: enough that the start of ``fit`` counts little."""


def main() -> None:
    keep_freed_memory()  # as in a training
    options = tyro.cli(BenchOptions)
    manifest = load_dataset(options.data_dir or make_demo_data(DEMO_DIR)).manifest
    manifest = manifest.sample(min(options.clips, len(manifest)), random_state=0)
    features = FeatureCache(PRESETS["classifier"]).build(list(manifest.path)).features
    classes, y = np.unique(manifest.label, return_inverse=True)
    network = Network(Architecture(), features.spec.shape, len(classes))
    ours = build(**network.arguments, training=True)
    ours.compile(optimizer="adam", loss=member_cross_entropy)
    batches = Batches(features, y, batch_size=32, shuffle=True, augment=partial(Augment(), n_classes=len(classes)))
    x = features[np.arange(len(features))][..., None]
    rival = build(**network.arguments)
    rival.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    compare_speed(
        "training of the plain recipe in Keras, compared with model.fit on arrays in memory",
        lambda: ours.fit(fed(BatchSequence(batches)), shuffle=False, verbose=0),
        lambda: rival.fit(x, y, batch_size=32, verbose=0),
        clips=len(x),
        rounds=options.rounds,
    )
    keras.backend.clear_session()


if __name__ == "__main__":
    run_entry(main)
