"""report.html and errors.html of the runs below a folder: frequency-quest report --out-dir runs/NAME"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro

from shared.errors import run_entry
from shared.files import write_text
from shared.report import errors, summary, terminal
from shared.report.pages import render
from shared.report.run_view import RunView, find_runs

REPORT, ERRORS = "report.html", "errors.html"
# All figures of the classifiers: label, pattern of RunView.figure, remark.
FIGURES = [
    ("framework, recipe", "{framework}, {recipe}", ""),
    ("accuracy", "{accuracy:.1%}", "clip by clip"),
    ("95 % interval", "{intervals[accuracy][0]:.1%} to {intervals[accuracy][1]:.1%}", "bootstrap over recordings"),
    (
        "mean of the trainings",
        "{spread[accuracy][mean]:.1%} ± {sd_points:.1f} (of {trainings})",
        "accuracy ± standard deviation over folds and seeds",
    ),
    (
        "averaged accuracy",
        "{together_accuracy:.1%} ({together_interval[0]:.1%} to {together_interval[1]:.1%})",
        "clips that sound like one recording share their mean probabilities",
    ),
    ("accuracy by recording", "{recording_accuracy:.1%}", "every recording counts once"),
    ("balanced accuracy", "{balanced_accuracy:.1%}", "mean recall of the classes"),
    ("macro F1", "{macro_f1:.3f}", "mean F1 of the classes"),
    ("log-loss", "{log_loss:.3f}", "nats; lower is better"),
    ("calibration error", "{calibration_error:.3f}", "mean gap between confidence and accuracy"),
    ("validation accuracy", "{val/accuracy:.1%}", "on the clips that selected the checkpoint"),
    ("clips evaluated", "{clips:d}", "each counts once per seed"),
    ("epochs", "{train/epochs:d}", ""),
    ("seconds an epoch", "{time/epoch_seconds:.2f}", "median, training only"),
    ("training speed", "{time/clips_per_second:.0f} clips/s", "median"),
    ("start-up", "{time/startup_seconds:.1f} s", "import of the framework"),
    ("peak memory", "{memory/peak_mib:.0f} MiB", "of the whole process"),
    ("parameters", "{model/parameters:,d}", ""),
    ("files skipped", "{skipped:d}", "they could not be used"),
]


@dataclasses.dataclass(kw_only=True)
class ReportOptions:
    """Compare the finished runs below a folder on one page, and show the clips that every classifier gets wrong."""

    out_dir: Path
    """Folder that holds the run folders; report.html and errors.html are written there."""


def figures_table(classifiers: Sequence[RunView]) -> list[tuple[str, list[str], str]]:
    """Rows of all figures: label, a cell for each run, remark; a row without any value is left out."""
    rows = [(label, [run.figure(pattern) for run in classifiers], remark) for label, pattern, remark in FIGURES]
    return [(label, [cell or "–" for cell in cells], remark) for label, cells, remark in rows if any(cells)]


def main() -> None:
    out_dir = tyro.cli(ReportOptions).out_dir
    from shared.report.sounds import sound_grid  # imports matplotlib, which --help does not need

    runs = find_runs(out_dir)
    classifiers = summary.ranked(runs)
    generators = [run for run in runs if run.kind == "generator"]
    scores = summary.generator_table(generators)
    mistakes = errors.find_mistakes(classifiers)
    pages = {ERRORS: errors.page(mistakes)} if mistakes else {}
    submission = out_dir / "submission.txt"
    pages[REPORT] = render(
        "page.html.j2",
        runs=[*classifiers, *generators],
        left_out=[run for run in runs if run.kind not in ("classifier", "generator")],
        classifiers=classifiers,
        generators=generators,
        grid=sound_grid(generators),
        data=max((run.config["data"] for run in runs), key=lambda data: data["clips"]),
        first_table=summary.first_table(classifiers),
        scores=scores,
        conclusions=summary.conclusions(classifiers, scores),
        mistakes=mistakes,
        errors_page=ERRORS,
        figures=figures_table(classifiers),
        comparisons=summary.comparisons(classifiers),
        submission=submission.read_text(encoding="utf-8") if submission.is_file() else None,
    )
    (out_dir / ERRORS).unlink(missing_ok=True)  # of an earlier report
    for name, page in pages.items():
        write_text(out_dir / name, page)
    terminal.show(out_dir, runs, classifiers, scores, pages)


if __name__ == "__main__":
    run_entry(main)
