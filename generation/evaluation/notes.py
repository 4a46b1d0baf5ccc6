"""Remarks that a reader of an evaluation's figures needs."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from classification.inference.classifier import Classifier
from generation.evaluation.clips import Embedded
from shared.audio import sampling_rate, seconds
from shared.data.datasets import Dataset
from shared.files import read_json
from shared.runs.compare import PREDICTIONS, read_predictions


def notes_on(
    made: Embedded, real: Embedded, floor: Embedded | None, *, classifier: Classifier, common: Collection[str]
) -> list[str]:
    """Remarks on the clips: the samples, the real ones they are compared with, and the floor."""
    notes, size = [], made.features.shape[1]
    if min(len(clips) for clips in (made, real, floor) if clips is not None) <= size:
        notes.append(
            f"FEWER CLIPS THAN FEATURES ({len(made)} samples, {len(real)} real clips, {len(floor or [])} of the floor, "
            f"{size} features): the Fréchet distance is far too large and FAD-infinity still is; set them beside the "
            "floor's only, and rather believe KAD, precision, recall, density and coverage"
        )
    if floor is not None and len(floor) < len(made):
        notes.append(f"the floor has {len(floor)} clips, the samples {len(made)}: its Fréchet distance is too large")
    labels = made.manifest.label
    if not common:
        notes.append("samples and reference share no label: all clips count as one class")
    elif strange := int((~labels.isin(common)).sum()):
        notes.append(f"{strange} samples are of no class of the reference: left out of the figures by label")
    if unknown := sorted(set(labels) - set(classifier.classes)):
        names = ", ".join(label or "(no label)" for label in unknown[:5])
        notes.append(f"the classifier knows no class {names}: its accuracy leaves these samples out")
    if real.manifest.group.nunique() == real.manifest.path.nunique():
        notes.append("each real clip counts as a recording of its own: if some are not, the floor is too low")
    own, true = (np.median([seconds(path) for path in clips.manifest.path[:50]]) for clips in (made, real))
    if own < 0.9 * min(true, classifier.spec.duration):
        notes.append(
            f"the samples last {own:.2g} s, the real clips {true:.2g} s: the silence that fills them up alone sets "
            "them apart"
        )
    own, true = (int(np.median([sampling_rate(path) for path in clips.manifest.path[:50]])) for clips in (made, real))
    if own < min(true, classifier.spec.sr):
        notes.append(
            f"the samples have a sampling rate of {own} Hz, the real clips of {true} Hz: the high sounds they lack "
            "alone set them apart; compare them with a reference that is resampled to their rate"
        )
    if any(clips.manifest.offset.any() for clips in (made, real)):
        notes.append(f"longer sounds are cut into windows of {classifier.spec.duration:g} s, and each counts as a clip")
    return notes


def notes_on_classifier(run_dir: Path, dataset: Dataset) -> list[str]:
    """Whether the classifier was trained on the reference, as far as its run tells, and its held-out accuracy."""
    config, metrics = read_json(run_dir / "config.json"), read_json(run_dir / "metrics.json")
    known = Path(config["data"]["root"]).resolve() == dataset.root.resolve()
    if (run_dir / PREDICTIONS).is_file():
        predicted = read_predictions(run_dir).itertuples()
        here = {(clip.label, clip.path.name) for clip in dataset.manifest.itertuples()}
        known |= any((clip.label, Path(clip.path).name) in here for clip in predicted)
    if not known:
        return []
    accuracy = metrics.get(f"{metrics.get('reported_on')}/accuracy")
    others = "" if accuracy is None else f"; on its held-out clips it was {accuracy:.3f}"
    return [f"the classifier was trained on clips of this reference, so the floor's accuracy flatters{others}"]
