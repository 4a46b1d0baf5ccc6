"""Recipe files: options in TOML, a line each, which ``--recipe FILE.toml`` reads and ``frequency-quest tune`` writes.

recipe = "strong"       # the recipe that it starts from; without this line, plain
learning-rate = 0.001   # any option of the command, with - or _; "None" stands for none
widths = [16, 32, 64]
"""

import contextlib
import dataclasses
import difflib
import io
import json
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import tyro

from shared.errors import UserError
from shared.files import write_text


def read_recipe(path: Path, known: Mapping[str, Any], recipes: Collection[str]) -> tuple[str, dict[str, Any]]:
    """The recipe that a file starts from, and the options that it changes.

    Args:
        known: option -> its type; values are read as on the command line.
        recipes: names that the file may start from.

    Raises:
        UserError: no such file, not TOML, an option that the command does not have, or a value of another type.
    """
    try:
        content = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise UserError(f"--recipe {path}: no such file; give a recipe file or one of {', '.join(recipes)}") from None
    except OSError as error:
        raise UserError(f"--recipe {path}: cannot be read ({error.strerror}); give a file in TOML") from error
    except ValueError as error:
        raise UserError(f"--recipe {path}: is not TOML ({error}); write a line `option = value` for each") from error
    start = content.pop("recipe", "plain")
    if start not in tuple(recipes):
        raise UserError(f"--recipe {path}: recipe = {_toml(start)}: unknown recipe; choose one of {', '.join(recipes)}")
    values: dict[str, Any] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "the command's --help lists its options"
            raise UserError(f"--recipe {path}: {key}: unknown option; {hint}")
        if name in values:
            raise UserError(f"--recipe {path}: {key}: stands there twice, with - and with _; keep one")
        try:
            values[name] = _read_as_flag(known[name], name, value)
        except ValueError:
            raise UserError(f"--recipe {path}: {key} = {_toml(value)}: wrong value; see its flag in --help") from None
    return start, values


def is_recipe_file(recipe: str) -> bool:
    return recipe.lower().endswith(".toml")


def write_recipe(path: Path, start: str, values: Mapping[str, Any], *, comment: str) -> None:
    """Write a recipe file that changes these options of the recipe ``start``. Tuples become lists, None "None"."""
    lines = [f"# {line}" for line in comment.splitlines()] + [f"recipe = {_toml(start)}"]
    lines += [f"{name.replace('_', '-')} = {_toml(value)}" for name, value in values.items()]
    write_text(path, "\n".join(lines) + "\n")


def _toml(value: Any) -> str:
    """A value in TOML, whose text, numbers, booleans and lists are written as in JSON."""
    return json.dumps("None" if value is None else value, ensure_ascii=False, default=str)


def _read_as_flag(annotation: Any, name: str, value: Any) -> Any:
    """A value as the command line would read it; TOML's type must be that of the option.

    Raises:
        ValueError: it is no value of this option.
    """
    flag = f"--{name}"
    arguments = [flag, *map(str, value)] if isinstance(value, list) else [f"{flag}={value}"]
    alone = dataclasses.make_dataclass("Alone", [(name, annotation)])
    silent = io.StringIO()
    try:
        with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
            read = getattr(tyro.cli(alone, args=arguments), name)
    except SystemExit:
        raise ValueError(value) from None
    if not _same(value, read):
        raise ValueError(value)
    return read


def _same(value: Any, read: Any) -> bool:
    """Whether TOML's value has the type of the option: text that looks like a number is no number."""
    if read is None:
        return value == "None"
    if isinstance(read, Path):
        return isinstance(value, str)
    if isinstance(read, tuple):
        return isinstance(value, list) and len(value) == len(read) and all(map(_same, value, read))
    return isinstance(value, bool) == isinstance(read, bool) and value == read
