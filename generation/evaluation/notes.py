"""Notes that a reader needs to interpret an evaluation's figures, as full sentences."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from classification.inference.classifier import Classifier
from generation.evaluation.embedding import Embedded
from shared.audio import sampling_rate, seconds
from shared.data.datasets import Dataset
from shared.files import read_json
from shared.runs.compare import PREDICTIONS, read_predictions


def notes_on(
    made: Embedded, real: Embedded, floor: Embedded | None, *, classifier: Classifier, common: Collection[str]
) -> list[str]:
    """Notes on the clips: the samples, the real clips they are compared with, and the held-out ones."""
    notes, size = [], made.features.shape[1]
    if min(len(clips) for clips in (made, real, floor) if clips is not None) <= size:
        notes.append(
            f"There are FEWER CLIPS THAN FEATURES ({len(made)} samples, {len(real)} real clips, "
            f"{len(floor or [])} real held-out clips, {size} features), so FAD is far too large, even extrapolated. "
            "Compare it only with that of the held-out clips, and prefer KAD, precision, recall, density and coverage."
        )
    if floor is not None and len(floor) < len(made):
        notes.append(
            f"There are only {len(floor)} real held-out clips for {len(made)} samples, so their FAD is too large."
        )
    labels = made.manifest.label
    if not common:
        notes.append("Samples and reference share no label, so all clips count as one class.")
    elif strange := int((~labels.isin(common)).sum()):
        notes.append(f"The figures within a class leave out {strange} samples whose class the reference lacks.")
    if unknown := sorted(set(labels) - set(classifier.classes)):
        names = ", ".join(label or "(no label)" for label in unknown[:5])
        notes.append(f"The accuracy leaves out samples of classes that the classifier does not have: {names}.")
    if real.manifest.group.nunique() == real.manifest.path.nunique():
        notes.append(
            "The recordings are unknown, so each real clip counts as its own recording. If some clips share a "
            "recording, the figures of the real held-out clips are too good."
        )
    own, true = (np.median([seconds(path) for path in clips.manifest.path[:50]]) for clips in (made, real))
    if own < 0.9 * min(true, classifier.spec.duration):
        notes.append(
            f"The samples last {own:.2g} s and the real clips {true:.2g} s. The silence that pads the samples sets "
            "them apart from real clips, however good they are."
        )
    own, true = (int(np.median([sampling_rate(path) for path in clips.manifest.path[:50]])) for clips in (made, real))
    if own < min(true, classifier.spec.sr):
        notes.append(
            f"The samples have a sampling rate of {own} Hz and the real clips of {true} Hz. The missing high "
            "frequencies set the samples apart, however good they are; use a reference that is resampled to their rate."
        )
    if any(clips.manifest.offset.any() for clips in (made, real)):
        notes.append(f"Longer sounds are cut into windows of {classifier.spec.duration:g} s; each counts as a clip.")
    return notes


def notes_on_classifier(run_dir: Path, dataset: Dataset) -> list[str]:
    """Whether the classifier is known to have been trained on the reference, and its accuracy on held-out clips."""
    config, metrics = read_json(run_dir / "config.json"), read_json(run_dir / "metrics.json")
    known = Path(config["data"]["root"]).resolve() == dataset.root.resolve()
    if (run_dir / PREDICTIONS).is_file():
        predicted = read_predictions(run_dir).itertuples()
        here = {(clip.label, clip.path.name) for clip in dataset.manifest.itertuples()}
        known |= any((clip.label, Path(clip.path).name) in here for clip in predicted)
    if not known:
        return []
    accuracy = metrics.get(f"{metrics.get('reported_on')}/accuracy")
    others = "" if accuracy is None else f" Its accuracy on clips that were held out from it is {accuracy:.3f}."
    return [f"The classifier was trained on clips of this reference: its accuracy on real clips is too high.{others}"]
