"""The files of a finished classification run, and how its config.json and labels.json are read."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from classification.models.architecture import Architecture, Network
from shared.errors import UserError
from shared.features.spec import FeatureSpec
from shared.files import read_json

KERAS_MODEL, H5_MODEL, TORCH_MODEL = "best_model.keras", "best_model.h5", "best_model.safetensors"
LABELS = "labels.json"  # the classes by ordinal, and the most frequent class of the training clips
TEST_PROBABILITIES = "test_probabilities.csv"  # one row per ID of the competition's test set
TOGETHER = "together.npz"  # how to find clips that sound like one recording
EXPORT = "export.json"  # how to use the exported files
CARD = "MODEL_CARD.md"
BLEND = "blend.json"  # in a run of --recipe blend: the weights of its two models
BLENDED = ("spectrogram", "head")  # the folders of these models, in the order of the parts of its features


def read_run(model_dir: Path, *, flag: str = "--model-dir") -> tuple[dict[str, Any], dict[str, Any]]:
    """Read config.json and labels.json of a finished classification run, given by the option ``flag``.

    Raises:
        UserError: the folder is not a finished run (the message suggests one that lies below or beside it), or one of
            the files is damaged.
    """
    for name in ("config.json", LABELS, "metrics.json"):
        if not (model_dir / name).is_file():
            near = [*model_dir.glob(f"*/{LABELS}"), *model_dir.parent.glob(f"*/{LABELS}")]
            runs = sorted(labels.parent for labels in near if (labels.parent / "metrics.json").is_file())
            hint = f"did you mean {runs[0]}?" if runs else "give the --out-dir of classification/train.py"
            raise UserError(f"{flag} {model_dir}: no finished classification run ({name} is missing); {hint}")
    return read_json(model_dir / "config.json", options=dict), read_json(model_dir / LABELS, classes=list)


def network_of(run_dir: Path) -> Network:
    """The network of a run, from its config.json and labels.json."""
    config, labels = read_json(run_dir / "config.json"), read_json(run_dir / LABELS)
    return network_from(config, len(labels["classes"]))


def network_from(config: Mapping[str, Any], n_classes: int) -> Network:
    """The network of a run, from the content of its config.json."""
    options, spec = config["options"], FeatureSpec(**config["features"])
    names = [field.name for field in dataclasses.fields(Architecture) if field.name in options]
    return Network.of(Architecture(**{name: options[name] for name in names}), spec, n_classes, crop=options["crop"])


def origin(run_dir: Path) -> Path:
    """The run that was trained and evaluated: ``run_dir`` itself, or the run it was converted from.

    Raises:
        UserError: the run it was converted from no longer exists.
    """
    seen = Path(run_dir)
    while source := read_json(seen / "metrics.json").get("converted_from"):
        seen = Path(source)
        if not (seen / "metrics.json").is_file():
            raise UserError(f"{run_dir}: was converted from {seen}, which is gone; put it back: it has the figures")
    return seen
