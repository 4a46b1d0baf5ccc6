"""What both frameworks are given: the same batches of the same splits in the same order."""

import dataclasses

import pandas as pd

from classification.recipes import TrainOptions
from shared.batches import Batches
from shared.cli import Clips
from shared.datasets import assign_splits, check_trainable
from shared.features import PRESETS, FeatureSpec

SPEC = PRESETS["classifier"]


@dataclasses.dataclass(frozen=True)
class Inputs:
    """One experiment: ``manifest`` row i is clip i; ``classes[k]`` is the name of ordinal k."""

    options: TrainOptions
    spec: FeatureSpec
    classes: list[str]
    manifest: pd.DataFrame
    splits: dict[str, Batches]  # "train", "val" and, with a test share, "test"


def make_inputs(clips: Clips, options: TrainOptions) -> Inputs:
    """Split the clips and make each split's batches.

    Raises:
        UserError: data that no classifier can learn from, or too few recordings to split.
    """
    check_trainable(clips.manifest, root=clips.dataset.root, splits=2 + (options.test_share > 0))
    manifest = assign_splits(
        clips.manifest,
        how=options.split,
        val_share=options.val_share,
        test_share=options.test_share,
        seed=options.seed,
    )
    ordinals = {label: k for k, label in enumerate(clips.classes)}
    splits = {}
    for split in ("train", "val", "test"):
        rows = manifest.index[manifest.split == split]
        if len(rows):
            splits[split] = Batches(
                clips.features.take(rows),
                manifest.label[rows].map(ordinals),
                batch_size=options.batch_size,
                seed=options.seed,
                shuffle=split == "train",
            )
    return Inputs(options, clips.features.spec, clips.classes, manifest, splits)
