"""The top of the report: the rows of its two short tables, and a sentence for each conclusion."""

import contextlib
import dataclasses
import itertools
from collections.abc import Sequence

from shared.errors import UserError
from shared.report.numbers import number, percent
from shared.report.run_view import FRAMEWORKS, RunView
from shared.runs.compare import compare, sentence
from shared.runs.options import NOT_IDENTITY
from shared.runs.recipe_files import is_recipe_file

MAX_ROWS = 6  # of the first table: it fits on the first screen of a phone
REAL, NOISE = "real held-out clips", "white noise"


@dataclasses.dataclass(frozen=True)
class GeneratorScores:
    """A row of the generators' short table; None where a figure is missing."""

    name: str
    kad: float | None
    accuracy: float | None
    coverage: float | None


def ranked(runs: Sequence[RunView]) -> list[RunView]:
    """Sort the classifiers: evaluated on a test split, on validation clips, on a leaking split, without figures.

    Within each of these, the highest accuracy comes first.
    """

    def key(run: RunView) -> tuple:
        reported_on = run.metrics["reported_on"]
        return reported_on is None, run.leaks, reported_on == "val", -run.figures.get("accuracy", 0.0)

    return sorted((run for run in runs if run.kind == "classifier"), key=key)


def first_table(classifiers: Sequence[RunView]) -> list[RunView]:
    """Choose at most ``MAX_ROWS`` ranked classifiers; those with a leaking split come last, and one is always kept."""
    fair = [run for run in classifiers if run.is_fair]
    leaking = [run for run in classifiers if run.leaks and run.metrics["reported_on"]]
    leaking = leaking[: max(1, MAX_ROWS - len(fair))]
    return fair[: MAX_ROWS - len(leaking)] + leaking


def generator_table(generators: Sequence[RunView]) -> list[GeneratorScores]:
    """Sort the evaluated generators by KAD; real held-out clips and noise, from one evaluation, follow."""
    evaluated = [run.evaluation["metrics"] | {"run": run.name} for run in generators if run.evaluation]
    if not evaluated:
        return []

    def row(name: str, metrics: dict, column: str) -> GeneratorScores:
        keys = ("kernel_distance", "accuracy", "coverage")
        return GeneratorScores(name, *(metrics[key][column] for key in keys))

    rows = sorted(
        (row(metrics["run"], metrics, "samples") for metrics in evaluated),
        key=lambda scores: float("inf") if scores.kad is None else scores.kad,
    )
    first = next((m for m in evaluated if m["kernel_distance"]["floor"] is not None), evaluated[0])
    bounds = [row(REAL, first, "floor"), row(NOISE, first, "ceiling")]
    return rows + [scores for scores in bounds if scores.kad is not None]


def conclusions(classifiers: Sequence[RunView], generators: Sequence[GeneratorScores]) -> list[str]:
    """A sentence for each conclusion that the runs allow."""
    said = [best_classifier(classifiers), frameworks_differ(classifiers), random_split(classifiers)]
    return [text for text in (*said, best_generator(generators)) if text]


def best_classifier(classifiers: Sequence[RunView]) -> str | None:
    fair = [run for run in classifiers if run.is_fair]
    if not fair:
        return None
    if len({run.config["data"]["fingerprint"] for run in fair}) > 1:
        return "The classifiers were trained on different clips, so their accuracies cannot be compared directly."
    run = fair[0]
    has = "has the highest accuracy:" if len(fair) > 1 else "has an accuracy of"
    level = [other.name for other in fair[1:] if other.accuracy == run.accuracy]
    same = f", level with {' and '.join(level)}" if level else ""
    return (
        f"{run.name} ({run.title}) {has} {run.accuracy} (95 % interval {run.interval}), clip by clip, "
        f"on {run.evaluated_on}{same}."
    )


def frameworks_differ(classifiers: Sequence[RunView]) -> str | None:
    """Whether the frameworks differ by more than chance, for the best recipe that both evaluated on the same clips."""
    fair = [run for run in classifiers if run.is_fair]
    by_framework = ([run for run in fair if run.metrics["framework"] == name] for name in FRAMEWORKS)
    for keras, torch in itertools.product(*by_framework):
        if not _same_recipe(keras, torch):
            continue
        with contextlib.suppress(UserError):  # they evaluated other clips
            accuracy = compare(keras.dir, torch.dir)["accuracy"]
            low, high = (100 * bound for bound in accuracy["interval"])
            points = 100 * accuracy["difference"]
            interval = f"95 % interval {low:+.1f} to {high:+.1f}"
            measured = f"{keras.name} minus {torch.name} is {points:+.1f} points ({interval})"
            if not accuracy["more_than_chance"]:
                return f"Keras and PyTorch do not differ beyond chance: {measured}."
            better, worse = ("Keras", "PyTorch") if points > 0 else ("PyTorch", "Keras")
            return f"{better} is better than {worse} beyond chance: {measured}."
    return None


def _same_recipe(keras: RunView, torch: RunView) -> bool:
    """Whether two runs have one recipe; two recipe files of one name may have different options."""
    if keras.metrics["recipe"] != torch.metrics["recipe"]:
        return False
    other = NOT_IDENTITY | {"framework"}
    a, b = ({k: v for k, v in run.config["options"].items() if k not in other} for run in (keras, torch))
    return not is_recipe_file(keras.metrics["recipe"]) or a == b


def random_split(classifiers: Sequence[RunView]) -> str | None:
    """By how much a random split is too optimistic."""
    run = next((run for run in classifiers if run.leaks and "optimism" in run.metrics), None)
    if run is None:
        return None
    random, grouped = (run.metrics[key]["accuracy"]["mean"] for key in ("spread", "grouped"))
    points = 100 * run.metrics["optimism"]
    verdict = f"{points:.1f} points too optimistic" if points > 0 else "not too optimistic here"
    return (
        f"A random split is {verdict}: with the recipe {run.metrics['recipe']} it reports {percent(random)}, "
        f"and held-out recordings give {percent(grouped)}."
    )


def best_generator(generators: Sequence[GeneratorScores]) -> str | None:
    best = next((row for row in generators if row.name not in (REAL, NOISE)), None)
    if best is None or best.kad is None:
        return None
    bounds = {row.name: row for row in generators if row.name in (REAL, NOISE)}
    compared = ", ".join(f"{name}: {number(row.kad)}" for name, row in bounds.items())
    text = f"The best generator by KAD is {best.name} with {number(best.kad)}{compared and f' ({compared})'}."
    if best.accuracy is None:
        return text
    text += f" The classifier recognises {percent(best.accuracy)} of its sounds as the intended class"
    real = bounds.get(REAL)
    return f"{text}, and {percent(real.accuracy)} of {REAL}." if real and real.accuracy is not None else f"{text}."


def comparisons(classifiers: Sequence[RunView]) -> list[str]:
    """A sentence for each pair of classifiers with fair splits that evaluated the same clips."""
    said = []
    for a, b in itertools.combinations([run.dir for run in classifiers if run.is_fair], 2):
        with contextlib.suppress(UserError):  # they evaluated other clips
            said.append(sentence(a, b, compare(a, b)))
    return said
