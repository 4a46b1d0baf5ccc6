"""One self-contained report.html of the runs below a folder: frequency-quest report --out-dir runs/NAME"""

import base64
import contextlib
import dataclasses
import io
import itertools
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import jinja2
import soundfile as sf
import tyro

from shared.audio import decode
from shared.errors import UserError, run_entry
from shared.files import read_json, write_text
from shared.runs.compare import compare, sentence

# What the table of classifiers shows: label, key in metrics.json ({split} is the reported one), format, remark.
ROWS = [
    ("accuracy", "{split}/accuracy", "{:.1%}", "clip by clip"),
    ("95 % interval", "interval", "{}", "bootstrap over recordings"),
    ("over trainings", "over_trainings", "{}", "mean and standard deviation of the folds and seeds"),
    ("with clips averaged", "together", "{}", "clips that sound like one recording share their mean probabilities"),
    ("accuracy by recording", "{split}/recording_accuracy", "{:.1%}", "every recording counts once"),
    ("balanced accuracy", "{split}/balanced_accuracy", "{:.1%}", "mean recall of the classes"),
    ("macro F1", "{split}/macro_f1", "{:.3f}", ""),
    ("log-loss", "{split}/log_loss", "{:.3f}", "nats; lower is better"),
    ("calibration error", "{split}/calibration_error", "{:.3f}", "confidence against accuracy"),
    ("validation accuracy", "val/accuracy", "{:.1%}", "selected the checkpoint, where it was needed"),
    ("clips evaluated", "{split}/clips", "{:d}", ""),
    ("epochs", "train/epochs", "{:d}", ""),
    ("seconds an epoch", "time/epoch_seconds", "{:.2f}", "median, training only"),
    ("training clips/s", "time/clips_per_second", "{:.0f}", "median"),
    ("start-up", "time/startup_seconds", "{:.1f} s", "import of the framework"),
    ("peak memory", "memory/peak_mib", "{:.0f} MiB", "whole process"),
    ("parameters", "model/parameters", "{:,d}", ""),
    ("files skipped", "skipped", "{:d}", ""),
]


@dataclasses.dataclass(kw_only=True)
class ReportOptions:
    """Compare the finished runs below a folder in one page."""

    out_dir: Path
    """Folder of run folders; report.html is written there."""


