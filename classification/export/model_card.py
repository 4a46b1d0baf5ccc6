"""MODEL_CARD.md of a finished run: python -m classification.export.model_card --model-dir RUN

The sections are those of Mitchell et al. 2019, "Model Cards for Model Reporting", under the front matter of the Hugging
Face hub. Every figure comes from the run's config.json and metrics.json (and export.json, where it was exported).
"""

import dataclasses
import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import tyro

from classification.models.architecture import Architecture
from classification.rundir import CARD, EXPORT, network_from, origin, read_run
from shared.errors import UserError, run_entry
from shared.features.spec import FeatureSpec
from shared.files import read_json, write_text

LOW_RECALL = 0.6  # a class found less often than this is named among the limits
FEW_RECORDINGS = 30  # a class on average below which a figure says little of other recordings
CONFUSIONS = 5
FIGURES = {  # key in metrics.json -> its name, whether it is a share
    "accuracy": ("accuracy", True),
    "alone_accuracy": ("accuracy of each clip by itself", True),
    "recording_accuracy": ("accuracy by recording, each counting once", True),
    "balanced_accuracy": ("balanced accuracy (mean recall)", True),
    "macro_f1": ("macro F1", False),
    "log_loss": ("log-loss, nats (lower is better)", False),
    "calibration_error": ("calibration error (lower is better)", False),
}
SPLITS = {
    "auto": "the data's own folds or test set where it has them, else by recording: all clips of one on one side",
    "grouped": "by recording: all clips of one on one side",
    "official": "the data's own folds or test set",
    "random": "at random, clip by clip",
}
SELECTION = {
    "cosine": "the last epoch's weights are kept",
    "plateau": "the epoch of the best validation accuracy is kept, and training stops when validation loss stalls",
}


@dataclasses.dataclass(frozen=True)
class Card:
    """What the template shows of a run; each part reads config.json (``config``) and metrics.json (``metrics``)."""

    name: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    exported: dict[str, Any]
    converted: bool = False

    @property
    def options(self) -> dict[str, Any]:
        return self.config["options"]

    @property
    def data(self) -> dict[str, Any]:
        return self.config["data"]

    @property
    def data_name(self) -> str:
        return Path(self.data["root"]).name

    @property
    def spec(self) -> FeatureSpec:
        return FeatureSpec(**self.config["features"])

    @property
    def architecture(self) -> Architecture:
        return network_from(self.config, len(self.metrics["classes"])).architecture

    def of(self, name: str) -> Any:
        """A figure of the reported split; None where there is none."""
        return self.metrics.get(f"{self.metrics['reported_on']}/{name}")

    @property
    def several(self) -> bool:
        """Whether more than one training was judged."""
        return self.metrics.get("trainings", 1) > 1

    @property
    def details(self) -> list[tuple[str, str]]:
        """What the model is: rows of a table."""
        spec, arch = self.spec, self.architecture
        bands, frames = spec.shape
        layers = (
            f"{len(arch.widths)} blocks of Conv 3x3, ReLU, BatchNorm, MaxPool with {listed(arch.widths)} channels; "
            f"pooling {arch.pooling}; dense {listed(arch.dense) or 'none'}"
        )
        hearing = f"{spec.duration:g} s at {spec.sr} Hz, mono; n_fft {spec.n_fft}, hop {spec.hop_length}"
        return [
            ("classes", listed(code(label, in_table=True) for label in self.metrics["classes"])),
            ("input", f"{bands} mel bands x {frames} frames of {hearing}, {spec.convention}'s conventions"),
            ("output", "a probability for each class"),
            (
                "network",
                layers if arch.members == 1 else f"{arch.members} whose probabilities are averaged, each of {layers}",
            ),
            ("parameters", f"{self.metrics['model/parameters']:,d}"),
            ("revision", self.config["git"] or "unknown"),
        ]

    @property
    def protocol(self) -> list[str]:
        """How the figures came about, a sentence a line."""
        o, folds = self.options, self.options["folds"]
        said = [f"Split: {SPLITS[o['split']]} (`--split {o['split']}`)."]
        if self.data.get("group_by") == "similarity":
            said.append("What one recording is was found by similarity of the sounds, not told by names.")
        elif self.data["recordings"] is None:
            said.append("The names tell no recordings: each clip counts as its own, and near-duplicates may leak.")
        shares = f"validation share {o['val_share']:g}" + ("" if folds > 1 else f", test share {o['test_share']:g}")
        said.append(
            (f"{folds} folds, each held out once; " if folds > 1 else "One split; ") + shares + f"; seed {o['seed']}."
        )
        if o["seeds"] > 1:
            said.append(f"{o['seeds']} trainings a fold, with seeds from {o['seed']}; the folds stay the same.")
        said.append(f"Of a training, {SELECTION[o['schedule']]}.")
        if self.metrics.get("together"):
            said.append(
                "Held-out clips that sound like one recording were judged together, as those of a test set or a folder "
                "are; of a single sound, expect the accuracy of each clip by itself."
            )
        if "refit" in self.metrics:
            said.append(
                "The kept model was trained once more, on every clip; the figures are of models that had not heard the "
                "clips they are judged on."
            )
        elif self.several:
            said.append(f"The kept model is the first of the {self.metrics['trainings']} trainings.")
        return said

    @property
    def figures(self) -> list[tuple[str, str, str, str]]:
        """Rows of name, value, 95 % interval, mean ± deviation over the trainings."""
        rows = []
        for key, (name, share) in FIGURES.items():
            if self.of(key) is None or (key == "alone_accuracy" and not self.metrics.get("together")):
                continue
            interval = (self.of("intervals") or {}).get(key)
            spread = self.metrics.get("spread", {}).get(key)
            among = f"{show(spread['mean'], share)} ± {show(spread['sd'], share)}" if spread else ""
            within = f"{show(interval[0], share)} to {show(interval[1], share)}" if interval else ""
            rows.append((name, show(self.of(key), share), within, among if self.several else ""))
        return rows

    @property
    def confusions(self) -> list[tuple[str, str, int, float]]:
        """(true class, taken for, clips, share of the true class's clips), the most frequent first."""
        classes, table = self.metrics["classes"], self.of("confusion_matrix") or []
        pairs = [
            (classes[i], classes[j], n, n / sum(row))
            for i, row in enumerate(table)
            for j, n in enumerate(row)
            if i != j and n
        ]
        return sorted(pairs, key=lambda pair: -pair[2])[:CONFUSIONS]

    @property
    def limits(self) -> list[str]:
        """What the figures themselves warn of, then what holds for every such classifier."""
        spec, clips, said = self.spec, self.data["classes"], []
        per_class = self.of("per_class") or {}
        recalls = {label: row["recall"] for label, row in per_class.items() if row["clips"]}
        low = [f"{code(label)} ({show(recall)})" for label, recall in recalls.items() if recall < LOW_RECALL]
        if low:
            said.append(f"It misses many clips of {', '.join(low)} (recall below {show(LOW_RECALL)}).")
        unjudged = [code(label) for label in per_class.keys() - recalls.keys()]
        if unjudged:
            said.append(f"No clip of {', '.join(unjudged)} was held out: nothing is known of how well it is found.")
        recordings = self.data["recordings"]
        if recordings is not None and recordings < FEW_RECORDINGS * len(clips):
            said.append(
                f"{recordings} recordings are few for {len(clips)} classes: the intervals are wide, and sounds of "
                "other places and devices may fare worse."
            )
        if max(clips.values()) >= 3 * min(clips.values()):
            few, many = min(clips, key=clips.get), max(clips, key=clips.get)
            said.append(f"The classes are unequal: {clips[few]} clips of {code(few)}, {clips[many]} of {code(many)}.")
        if self.data["synthetic"]:
            said.append("It has heard synthetic sounds only: of real ones it knows nothing.")
        return [
            *said,
            f"Any sound is forced into one of the {len(clips)} classes: there is no answer for none of them, and of "
            "several sounds at once one is named.",
            f"It hears {spec.duration:g} s at a time (shorter sounds are padded with silence, longer ones heard in "
            f"windows) and nothing above {(spec.fmax or spec.sr / 2) / 1000:g} kHz.",
        ]


