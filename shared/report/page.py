"""One self-contained report.html of the runs below a folder: frequency-quest report --out-dir runs/NAME"""

import base64
import contextlib
import dataclasses
import functools
import io
import itertools
import json
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

# What the table of classifiers shows: label, format of RunView.figures, remark.
ROWS = [
    ("accuracy", "{accuracy:.1%}", "clip by clip"),
    ("95 % interval", "{intervals[accuracy][0]:.1%} to {intervals[accuracy][1]:.1%}", "bootstrap over recordings"),
    (
        "over trainings",
        "{spread[accuracy][mean]:.1%} ± {sd_points:.1f} (of {trainings})",
        "mean and standard deviation of the folds and seeds",
    ),
    (
        "with clips averaged",
        "{together_accuracy:.1%} ({together_interval[0]:.1%} to {together_interval[1]:.1%})",
        "clips that sound like one recording share their mean probabilities",
    ),
    ("accuracy by recording", "{recording_accuracy:.1%}", "every recording counts once"),
    ("balanced accuracy", "{balanced_accuracy:.1%}", "mean recall of the classes"),
    ("macro F1", "{macro_f1:.3f}", ""),
    ("log-loss", "{log_loss:.3f}", "nats; lower is better"),
    ("calibration error", "{calibration_error:.3f}", "confidence against accuracy"),
    ("validation accuracy", "{val/accuracy:.1%}", "selected the checkpoint, where it was needed"),
    ("clips evaluated", "{clips:d}", ""),
    ("epochs", "{train/epochs:d}", ""),
    ("seconds an epoch", "{time/epoch_seconds:.2f}", "median, training only"),
    ("training clips/s", "{time/clips_per_second:.0f}", "median"),
    ("start-up", "{time/startup_seconds:.1f} s", "import of the framework"),
    ("peak memory", "{memory/peak_mib:.0f} MiB", "whole process"),
    ("parameters", "{model/parameters:,d}", ""),
    ("files skipped", "{skipped:d}", ""),
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

    @functools.cached_property
    def figures(self) -> dict[str, Any]:
        """The metrics; those of the reported split also without its name: "accuracy" beside "test/accuracy"."""
        reported = f"{self.metrics.get('reported_on')}/"
        figures = self.metrics | {key.removeprefix(reported): value for key, value in self.metrics.items()}
        if figures.get("trainings", 1) > 1:
            figures["sd_points"] = 100 * figures["spread"]["accuracy"]["sd"]
        return figures

    def cell(self, form: str) -> str:
        """Figures in a format of ``ROWS``, or a dash where the run has none."""
        try:
            return form.format_map(self.figures)
        except (KeyError, TypeError):  # TypeError: a figure is None
            return "–"

    @property
    def kind(self) -> str:
        """ "classifier", "generator", or why the page cannot show the run."""
        if source := self.metrics.get("converted_from"):
            return f"converted from {source}: its figures are that run's"
        if "framework" in self.metrics:
            older = "its metrics.json was written by an older version; train it again (--overwrite) to see its figures"
            return "classifier" if "held_out" in self.metrics else older
        return "generator" if "model" in self.metrics else "its metrics.json is of no known kind of run"

    def image(self, name: str) -> str | None:
        path = self.dir / name
        return data_uri(path.read_bytes(), "image/png") if path.is_file() else None

    def text(self, name: str) -> str | None:
        path = self.dir / name
        return path.read_text(encoding="utf-8") if path.is_file() else None

    @functools.cached_property
    def evaluation(self) -> dict[str, Any] | None:
        """What generation/evaluate.py found of its samples."""
        return json.loads(self.text("evaluation.json") or "null")

    @property
    def spectrograms(self) -> list[tuple[str, str]]:
        """The first, the middle and the last epoch's spectrograms: (title, image)."""
        paths = sorted(self.dir.glob("*_spectrogram_plots/epoch_*.png"))
        chosen = [paths[i] for i in sorted({0, len(paths) // 2, len(paths) - 1})] if paths else []
        return [(f"epoch {int(path.stem[6:])}", data_uri(path.read_bytes(), "image/png")) for path in chosen]

    @property
    def sounds(self) -> dict[str, list[str]]:
        """class -> players' sources: four samples of each, or without them the last epoch's sounds."""
        last = f"*_generated_audio/*_ep{self.metrics['train/epochs']}.wav"
        by_class: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(self.dir.glob("samples/*.wav")) or sorted(self.dir.glob(last)):
            by_class[re.sub(r"_(\d+|ep\d+)$", "", path.stem)].append(path)
        return {label: [flac_uri(path) for path in paths[:4]] for label, paths in by_class.items()}


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


def render(runs: list[RunView], comparisons: list[str], submission: str | None) -> str:
    """The page: everything it shows is inside it, no network is needed."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    data = max((run.config["data"] for run in runs), key=lambda data: data["clips"])
    return environment.get_template("page.html.j2").render(
        runs=runs, rows=ROWS, data=data, comparisons=comparisons, submission=submission
    )


def compare_all(classifiers: list[RunView]) -> list[str]:
    """Every two runs of fair splits that evaluated the same clips: whether they differ by more than chance."""
    fair = [run.dir for run in classifiers if run.metrics["reported_on"] and not run.metrics["split_leaks"]]
    said = []
    for a, b in itertools.combinations(fair, 2):
        with contextlib.suppress(UserError):  # they evaluated other clips
            said.append(sentence(a, b, compare(a, b)))
    return said


def main() -> None:
    out_dir = tyro.cli(ReportOptions).out_dir
    runs = find_runs(out_dir)
    classifiers = [run for run in runs if run.kind == "classifier"]
    comparisons = compare_all(classifiers)
    submission = out_dir / "submission.txt"
    page = render(runs, comparisons, submission.read_text(encoding="utf-8") if submission.is_file() else None)
    if classifiers:
        import pandas as pd  # half a second that --help does not need

        cells = {run.name: [run.cell(form) for _, form, _ in ROWS] for run in classifiers}
        print(pd.DataFrame(cells, index=[label for label, _, _ in ROWS]).to_string())
    print("\n".join(comparisons))
    write_text(out_dir / "report.html", page)
    print(f"{out_dir / 'report.html'}: {len(page) / 2**20:.1f} MiB")


if __name__ == "__main__":
    run_entry(main)
