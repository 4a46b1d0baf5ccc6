"""The options that a study searches: the declared values that are possible with the other options."""

from collections.abc import Mapping
from typing import Any

import optuna

from classification.recipes import RECIPES, TrainOptions
from classification.tuning.options import TuneOptions
from shared.errors import UserError
from shared.runs.options import CommonOptions, assemble, flat, types
from shared.search import Between, OneOf, Space, declared

# Not part of a recipe: the data, the folds, where and how it is computed.
_OF_THE_COMMAND = types(CommonOptions).keys() - {"epochs", "batch_size"}
_OF_THE_COMMAND |= {"framework", "devices", "split", "group_by", "folds", "seeds", "test_share", "submission_name"}
_OF_THE_COMMAND |= {"export"}


def training(options: TuneOptions, **changes: Any) -> TrainOptions:
    """The options of a training with the study's options and these changes."""
    names = types(TrainOptions).keys()
    return assemble(TrainOptions, {k: v for k, v in flat(options).items() if k in names} | changes)


def search_space(options: TuneOptions) -> dict[str, Between | OneOf]:
    """The options to search. Their first values are those of ``options``; so one that starts elsewhere is left out.

    Raises:
        UserError: --search names an option that cannot be searched.
    """
    known, start = declared(types(TrainOptions)), flat(options)
    space: dict[str, Between | OneOf] = {}
    for name in [name.lstrip("-").replace("-", "_") for name in options.search] or known:
        if name not in known:
            names = ", ".join(known).replace("_", "-")
            raise UserError(f"--search {name}: declares no values to try; choose from {names}")
        tried = _possible(options, name, known[name])
        inside = tried and _holds(tried, start[name])
        if inside:
            space[name] = tried
        elif options.search:
            values = as_text(known[name])
            raise UserError(f"--search {name}: starts from {text(start[name])}, not among the values to try ({values})")
    if not space:
        raise UserError("--search: no option starts from one of its values to try; choose another --recipe")
    return space


def _possible(options: TuneOptions, name: str, tried: Between | OneOf) -> Between | OneOf | None:
    """The values to try that the other options allow; None if there are fewer than two."""

    def allowed(value: Any) -> bool:
        try:
            training(options, **{name: value}).check()
        except UserError:
            return False
        return True

    kept = tuple(value for value in tried.examples if allowed(value))
    if len(kept) < 2:
        return None
    return tried if isinstance(tried, Between) else OneOf(kept)


def _holds(tried: Between | OneOf, value: Any) -> bool:
    return tried.low <= value <= tried.high if isinstance(tried, Between) else value in tried.examples


def text(value: Any) -> str:
    """A value as on the command line."""
    return " ".join(map(text, value)) if isinstance(value, tuple) else str(value)


def as_text(tried: Between | OneOf) -> str:
    if isinstance(tried, Between):
        return f"{tried.low:g} to {tried.high:g}{', logarithmic' if tried.log else ''}"
    return ", ".join(map(text, tried.examples))


def distributions(space: Space) -> dict[str, optuna.distributions.BaseDistribution]:
    """The space as Optuna takes it; its choices are texts."""
    return {
        name: optuna.distributions.FloatDistribution(tried.low, tried.high, log=tried.log)
        if isinstance(tried, Between)
        else optuna.distributions.CategoricalDistribution([text(value) for value in tried.examples])
        for name, tried in space.items()
    }


def as_params(values: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """The values of options as Optuna's parameters."""
    return {name: values[name] if isinstance(tried, Between) else text(values[name]) for name, tried in space.items()}


def as_values(params: Mapping[str, Any], space: Space) -> dict[str, Any]:
    """Optuna's parameters as values of options; numbers have four digits."""
    return {
        name: float(f"{params[name]:.4g}")
        if isinstance(tried, Between)
        else next(value for value in tried.examples if text(value) == params[name])
        for name, tried in space.items()
    }


def recipe_of(options: TrainOptions) -> tuple[str, dict[str, Any]]:
    """A recipe to start from, and the options to change so that it trains like ``options``."""
    start = options.recipe if options.recipe in RECIPES else "plain"
    values, before = flat(options), flat(assemble(TrainOptions, RECIPES[start]))
    return start, {k: v for k, v in values.items() if k not in _OF_THE_COMMAND and v != before[k]}