@dataclasses.dataclass(frozen=True)
class RunView:
    """A finished run as the page shows it."""

    dir: Path
    config: dict[str, Any]
    metrics: dict[str, Any]

    @property
    def name(self) -> str:
        return self.dir.name

    def cell(self, key: str, form: str) -> str:
        value = self._derived(key) or self.metrics.get(key.format(split=self.metrics.get("reported_on")))
        return "–" if value is None else form.format(value)

    def _derived(self, key: str) -> str | None:
        """The cells that are more than one figure."""
        split = self.metrics.get("reported_on")
        intervals = self.metrics.get(f"{split}/intervals")
        if key == "interval" and intervals:
            return "{:.1%} to {:.1%}".format(*intervals["accuracy"])
        if key == "together" and f"{split}/together_accuracy" in self.metrics:
            interval = self.metrics[f"{split}/together_interval"]
            return "{:.1%} ({:.1%} to {:.1%})".format(self.metrics[f"{split}/together_accuracy"], *interval)
        if key == "over_trainings" and self.metrics.get("trainings", 1) > 1:
            accuracy = self.metrics["spread"]["accuracy"]
            return f"{accuracy['mean']:.1%} ± {100 * accuracy['sd']:.1f} (of {self.metrics['trainings']})"
        return None

    @property
    def evaluated_on(self) -> str:
        """What the figures are of, from what the training found on both sides of the split."""
        metrics, options = self.metrics, self.config["options"]
        several = [f"{options[name]} {name}, " for name in ("folds", "seeds") if options.get(name, 1) > 1]
        if metrics["split_leaks"]:
            what = "LEAKING random split"
        elif not metrics["reported_on"]:
            what = "nothing held out"
        elif metrics["reported_on"] == "val":
            what = "validation (optimistic)"
        elif not self.config["data"]["recordings"]:
            what = "held-out clips"
        elif metrics.get("unheard"):
            what = "held-out recordings"
        else:
            what = "held-out clips of recordings that were trained on"
        return "".join(several) + what

    @property
    def kind(self) -> str:
        """ "classifier", "generator", or why the page cannot show the run."""
        if source := self.metrics.get("converted_from"):
            return f"converted from {source}: its figures are that run's"
        if "framework" in self.metrics:
            averaged = self.metrics.get("together") and "unheard" not in self.metrics
            return "its figures are of an older version and not clip by clip" if averaged else "classifier"
        return "generator" if "model" in self.metrics else "its metrics.json is of no known kind of run"

    def image(self, name: str) -> str | None:
        path = self.dir / name
        return data_uri(path.read_bytes(), "image/png") if path.is_file() else None

    @property
    def evaluation(self) -> dict[str, Any] | None:
        """What generation/evaluate.py found of its samples."""
        path = self.dir / "evaluation.json"
        return read_json(path) if path.is_file() else None

    @property
    def text(self) -> str:
        path = self.dir / "classification_report.txt"
        return path.read_text(encoding="utf-8") if path.is_file() else "nothing was held out: no figures"

    @property
    def figures(self) -> list[tuple[str, str]]:
        """The first, the middle and the last epoch's spectrograms: (title, image)."""
        paths = sorted(self.dir.glob("*_spectrogram_plots/epoch_*.png"))
        chosen = [paths[i] for i in sorted({0, len(paths) // 2, len(paths) - 1})] if paths else []
        return [(f"epoch {int(path.stem[6:])}", data_uri(path.read_bytes(), "image/png")) for path in chosen]

    @property
    def sounds(self) -> dict[str, list[str]]:
        """class -> players' sources: four samples of each, or without them the last epoch's sounds."""
        by_class: dict[str, list[str]] = {}
        samples = sorted((self.dir / "samples").glob("*.wav"))
        last = f"_ep{self.metrics['train/epochs']}"
        for path in samples or sorted(self.dir.glob(f"*_generated_audio/*{last}.wav")):
            label = re.sub(r"_(\d+|ep\d+)$", "", path.stem)
            if len(by_class.setdefault(label, [])) < 4:
                by_class[label].append(flac_uri(path))
        return by_class


def data_uri(content: bytes, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def flac_uri(path: Path) -> str:
    """A sound as lossless FLAC inside the page, about half of its wav."""
    y, sr = decode(path)
    buffer = io.BytesIO()
    sf.write(buffer, y, sr, format="FLAC", subtype="PCM_16")
    return data_uri(buffer.getvalue(), "audio/flac")


def find_runs(out_dir: Path) -> list[RunView]:
    """The finished runs directly below ``out_dir``, those with a leaking split last."""
    if not out_dir.is_dir():
        raise UserError(f"--out-dir {out_dir}: no such folder")
    runs = [
        RunView(path.parent, read_json(path.parent / "config.json"), read_json(path))
        for path in sorted(out_dir.glob("*/metrics.json"))
        if (path.parent / "config.json").is_file()
    ]
    if not runs:
        raise UserError(f"--out-dir {out_dir}: no finished run below it (no */metrics.json)")
    return sorted(runs, key=lambda run: bool(run.metrics.get("split_leaks")))


def table_of(classifiers: list[RunView]) -> list[tuple[str, list[str], str]]:
    """The comparison's rows: label, a cell a run, remark."""
    return [(label, [run.cell(key, form) for run in classifiers], remark) for label, key, form, remark in ROWS]


def render(runs: list[RunView], out_dir: Path) -> str:
    """The page: everything it shows is inside it, no network is needed."""
    classifiers = [run for run in runs if run.kind == "classifier"]
    generators = [run for run in runs if run.kind == "generator"]
    honest = [run for run in classifiers if not run.metrics["split_leaks"]]
    leaking = [run for run in classifiers if run.metrics["split_leaks"]]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("page.html.j2").render(
        runs=runs,
        classifiers=classifiers,
        generators=generators,
        others=[run for run in runs if run.kind not in ("classifier", "generator")],
        judged=(judged := [run for run in generators if run.evaluation]),
        judged_rows=judged_rows(judged),
        judged_notes=judged_notes(judged),
        rows=table_of(classifiers),
        flattery=_flattery(leaking),
        comparisons=_comparisons(honest),
        data=max((run.config["data"] for run in runs), key=lambda data: data["clips"]),
        submission=(out_dir / "submission.txt").read_text() if (out_dir / "submission.txt").is_file() else None,
    )


def judged_notes(runs: list[RunView]) -> list[tuple[str, str]]:
    """What evaluation remarked, each once: the generators it is about, the remark."""
    about: dict[str, list[str]] = defaultdict(list)
    for run in runs:
        for note in run.evaluation["notes"]:
            about[note].append(run.name)
    return [(", ".join(names), note) for note, names in about.items()]


def judged_rows(runs: list[RunView]) -> list[tuple[str, list[str], str]]:
    """The generators' comparison: metric, a cell a run and those of real clips and noise, where it should go.

    Floor and ceiling are those of the first run that has a floor.
    """
    if not runs:
        return []
    found = [run.evaluation["metrics"] for run in runs]
    first = next((metrics for metrics in found if metrics["frechet"]["floor"] is not None), found[0])
    return [
        (
            row["name"],
            [_number(metrics[key]["samples"]) for metrics in found] + [_number(row["floor"]), _number(row["ceiling"])],
            row["better"],
        )
        for key, row in first.items()
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _flattery(leaking: list[RunView]) -> str | None:
    """What the random split adds to the accuracy of the same recipe."""
    for run in leaking:
        if "flattery" in run.metrics:
            fair, flattered = run.metrics["honest"]["accuracy"]["mean"], run.metrics["spread"]["accuracy"]["mean"]
            return (
                f"{fair:.1%} on held-out recordings; the random split reports {flattered:.1%}, "
                f"{100 * (flattered - fair):+.1f} points, for the same recipe ({run.metrics['recipe']})."
            )
    return None


def _comparisons(runs: list[RunView]) -> list[str]:
    """Every two runs that judged the same clips: whether they differ by more than chance."""
    said = []
    for a, b in itertools.combinations([run.dir for run in runs if run.metrics["reported_on"]], 2):
        with contextlib.suppress(UserError):  # they judged other clips
            said.append(sentence(a, b, compare(a, b)))
    return said


def main() -> None:
    options = tyro.cli(ReportOptions)
    runs = find_runs(options.out_dir)
    page = render(runs, options.out_dir)
    classifiers = [run for run in runs if run.kind == "classifier"]
    if classifiers:
        import pandas as pd  # half a second that --help does not need

        cells = {label: cells for label, cells, _ in table_of(classifiers)}
        print(pd.DataFrame(cells, index=[run.name for run in classifiers]).T.to_string())
    print("\n".join(_comparisons([run for run in classifiers if not run.metrics["split_leaks"]])))
    write_text(options.out_dir / "report.html", page)
    print(f"{options.out_dir / 'report.html'}: {len(page) / 2**20:.1f} MiB")


if __name__ == "__main__":
    run_entry(main)
