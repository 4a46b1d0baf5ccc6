"""The part of the command line that every entry shares: the common options, and how recipes and flags set them."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import tyro

from shared.errors import UserError
from shared.files import CACHE_DIR

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16"]
OptionsT = TypeVar("OptionsT", bound="CommonOptions")


@dataclasses.dataclass(kw_only=True)
class CommonOptions:
    """The options that carry one name in every entry."""

    data_dir: Path | None = None
    """Folder of labelled sounds; None synthesises the embedded demo data in data/demo."""
    out_dir: Path | None = None
    """Run folder; the same command on it resumes. None is runs/<what is trained>."""
    recipe: str = "plain"
    """Named set of defaults; flags override it."""
    epochs: int = 40
    """Passes over the training clips."""
    batch_size: int = 32
    """Clips a step."""
    seed: int = 0
    """Of the split, the initial weights, the order of the batches and all noise."""
    fraction: float = 1.0
    """Share of each class's clips used, for quick trials."""
    max_skip: float = 0.2
    """Share of the files that may turn out unusable; above it nothing is trained."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    precision: Precision = "auto"
    """Arithmetic of the network; auto is bfloat16 only where it was measured to pay."""
    cache_dir: Path = CACHE_DIR
    """Where the computed spectrograms are kept."""
    n_jobs: int | None = None
    """Processes that compute spectrograms; None is one a core."""
    dry_run: bool = False
    """Print the run's configuration and stop."""
    overwrite: bool = False
    """Throw away the run in --out-dir and begin anew."""

    def check(self) -> None:
        """Refuse values no run can use; entries add to it.

        Raises:
            UserError: naming the option, its value and what it must be.
        """
        self.require("1 or more", lambda value: value is None or value >= 1, "epochs", "batch_size")
        self.require("0 or more", lambda value: value >= 0, "seed")
        self.require("between 0 and 1", lambda value: 0 <= value <= 1, "max_skip")

    def require(self, what: str, test: Callable[[Any], bool], *names: str) -> None:
        """Refuse the first option of ``names``, nested ones too, whose value fails ``test``."""
        values = flat(self)
        for name in names:
            if not test(values[name]):
                raise UserError(f"--{name.replace('_', '-')} {values[name]}: must be {what}")


def flat(options: Any) -> dict[str, Any]:
    """A dataclass as option name -> value; the fields of nested dataclasses stand beside the others."""
    values: dict[str, Any] = {}
    for name, value in vars(options).items():
        values |= flat(value) if dataclasses.is_dataclass(value) else {name: value}
    return values


def assemble(kind: type[OptionsT], values: Mapping[str, Any]) -> OptionsT:
    """``flat`` backwards; what ``values`` leave out keeps its default.

    Raises:
        TypeError: a name that is no option.
    """
    arguments = dict(values)
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(part := field.default_factory):
            own = [inner.name for inner in dataclasses.fields(part) if inner.name in arguments]
            arguments[field.name] = part(**{name: arguments.pop(name) for name in own})
    return kind(**arguments)


def parse(
    options: type[OptionsT],
    recipes: Mapping[str, Mapping[str, Any]],
    *,
    models: Mapping[str, Mapping[str, Any]] | None = None,
) -> OptionsT:
    """The command line as ``options``: the recipe's differences become the defaults, flags override them.

    ``models`` are the differences of each --model, where an entry has one; the recipe's come on top.
    """
    flags = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    flags.add_argument("--recipe", nargs="?", default=options.recipe)
    flags.add_argument("--model", nargs="?", default=getattr(options, "model", None))
    chosen = flags.parse_known_args()[0]
    if chosen.recipe not in recipes:
        raise UserError(f"--recipe {chosen.recipe}: unknown; choose one of {', '.join(recipes)}")
    differences = (models or {}).get(chosen.model, {}) | recipes[chosen.recipe]
    default = assemble(options, {"recipe": chosen.recipe} | differences)
    parsed = tyro.cli(options, default=default, config=(tyro.conf.OmitArgPrefixes,))
    parsed.check()
    return parsed
