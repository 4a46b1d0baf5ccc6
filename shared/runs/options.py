"""The options that all training commands share, and how recipes and the command line set them."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_type_hints

import tyro

from shared.errors import UserError
from shared.files import CACHE_DIR
from shared.runs.recipe_files import is_recipe_file, read_recipe

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16"]
# Options that may change when a run is resumed, because they do not change what is trained.
NOT_IDENTITY = {"data_dir", "extra_dir", "out_dir", "cache_dir", "n_jobs", "device", "max_skip", "dry_run", "overwrite"}
NOT_IDENTITY |= {"recipe"}  # a name or a file's name; the options that it sets are compared themselves
NOT_IDENTITY |= {"minutes", "verify_data", "deterministic", "scheduler", "devices", "backbone_path"}

OptionsT = TypeVar("OptionsT", bound="CommonOptions")


@dataclasses.dataclass(kw_only=True)
class CommonOptions:
    """Options of every training command."""

    data_dir: Path | None = None
    """Folder of labelled sounds, or a CSV that lists them; None synthesises demo sounds in data/demo."""
    out_dir: Path | None = None
    """Run folder; the same command resumes an interrupted run. None chooses a folder below runs/."""
    recipe: str = "plain"
    """Named set of options, or a file FILE.toml of options (docs/recipes.md); the command line overrides it."""
    epochs: int = 40
    """Passes over the training clips."""
    batch_size: int = 32
    """Clips per training step."""
    seed: int = 0
    """Seed of the split, the initial weights, the order of the clips and all noise."""
    fraction: float = 1.0
    """Share of each class's clips to use; below 1 for quick trials."""
    max_skip: float = 0.2
    """Largest share of unusable files (empty or damaged) to skip; with more, training does not start."""
    device: Device = "auto"
    """Device to train on; auto uses a GPU if there is one."""
    precision: Precision = "auto"
    """Arithmetic of the network; auto uses bfloat16 only where it is faster and safe, else float32."""
    deterministic: bool = False
    """Use deterministic kernels only, which are slower on a GPU; on a CPU, equal seeds give equal runs anyway."""
    cache_dir: Path = CACHE_DIR
    """Folder for the computed spectrograms."""
    n_jobs: int | None = None
    """Processes that compute spectrograms; None uses all cores."""
    scheduler: str | None = None
    """Address of a Dask cluster whose workers compute spectrograms (docs/cluster.md), or local for one on this machine;
    None uses no Dask."""
    verify_data: bool = False
    """Read all sounds to find changes, also those whose size and modification time have not changed."""
    dry_run: bool = False
    """Print the run's configuration and stop."""
    overwrite: bool = False
    """Delete the run in --out-dir and start again."""

    def check(self) -> None:
        """Refuse impossible values; subclasses check their own options too.

        Raises:
            UserError: names the option, its value and what it must be.
        """
        self.require("1 or more", lambda value: value is None or value >= 1, "epochs", "batch_size")
        self.require("0 or more", lambda value: value >= 0, "seed")
        self.require("between 0 and 1", lambda value: 0 <= value <= 1, "max_skip")

    def require(self, what: str, test: Callable[[Any], bool], *names: str) -> None:
        """Refuse the first option of ``names`` whose value fails ``test``. Options of nested dataclasses count too."""
        values = flat(self)
        for name in names:
            if not test(values[name]):
                raise UserError(f"--{name.replace('_', '-')} {values[name]}: must be {what}")


def check_backbone(path: Path | None, sr: int | None) -> None:
    """Refuse one of --backbone-path and --backbone-sr without the other, and an impossible rate.

    Raises:
        UserError: names the option that is missing or wrong.
    """
    if (path is None) != (sr is None):
        lacking = "--backbone-path" if path is None else "--backbone-sr"
        raise UserError(f"{lacking}: is missing; embeddings need a model and its sampling rate (docs/backbones.md)")
    if sr is not None and sr < 1000:
        raise UserError(f"--backbone-sr {sr}: must be 1000 or more")


def flat(options: Any) -> dict[str, Any]:
    """A dataclass as option name -> value, with the fields of nested dataclasses on the same level."""
    values: dict[str, Any] = {}
    for name, value in vars(options).items():
        values |= flat(value) if dataclasses.is_dataclass(value) else {name: value}
    return values


def assemble(kind: type[OptionsT], values: Mapping[str, Any]) -> OptionsT:
    """The inverse of ``flat``; options missing in ``values`` keep their defaults.

    Raises:
        TypeError: ``values`` has a name that is no option.
    """
    arguments = dict(values)
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(part := field.default_factory):
            own = [inner.name for inner in dataclasses.fields(part) if inner.name in arguments]
            arguments[field.name] = part(**{name: arguments.pop(name) for name in own})
    return kind(**arguments)


def types(kind: type) -> dict[str, Any]:
    """Option name -> its type with all annotations, with the fields of nested dataclasses on the same level."""
    hints, found = get_type_hints(kind, include_extras=True), {}
    for field in dataclasses.fields(kind):
        part = field.default_factory
        found |= types(part) if dataclasses.is_dataclass(part) else {field.name: hints[field.name]}
    return found


def parse(
    options: type[OptionsT],
    recipes: Mapping[str, Mapping[str, Any]],
    *,
    models: Mapping[str, Mapping[str, Any]] | None = None,
) -> OptionsT:
    """Parse the command line: flags override the recipe's options, which override those of --model and the defaults.

    Args:
        recipes: recipe -> the options that it changes.
        models: model -> the options that it changes, for commands that have --model.

    Raises:
        UserError: an unknown recipe, a recipe file that cannot be used, or an impossible value.
    """
    flags = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    flags.add_argument("--recipe", nargs="?", default=options.recipe)
    flags.add_argument("--model", nargs="?", default=None)
    chosen = flags.parse_known_args()[0]
    start, of_file = chosen.recipe or "", {}
    if is_recipe_file(start):
        known = types(options)
        start, of_file = read_recipe(Path(start), {name: known[name] for name in known if name != "recipe"}, recipes)
    if start not in recipes:
        names = ", ".join(recipes)
        raise UserError(f"--recipe {chosen.recipe}: unknown recipe; choose one of {names}, or a file FILE.toml")
    model = chosen.model or of_file.get("model", getattr(options, "model", None))
    differences = (models or {}).get(model, {}) | recipes[start] | of_file
    default = assemble(options, differences | {"recipe": chosen.recipe})
    parsed = tyro.cli(options, default=default, config=(tyro.conf.OmitArgPrefixes,))
    if is_recipe_file(parsed.recipe):
        parsed.recipe = Path(parsed.recipe).name  # its options are recorded, not where it lies
    try:
        parsed.check()
    except UserError as error:
        if of_file:
            raise UserError(f"{error} (some options come from --recipe {chosen.recipe})") from error
        raise
    return parsed
