"""The summary table that ends the command: styled on a terminal, plain text of at most 100 columns in a log."""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared.report import summary
from shared.report.numbers import number, percent
from shared.report.run_view import RunView

WIDTH = 100  # columns


def show(
    out_dir: Path,
    runs: Sequence[RunView],
    classifiers: Sequence[RunView],
    scores: Sequence[summary.GeneratorScores],
    pages: Iterable[str],
) -> None:
    """Print the scores, the runs that are left out, and the paths of the pages and of the submission."""
    out = console()
    out.print()
    out.print(_table(summary.first_table(classifiers), scores))
    out.print()
    for run in runs:
        if run.kind not in ("classifier", "generator"):
            out.print(Text(f"{run.name}: {run.kind}", style="yellow"))
    for name in (*sorted(pages, reverse=True), "submission.csv"):
        if (out_dir / name).is_file():
            out.print(Text(f"{name:<15} {out_dir / name}"), soft_wrap=True)  # keeps a long path on one line


def console() -> Console:
    """The console of a command's last tables."""
    terminal = sys.stdout.isatty()
    made = Console(
        force_terminal=terminal,
        color_system="auto" if terminal and "NO_COLOR" not in os.environ else None,
        highlight=False,
        markup=False,  # brackets in a run's name are text
    )
    made.width = min(made.width, WIDTH) if terminal else WIDTH
    return made


def _table(classifiers: Sequence[RunView], scores: Sequence[summary.GeneratorScores]) -> Table:
    """Classifiers with accuracy and interval, then generators beside real held-out clips and noise."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for justify, no_wrap in (("left", False), ("right", True), ("right", True), ("left", False)):
        table.add_column(justify=justify, no_wrap=no_wrap, overflow="fold")
    if classifiers:
        table.add_row("classifier", "accuracy (95 % interval)", "averaged", "evaluated on", style="bold")
    for run in classifiers:
        name, accuracy = f"{run.name} ({run.title})", f"{run.accuracy} ({run.interval})"
        style = "yellow" if run.leaks else None
        table.add_row(name, accuracy, run.averaged or "-", run.evaluated_on, style=style)
    if classifiers and scores:
        table.add_row()
    if scores:
        table.add_row("sounds of", "classifier's accuracy", "KAD", "lower KAD is better", style="bold")
    for row in scores:
        accuracy, kad = (text.replace("–", "-") for text in (percent(row.accuracy), number(row.kad)))
        table.add_row(row.name, accuracy, kad, "")
    return table
