"""The model card of a finished classification run.

The sections follow Mitchell et al. 2019, "Model Cards for Model Reporting"; the front matter follows the Hugging Face
hub. Every figure comes from config.json, metrics.json and, for an exported model, export.json.
"""

import dataclasses
from pathlib import Path
from typing import Any

from classification.rundir import CARD, EXPORT, network_from, origin, read_run
from shared.errors import UserError
from shared.features.spec import FeatureSpec
from shared.files import read_json, write_text
from shared.report.cards import OLDER, render_card


@dataclasses.dataclass(frozen=True)
class Card:
    """The contents of config.json (``config``) and metrics.json (``metrics``) of a run, for the template."""

    name: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    exported: dict[str, Any] = dataclasses.field(default_factory=dict)
    converted: bool = False

    def of(self, name: str) -> Any:
        """A figure of the reported split; None if the run lacks it."""
        return self.metrics.get(f"{self.metrics['reported_on']}/{name}")

    @property
    def confusions(self) -> list[tuple[str, str, int, float]]:
        """(true class, predicted class, clips, share of the true class's clips), the most frequent first."""
        classes = self.metrics["classes"]
        pairs = [
            (classes[i], classes[j], n, n / sum(row))
            for i, row in enumerate(self.of("confusion_matrix"))
            for j, n in enumerate(row)
            if i != j and n
        ]
        return sorted(pairs, key=lambda pair: -pair[2])


def read_card(run_dir: Path) -> Card:
    """The card of a finished run; the figures of a converted run are those of the run it was made from.

    Raises:
        UserError: not a finished run, a converted run whose source is gone, or a run of an older version.
    """
    config, _ = read_run(run_dir)
    source = origin(run_dir)
    metrics = read_json(source / "metrics.json")
    if "reported_on" not in metrics:
        raise UserError(f"--model-dir {run_dir}: is not a classifier's run; give one of classification/train.py")
    if "held_out" not in metrics:
        raise UserError(f"--model-dir {run_dir}: {OLDER}")
    exported = read_json(run_dir / EXPORT)["files"] if (run_dir / EXPORT).is_file() else {}
    return Card(run_dir.resolve().name, config, metrics, exported, converted=source != run_dir)


def render(card: Card) -> str:
    """The card as Markdown."""
    return render_card(
        "MODEL_CARD.md.j2",
        Path(__file__).parent,
        card=card,
        data_name=Path(card.config["data"]["root"]).name,
        spec=FeatureSpec(**card.config["features"]),
        network=network_from(card.config, len(card.metrics["classes"])).architecture,
    )


def write_card(run_dir: Path, card: Card) -> Path:
    """Write MODEL_CARD.md into the run folder; return its path."""
    write_text(run_dir / CARD, render(card))
    return run_dir / CARD
