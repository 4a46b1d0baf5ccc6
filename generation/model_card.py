"""MODEL_CARD.md of a finished generator's run: what it makes, its training clips, how to use it, figures and limits.

Every value comes from the run's config.json, metrics.json, generator.json and clips.csv, and from evaluation.json if
the generator was evaluated.
"""

import csv
import dataclasses
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

from classification.rundir import CARD
from generation.rundir import CLIPS, DESCRIPTION, EVALUATION, NO_GENERATOR
from shared.errors import UserError
from shared.features.spec import FeatureSpec
from shared.files import read_json, write_text
from shared.report.cards import render_card

OLDER = f"its {CLIPS} was written by an older version; train it again (--overwrite) to get a model card"


@dataclasses.dataclass(frozen=True)
class Card:
    """What the template shows of a run: the contents of its files.

    ``clips`` are the rows of clips.csv, and ``evaluation`` is None if the generator was not evaluated.
    """

    name: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    description: dict[str, Any]
    clips: list[dict[str, str]]
    evaluation: dict[str, Any] | None

    @property
    def trained_on(self) -> list[dict[str, str]]:
        return [row for row in self.clips if row["trained_on"] == "True"]

    @property
    def held_out(self) -> list[dict[str, str]]:
        """Clips of recordings that were never trained on."""
        recordings = {row["recording"] for row in self.trained_on}
        return [row for row in self.clips if row["recording"] not in recordings]

    @property
    def clips_by_class(self) -> dict[str, int]:
        """Number of training clips of each class."""
        if not self.config["options"]["conditional"]:
            return {self.metrics["classes"][0]: len(self.trained_on)}
        return dict(sorted(Counter(row["label"] for row in self.trained_on).items()))


def read_card(run_dir: Path) -> Card:
    """The card of a finished generator's run.

    Raises:
        UserError: no generator, an unfinished run, or one of an older version.
    """
    if not (run_dir / DESCRIPTION).is_file():
        raise UserError(f"--model-dir {run_dir}: {NO_GENERATOR}")
    if not (run_dir / "metrics.json").is_file():
        raise UserError(f"--model-dir {run_dir}: the training is not finished (metrics.json is missing); resume it")
    clips: list[dict[str, str]] = []
    if (run_dir / CLIPS).is_file():
        with (run_dir / CLIPS).open(encoding="utf-8", newline="") as file:
            clips = list(csv.DictReader(file))
    if not clips or "trained_on" not in clips[0]:
        raise UserError(f"--model-dir {run_dir}: {OLDER}")
    config, metrics, description = (read_json(run_dir / name) for name in ("config.json", "metrics.json", DESCRIPTION))
    evaluation = read_json(run_dir / EVALUATION) if (run_dir / EVALUATION).is_file() else None
    if evaluation and "scorers" not in evaluation:  # of an older version
        evaluation = None
    return Card(run_dir.resolve().name, config, metrics, description, clips, evaluation)


def render(card: Card) -> str:
    """The card as Markdown."""
    return render_card(
        "MODEL_CARD.md.j2",
        Path(__file__).parent,
        card=card,
        basename=lambda path: Path(path).name,
        quote=shlex.quote,
        spec=FeatureSpec(**card.description["features"]),
    )


def write_card(run_dir: Path) -> Path:
    """Write MODEL_CARD.md into a finished run and return its path."""
    write_text(run_dir / CARD, render(read_card(run_dir)))
    return run_dir / CARD