def listed(things: Iterable[object]) -> str:
    return ", ".join(map(str, things))


def show(value: float, share: bool = True) -> str:
    return f"{100 * value:.1f} %" if share else f"{value:.3f}"


def code(name: str, *, in_table: bool = False) -> str:
    """A class's name as a Markdown code span, where a bar ends a table's cell."""
    span = "`" + str(name).replace("`", "'").replace("\n", " ") + "`"
    return span.replace("|", "\\|") if in_table else span


def read_card(run_dir: Path) -> Card:
    """What a run's files say of it. A converted run's figures are those of the run it was made from.

    Raises:
        UserError: no finished run, or a converted one whose source is gone.
    """
    run_dir = Path(run_dir)
    config, _ = read_run(run_dir)
    judged = origin(run_dir)
    metrics = read_json(judged / "metrics.json")
    if "reported_on" not in metrics:
        raise UserError(f"--model-dir {run_dir}: its metrics.json is of no classifier's training")
    exported = read_json(run_dir / EXPORT)["files"] if (run_dir / EXPORT).is_file() else {}
    return Card(run_dir.resolve().name, config, metrics, exported, converted=judged != run_dir)


def render(card: Card) -> str:
    """The card as Markdown."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "cell": partial(code, in_table=True),
        "show": show,
        "yaml": json.dumps,
    }  # a JSON string is a YAML one
    return environment.get_template("MODEL_CARD.md.j2").render(card=card)


def write_card(run_dir: Path) -> Path:
    """Write MODEL_CARD.md into a finished run's folder; its path. Raises what ``read_card`` does."""
    path = Path(run_dir) / CARD
    write_text(path, render(read_card(run_dir)))
    return path


@dataclasses.dataclass(kw_only=True)
class CardOptions:
    """Describe a finished classifier on one page, from its own figures."""

    model_dir: Path
    """Run folder of classification/train.py, finished; MODEL_CARD.md is written there."""


def main() -> None:
    print(write_card(tyro.cli(CardOptions).model_dir))


if __name__ == "__main__":
    run_entry(main)
