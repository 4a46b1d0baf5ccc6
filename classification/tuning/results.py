"""What a study leaves: best.toml, tuning.html with the study's plots, and a table in the terminal."""

import shlex
from pathlib import Path
from typing import Any

import optuna
from rich.table import Table

from classification.recipes import TrainOptions
from classification.tuning.options import TuneOptions
from classification.tuning.plots import Rows, plot_importances, plot_scores, plot_values
from classification.tuning.space import as_values, recipe_of, text, training
from classification.tuning.study import completed, ended
from shared.files import write_text
from shared.report.pages import png_uri, render
from shared.report.terminal import console
from shared.runs.options import flat
from shared.runs.recipe_files import write_recipe
from shared.runs.run import Run
from shared.search import Space

BEST, PAGE = "best.toml", "tuning.html"
# of the command, so that train holds out the same recordings
SAME = ("data_dir", "fraction", "seed", "split", "group_by", "test_share", "max_skip", "device")
SHOWN = 5  # trials in the terminal's table, the best ones
LEAST = 4  # complete trials for the importances


def write_results(study: optuna.Study, space: Space, options: TuneOptions, run: Run) -> dict[str, Any]:
    """Write best.toml and the page, and print the best trials. Returns the content of metrics.json."""
    done = ended(study)
    numbers = {trial.number: place for place, trial in enumerate(done, start=1)}
    rows = [
        {
            "number": numbers[trial.number],
            "score": trial.value if trial.state.name == "COMPLETE" else None,
            "folds": trial.user_attrs.get("folds", []),
            "values": as_values(trial.params, space),
            "seconds": trial.duration.total_seconds(),
        }
        for trial in done
    ]
    rows.sort(key=lambda row: (row["score"] is None, -(row["score"] or 0.0), row["number"]))
    if not completed(study):
        print("no trial is complete, so there is no best.toml yet")
        return {"trials": len(done), "best": None}
    write_best(study, space, options, run, trial=numbers[study.best_trial.number])
    images = {title: png_uri(path) for title, path in plot(study, rows, space, run.dir / "plots").items()}
    page = render(
        "tuning.html.j2",
        folder=Path(__file__).parent,
        rows=rows,
        names=list(space),
        text=text,
        least=LEAST,
        images=images,
        config=run.config,
        best=(run.dir / BEST).read_text(encoding="utf-8"),
        train=train_command(options, run),
    )
    write_text(run.dir / PAGE, page)
    show(rows, run, train_command(options, run))
    return {"trials": len(done), "best": study.best_value, "best_trial": numbers[study.best_trial.number]}


def write_best(study: optuna.Study, space: Space, options: TuneOptions, run: Run, *, trial: int) -> None:
    start, values = recipe_of(training(options, **as_values(study.best_params, space)))
    comment = f"trial {trial} of {run.config['command']}\naccuracy {study.best_value:.4f} on the inner folds"
    write_recipe(run.dir / BEST, start, values, comment=comment)


def train_command(options: TuneOptions, run: Run) -> str:
    """The command that trains with best.toml and evaluates on the recordings that were held out."""
    values, default = flat(options), flat(TrainOptions())
    kept = {name: values[name] for name in SAME if values[name] != default[name]}
    kept |= {"framework": options.framework, "recipe": run.dir / BEST, "out_dir": f"{run.dir}-best"}
    words = [word for name, value in kept.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return f"frequency-quest train {shlex.join(words)}"


def plot(study: optuna.Study, rows: Rows, space: Space, folder: Path) -> dict[str, Path]:
    """Draw the plots of a study: title -> PNG. The importances need four complete trials with different scores."""
    paths = {"Score of each trial": folder / "scores.png"}
    plot_scores(paths["Score of each trial"], rows)
    scores = [trial.value for trial in completed(study)]
    if len(scores) >= LEAST and len(set(scores)) > 1 and len(space) > 1:
        title, evaluator = "Importance of each option", optuna.importance.FanovaImportanceEvaluator(seed=0)
        paths[title] = folder / "importances.png"
        plot_importances(paths[title], optuna.importance.get_param_importances(study, evaluator=evaluator))
    paths["Score by the value of each option"] = folder / "values.png"
    plot_values(paths["Score by the value of each option"], rows, space)
    return paths


def show(rows: Rows, run: Run, command: str) -> None:
    """Print the best trials and the next command."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("trial", "accuracy", "folds", "options"):
        table.add_column(column, overflow="fold")
    for row in rows[:SHOWN]:
        folds = " ".join(f"{accuracy:.3f}" for accuracy in row["folds"])
        score = "pruned" if row["score"] is None else f"{row['score']:.3f}"
        values = ", ".join(f"{name.replace('_', '-')} {text(value)}" for name, value in row["values"].items())
        table.add_row(str(row["number"]), score, folds, values)
    out = console()
    out.print()
    out.print(table)
    for name in (BEST, PAGE):
        print(f"{name:<12} {run.dir / name}")
    print(f"the next step: {command}")
