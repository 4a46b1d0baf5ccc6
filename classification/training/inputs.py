"""The inputs of a training, the same in both frameworks: the same batches of the same splits in the same order."""

import dataclasses
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from classification.models.architecture import BandStatistics, Network
from classification.recipes import TrainOptions
from classification.training.plan import Part
from shared.audio import seconds
from shared.data.datasets import Dataset
from shared.data.splits import assign_splits, check_trainable, draw_weights
from shared.features.augment import Augment
from shared.features.backbone import spec_of
from shared.features.batches import Batches
from shared.features.joined import joined_spec
from shared.features.shards import Features
from shared.features.spec import FeatureSpec, preset
from shared.files import content_hash, text_hash
from shared.recordings.similarity import similarity_groups
from shared.runs.start import Clips


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The inputs of one training: ``manifest`` row i is clip i of ``features``; ``classes[k]`` is ordinal k's name."""

    options: TrainOptions
    features: Features
    classes: list[str]
    manifest: pd.DataFrame
    splits: dict[str, Batches]  # "train" and, if they have clips, "val" and "test"

    @property
    def spec(self) -> FeatureSpec:
        return self.features.spec

    @property
    def network(self) -> Network:
        options = self.options
        return Network.of(options.architecture, self.spec, len(self.classes), crop=options.augment.crop)

    @property
    def most_frequent(self) -> str:
        """The most frequent class of the training clips, which is predicted for an unreadable test clip."""
        return self.manifest[self.manifest.split == "train"].label.mode()[0]

    def statistics(self) -> BandStatistics | None:
        """Band statistics of the training clips; None if the recipe does not standardise."""
        architecture = self.options.architecture
        if not architecture.standardise:
            return None
        train = self.splits["train"]
        chunks = np.array_split(np.arange(train.clips), -(-train.clips // 64))
        return BandStatistics.of((train.features[chunk] for chunk in chunks), centre=architecture.centre)


def with_test_set(clips: Clips) -> Clips:
    """Add a hash of the test set to ``data``, because the run's submission depends on the test set."""
    files = [*clips.dataset.test_files, *filter(None, [clips.dataset.sample_submission])]
    if not files:
        return clips
    hashes = "\n".join(f"{path.name} {content_hash(path)}" for path in files)
    return dataclasses.replace(clips, data=clips.data | {"test_fingerprint": text_hash(hashes)})


def choose_spec(options: TrainOptions, dataset: Dataset) -> FeatureSpec:
    """The preset of --features, or the embeddings of --backbone-path, or with --blend both, with --duration.

    By default that is the clips' 95th percentile, at most the preset's duration, or 4 s for embeddings.
    A preset with a fixed number of frames keeps its own duration.
    """
    if options.blend:
        spectrogram = choose_spec(dataclasses.replace(options, blend=False), dataset)
        backbone = spec_of(options.backbone_path, options.backbone_sr, duration=spectrogram.duration)
        return joined_spec(spectrogram, backbone)
    if options.features == "embedding":
        spec = spec_of(options.backbone_path, options.backbone_sr, duration=preset("classifier").duration)
    else:
        spec = preset(options.features)
    if options.duration is not None:
        return dataclasses.replace(spec, duration=options.duration)
    if spec.frames is not None:
        return spec
    step = max(1, len(dataset.manifest) // 500)
    lengths = [length for path in dataset.manifest.path[::step] if (length := seconds(path)) > 0]
    longest = float(np.quantile(lengths, 0.95)) if lengths else spec.duration
    return dataclasses.replace(spec, duration=min(spec.duration, max(0.5, np.ceil(4 * longest) / 4)))


def choose_epochs(options: TrainOptions, spec: FeatureSpec, *, clips: int) -> int:
    """--epochs, or by default 8; more if clips are shorter than --crop, because an epoch then has less sound.

    With fewer than 1000 clips, up to five times as many epochs: a network needs some 200 steps in any case.
    """
    shorter = max(1.0, (options.augment.crop or 0.0) / spec.duration)
    fewer = min(5.0, max(1.0, 1000 / clips))
    return options.epochs or round(8 * shorter * fewer)


def make_inputs(clips: Clips, part: Part) -> Inputs:
    """Split the clips by the options of a part, and make the batches of each split.

    Raises:
        UserError: data that no classifier can learn from, or too few recordings to split.
    """
    options = part.options
    splits = 1 + (options.test_share > 0 or part.fold is not None) + (options.val_share > 0)
    check_trainable(clips.manifest, root=clips.dataset.root, splits=splits)
    manifest = assign_splits(
        clips.manifest,
        how=options.split,
        val_share=options.val_share,
        test_share=options.test_share,
        seed=part.split_seed,
        fold=part.fold,
        folds=options.folds,
    )
    return inputs_of(clips.features, clips.classes, manifest, options)


def inputs_of(features: Features, classes: list[str], manifest: pd.DataFrame, options: TrainOptions) -> Inputs:
    """The batches of each split of ``manifest``, whose index counts the clips of ``features``."""
    ordinals = {label: k for k, label in enumerate(classes)}
    batches = {}
    for split, rows in manifest.groupby("split"):
        labels = rows.label.map(ordinals).to_numpy()
        how = {"augment": partial(Augment(), n_classes=len(ordinals))}
        if split == "train":
            how = _for_training(rows, labels, options, features.spec, len(classes))
        own = features.take(rows.index)
        batches[split] = Batches(own, labels, batch_size=options.batch_size, seed=options.seed, **how)
    return Inputs(options, features, classes, manifest, batches)


def group_clips(clips: Clips, options: TrainOptions) -> Clips:
    """With --group-by similarity, group clips that sound like one recording and ignore the file names."""
    if options.group_by == "name":
        return clips
    groups = similarity_groups(clips.features, clips.manifest.label)
    manifest = clips.manifest.assign(group=groups)
    data = clips.data | {"recordings": int(manifest.group.nunique()), "group_by": "similarity"}
    print(f"{data['recordings']} groups of clips that sound like one recording", flush=True)
    return dataclasses.replace(clips, manifest=manifest, data=data)


def _for_training(
    rows: pd.DataFrame, labels: np.ndarray, options: TrainOptions, spec: FeatureSpec, n_classes: int
) -> dict[str, Any]:
    """Arguments of Batches for the training clips alone: their order, how often each is drawn, the augmentation."""
    weights = class_weights = None
    if options.balance == "recordings":  # draw classes, and the recordings of a class, equally often
        weights = draw_weights(rows)
    if options.balance == "class-weights":
        counts = np.bincount(labels, minlength=n_classes)
        # scikit-learn's "balanced": a class of average size weighs 1; classes without clips are ignored
        class_weights = len(labels) / ((counts > 0).sum() * np.maximum(counts, 1))
    rate = spec.sr / spec.hop_length
    augment = partial(options.augment, n_classes=n_classes, frame_rate=rate, class_weights=class_weights)
    return {"shuffle": True, "weights": weights, "augment": augment}
