"""What a classification run folder says of itself."""

from pathlib import Path
from typing import Any

from classification.models.architecture import Architecture
from shared.errors import UserError
from shared.features.spec import FeatureSpec
from shared.files import read_json


def read_run(model_dir: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """config.json and labels.json of a finished classification run.

    Raises:
        UserError: the folder is none; where finished runs lie below or beside it, one is named.
    """
    for name in ("config.json", "labels.json", "metrics.json"):
        if not (model_dir / name).is_file():
            near = [*model_dir.glob("*/labels.json"), *model_dir.parent.glob("*/labels.json")]
            runs = sorted(labels.parent for labels in near if (labels.parent / "metrics.json").is_file())
            hint = f"did you mean {runs[0]}?" if runs else "give the --out-dir of classification/train.py"
            raise UserError(f"--model-dir {model_dir}: no finished classification run ({name} is missing); {hint}")
    return read_json(model_dir / "config.json"), read_json(model_dir / "labels.json")


def architecture_of(run_dir: Path) -> Architecture:
    """The network of a run, as its config.json and labels.json describe it."""
    config, labels = read_json(run_dir / "config.json"), read_json(run_dir / "labels.json")
    return Architecture.of(config["options"], FeatureSpec(**config["features"]), len(labels["classes"]))
