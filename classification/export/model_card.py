"""MODEL_CARD.md of a finished run: frequency-quest card --model-dir RUN

The sections are those of Mitchell et al. 2019, "Model Cards for Model Reporting", under the front matter of the Hugging
Face hub. Every figure comes from the run's config.json and metrics.json (and export.json, where it was exported).
"""

import dataclasses
import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import tyro

from classification.models.architecture import Architecture
from classification.rundir import CARD, EXPORT, network_from, origin, read_run
from shared.errors import UserError, run_entry
from shared.features.spec import FeatureSpec
from shared.files import read_json, write_text

LOW_RECALL = 0.6  # the limits name a class of lower recall
FEW_RECORDINGS = 30  # a class on average: with fewer, the limits say that the figures are uncertain
CONFUSIONS = 5
FIGURES = {  # key in metrics.json -> its name, whether it is a share
    "accuracy": ("accuracy, clip by clip", True),
    "together_accuracy": ("accuracy, clips that sound like one recording averaged", True),
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
    """What the template shows of a run, from its config.json (``config``) and metrics.json (``metrics``)."""

    name: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    exported: dict[str, Any] = dataclasses.field(default_factory=dict)
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
        """Whether more than one training was evaluated."""
        return self.metrics.get("trainings", 1) > 1

    @property
    def details(self) -> list[tuple[str, str]]:
        """The model: rows of a table."""
        spec, arch = self.spec, self.architecture
        bands, frames = spec.shape
        layers = (
            f"{len(arch.widths)} blocks of Conv 3x3, ReLU, BatchNorm, MaxPool with {listed(arch.widths)} channels; "
            f"pooling {arch.pooling}; dense {listed(arch.dense) or 'none'}"
        )
        window = f"{spec.duration:g} s at {spec.sr} Hz, mono; n_fft {spec.n_fft}, hop {spec.hop_length}"
        return [
            ("classes", listed(code(label, in_table=True) for label in self.metrics["classes"])),
            ("input", f"{bands} mel bands x {frames} frames of {window}, {spec.convention}'s conventions"),
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
        """How the figures were obtained, a sentence a line."""
        o, folds = self.options, self.options["folds"]
        said = [f"Split: {SPLITS[o['split']]} (`--split {o['split']}`)."]
        if self.data.get("group_by") == "similarity":
            said.append("Recordings were found by similarity of the sounds, not by file names.")
        elif self.data["recordings"] is None:
            said.append("The recordings are unknown: each clip counts as its own, and near-duplicates may leak.")
        shares = f"validation share {o['val_share']:g}" + ("" if folds > 1 else f", test share {o['test_share']:g}")
        said.append(
            (f"{folds} folds, each held out once; " if folds > 1 else "One split; ") + shares + f"; seed {o['seed']}."
        )
        if o["seeds"] > 1:
            said.append(f"{o['seeds']} trainings a fold, with seeds from {o['seed']}; the folds stay the same.")
        said.append(f"In a training, {SELECTION[o['schedule']]}.")
        if self.metrics.get("together"):
            said.append(
                "The figures are clip by clip, as a single sound is predicted. The submission, and predict.py with "
                "`--together`, average clips that sound like one recording: the second line."
            )
        if "refit" in self.metrics:
            said.append(
                "The kept model was trained once more, on every clip; the figures are of models trained without the "
                "clips they were evaluated on."
            )
        elif self.several:
            said.append(f"The kept model is the first of the {self.metrics['trainings']} trainings.")
        return said

    @property
    def figures(self) -> list[tuple[str, str, str, str]]:
        """Rows of name, value, 95 % interval, mean ± deviation over the trainings."""
        rows = []
        intervals = (self.of("intervals") or {}) | {"together_accuracy": self.of("together_interval")}
        for key, (name, share) in FIGURES.items():
            if self.of(key) is None:
                continue
            interval = intervals.get(key)
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
        """The limits that the figures show, then those of every such classifier."""
        spec, clips, said = self.spec, self.data["classes"], []
        per_class = self.of("per_class") or {}
        recalls = {label: row["recall"] for label, row in per_class.items() if row["clips"]}
        low = [f"{code(label)} ({show(recall)})" for label, recall in recalls.items() if recall < LOW_RECALL]
        if low:
            said.append(f"It misses many clips of {', '.join(low)} (recall below {show(LOW_RECALL)}).")
        unknown = [code(label) for label in per_class if label not in recalls]
        if unknown:
            said.append(f"No clip of {', '.join(unknown)} was held out: its recall is unknown.")
        recordings = self.data["recordings"]
        if recordings is not None and recordings < FEW_RECORDINGS * len(clips):
            said.append(
                f"{recordings} recordings are few for {len(clips)} classes: the intervals are wide, and the accuracy "
                "on sounds of other places and devices may be lower."
            )
        if max(clips.values()) >= 3 * min(clips.values()):
            few, many = min(clips, key=clips.get), max(clips, key=clips.get)
            said.append(f"The classes are unequal: {clips[few]} clips of {code(few)}, {clips[many]} of {code(many)}.")
        if self.data["synthetic"]:
            said.append("It was trained on synthetic sounds only; nothing is known of its accuracy on real ones.")
        return [
            *said,
            f"Any sound is forced into one of the {len(clips)} classes: it has none for other sounds, and gives one "
            "class for several sounds at once.",
            f"Its input is {spec.duration:g} s (shorter sounds are padded with silence, longer ones predicted in "
            f"windows), up to {(spec.fmax or spec.sr / 2) / 1000:g} kHz.",
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
    """The card of a finished run. A converted run's figures are those of the run it was made from.

    Raises:
        UserError: no finished run, a converted one whose source is gone, or one whose figures cannot be shown.
    """
    config, _ = read_run(run_dir)
    source = origin(run_dir)
    metrics = read_json(source / "metrics.json")
    if "reported_on" not in metrics:
        raise UserError(f"--model-dir {run_dir}: its metrics.json is of no classifier's training")
    if metrics.get("together") and f"{metrics['reported_on']}/alone_accuracy" in metrics:
        raise UserError(f"--model-dir {run_dir}: an older version's figures are not clip by clip; train it anew")
    exported = read_json(run_dir / EXPORT)["files"] if (run_dir / EXPORT).is_file() else {}
    return Card(run_dir.resolve().name, config, metrics, exported, converted=source != run_dir)


def render(card: Card) -> str:
    """The card as Markdown."""
    import jinja2  # imported here: --help does not wait for it

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": partial(code, in_table=True), "show": show, "yaml": json.dumps}  # JSON is YAML
    return environment.get_template("MODEL_CARD.md.j2").render(card=card)


def write_card(run_dir: Path, card: Card) -> Path:
    """Write MODEL_CARD.md into a run's folder; its path."""
    write_text(run_dir / CARD, render(card))
    return run_dir / CARD


@dataclasses.dataclass(kw_only=True)
class CardOptions:
    """Describe a finished classifier on one page, from its own figures."""

    model_dir: Path
    """Run folder of classification/train.py, finished; MODEL_CARD.md is written there."""


def main() -> None:
    run_dir = tyro.cli(CardOptions).model_dir
    print(write_card(run_dir, read_card(run_dir)))


if __name__ == "__main__":
    run_entry(main)
