"""Notes that a reader needs to interpret an evaluation's figures, as full sentences."""

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from classification.inference.classifier import Classifier
from classification.rundir import origin
from generation.evaluation.embedding import Embedded
from shared.audio import sampling_rate, seconds
from shared.data.datasets import Dataset, load_dataset
from shared.errors import UserError
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


def notes_on_scorers(
    runs: Sequence[Path], floor: pd.DataFrame | None, dataset: Dataset, judge: Path | None
) -> list[str]:
    """Whether a classifier was trained on the held-out clips, or chose the samples (--best-of)."""
    notes = []
    for run in runs:
        name = run.resolve().name
        if judge and judge.resolve() == run.resolve():
            notes.append(f"The classifier {name} CHOSE THE SAMPLES (--best-of): its figures are too good.")
        if floor is None:
            continue
        trained = trained_on(run, dataset)
        if trained is None:
            notes.append(f"It is not known whether the classifier {name} was trained on held-out clips.")
        elif overlap := len(set(_names(floor)) & trained):
            notes.append(
                f"The classifier {name} was trained on {overlap} of the {len(floor)} real held-out clips: its accuracy "
                "on them is too high."
            )
    if judge:
        notes.append(f"Each sample is the best of several by the classifier {judge.resolve().name} (--best-of).")
    return notes


def trained_on(run: Path, dataset: Dataset) -> set[str] | None:
    """The clips that a classifier was trained on or selected by, as <label>/<name>; None if its data folder is gone.

    Label and file name identify a clip, as in clips.csv.
    """
    try:
        run = origin(run)  # a converted model was trained as another run
        config, metrics = (read_json(run / name) for name in ("config.json", "metrics.json"))
        root = Path(config["data"]["root"])
        known = dataset if root.resolve() == dataset.root.resolve() else load_dataset(root)
    except UserError:
        return None
    clips = set(_names(known.manifest))
    options = config["options"]
    if options.get("refit") or options.get("folds", 1) > 1 or not (run / PREDICTIONS).is_file():
        return clips
    predicted = read_predictions(run)
    tested = predicted[(predicted.split == "test") & (metrics.get("reported_on") == "test")]
    return clips - set(_names(tested))


def _names(clips: pd.DataFrame) -> list[str]:
    return [f"{label}/{Path(path).stem}" for label, path in zip(clips.label, clips.path, strict=True)]
