"""RunView: a finished run as the pages and the terminal show it."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

from shared.errors import UserError
from shared.files import read_json
from shared.report.cards import OLDER
from shared.report.pages import png_uri

CLASSIFIER = ("framework", "recipe", "reported_on", "classes")  # in the metrics of every trained classifier
FRAMEWORKS = {"keras": "Keras", "torch": "PyTorch"}
_REMEDY = "restore it or train again"


@dataclasses.dataclass(frozen=True)
class RunView:
    """A run's folder with its config.json and metrics.json."""

    dir: Path
    config: dict[str, Any]
    metrics: dict[str, Any]
    fault: str = ""  # why the run cannot be shown

    @property
    def name(self) -> str:
        return self.dir.name

    @property
    def kind(self) -> str:
        """ "classifier", "generator", or the reason why the run is not shown."""
        if self.fault:
            return self.fault
        if source := self.metrics.get("converted_from"):
            return f"converted from {source}, which has the figures"
        if "framework" in self.metrics:
            return "classifier" if "held_out" in self.metrics else OLDER
        if "best_trial" in self.metrics:
            return f"a study of tune; its page is {self.dir / 'tuning.html'}"
        if (self.dir / "vocoder.json").is_file():
            return "a vocoder, which makes no sounds of its own"
        return "generator" if "model" in self.metrics else "its metrics.json belongs to no classifier or generator"

    @functools.cached_property
    def figures(self) -> dict[str, Any]:
        """The metrics; those of the reported split also have a short key: "accuracy" for "test/accuracy"."""
        prefix = f"{self.metrics.get('reported_on')}/"
        figures = self.metrics | {key.removeprefix(prefix): value for key, value in self.metrics.items()}
        if figures.get("trainings", 1) > 1:
            figures["sd_points"] = 100 * figures["spread"]["accuracy"]["sd"]
        return figures

    def figure(self, pattern: str) -> str | None:
        """A pattern such as "{accuracy:.1%}" filled with the run's figures; None if the run lacks one of them."""
        try:
            return pattern.format_map(self.figures).replace("%", " %")
        except (KeyError, TypeError):  # TypeError: the figure is None
            return None

    @property
    def collapsed(self) -> bool:
        """Whether a generator's samples of one class are too much alike."""
        return self.metrics.get("samples/collapsed", False)

    @property
    def leaks(self) -> bool:
        """Whether a random split put clips of one recording into both the training and the reported split."""
        return bool(self.metrics.get("split_leaks"))

    @property
    def is_fair(self) -> bool:
        """Whether it is a classifier with figures of a split that does not leak."""
        return self.kind == "classifier" and bool(self.metrics["reported_on"]) and not self.leaks

    @property
    def title(self) -> str:
        """Framework and recipe, e.g. "PyTorch, strong"."""
        return f"{FRAMEWORKS.get(self.metrics['framework'], self.metrics['framework'])}, {self.metrics['recipe']}"

    @property
    def accuracy(self) -> str | None:
        return self.figure("{accuracy:.1%}")

    @property
    def interval(self) -> str | None:
        """The 95 % interval of the accuracy in per cent, e.g. "71.2 to 86.4"."""
        if intervals := self.figures.get("intervals"):
            return " to ".join(f"{100 * bound:.1f}" for bound in intervals["accuracy"])
        return None

    @property
    def averaged(self) -> str | None:
        """The accuracy when clips that sound like one recording are averaged."""
        return self.figure("{together_accuracy:.1%}")

    @property
    def evaluated_on(self) -> str:
        """Which clips the figures were measured on."""
        metrics, options = self.metrics, self.config["options"]
        several = [f"{options[name]} {name}" for name in ("folds", "seeds") if options.get(name, 1) > 1]
        suffix = f" ({', '.join(several)})" if several else ""
        if self.leaks:
            return f"LEAKING random split{suffix}"
        if not metrics["reported_on"]:
            return "nothing held out"
        if metrics["reported_on"] == "val":
            return f"validation clips, which selected the checkpoint (optimistic){suffix}"
        if not self.config["data"]["recordings"]:
            return f"held-out clips{suffix}"
        if metrics["held_out"]:
            return f"held-out recordings{suffix}"
        return f"held-out clips of recordings that were trained on{suffix}"

    def image(self, name: str) -> str | None:
        """A PNG of the run's folder as a data URI; None if there is none."""
        path = self.dir / name
        return png_uri(path) if path.is_file() else None

    def text(self, name: str) -> str | None:
        path = self.dir / name
        return path.read_text(encoding="utf-8") if path.is_file() else None

    @functools.cached_property
    def evaluation(self) -> dict[str, Any] | None:
        """The evaluation.json of a generator; None if its samples were not evaluated."""
        path = self.dir / "evaluation.json"
        return read_json(path) if path.is_file() else None

    @property
    def spectrograms(self) -> list[tuple[str, str]]:
        """Generated spectrograms of the first, the middle and the last epoch: (title, image)."""
        paths = sorted(self.dir.glob("*_spectrogram_plots/epoch_*.png"))
        chosen = [paths[i] for i in sorted({0, len(paths) // 2, len(paths) - 1})] if paths else []
        return [(f"epoch {int(path.stem[6:])}", png_uri(path)) for path in chosen]


def find_runs(out_dir: Path) -> list[RunView]:
    """The finished runs directly below ``out_dir``, sorted by name.

    Raises:
        UserError: no such folder, or no finished run in it.
    """
    if not out_dir.is_dir():
        raise UserError(f"--out-dir {out_dir}: no such folder; give the one that holds the runs' folders")
    folders = [path.parent for path in sorted(out_dir.glob("*/metrics.json"))]
    runs = [_view(folder) for folder in folders if (folder / "config.json").is_file()]
    if not runs:
        raise UserError(f"--out-dir {out_dir}: no finished run below it (no */metrics.json); train one first")
    if all(run.fault for run in runs):
        raise UserError(runs[0].fault)
    return runs


def _view(folder: Path) -> RunView:
    """The run in a folder; one whose files are damaged has a fault instead of figures."""
    try:
        config = read_json(folder / "config.json", options=dict, data=dict)
        metrics = read_json(folder / "metrics.json")
        if not isinstance(metrics, dict):
            raise UserError(f"{folder / 'metrics.json'}: is damaged, no object; {_REMEDY}")
        needed = CLASSIFIER if "held_out" in metrics else ()
        if missing := [name for name in needed if name not in metrics]:
            raise UserError(f"{folder / 'metrics.json'}: is damaged, lacks {', '.join(missing)}; {_REMEDY}")
        if (folder / "evaluation.json").is_file():
            read_json(folder / "evaluation.json")
        return RunView(folder, config, metrics)
    except (UserError, TypeError) as error:
        return RunView(folder, {"options": {}, "data": {"clips": -1}}, {}, str(error))
