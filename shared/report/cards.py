"""What the model cards of classifiers and generators share: the template environment and its filters."""

import json
from pathlib import Path
from typing import Any

from shared.report.numbers import number, percent

OLDER = "its metrics.json was written by an older version; train it again (--overwrite) to see its figures"


def show(value: float, share: bool = True) -> str:
    """Format a figure: a share in per cent with one decimal, anything else with three decimals."""
    return percent(value) if share else f"{value:.3f}"


def code(name: str) -> str:
    """A name as a Markdown code span."""
    return "`" + name.replace("`", "'").replace("\n", " ") + "`"


def cell(name: str) -> str:
    """A code span for a table cell: an unescaped bar would end the cell."""
    return code(name).replace("|", "\\|")


def render_card(template: str, package_dir: Path, **values: Any) -> str:
    """Fill the Jinja template ``package_dir / template``; a value that is missing raises an error.

    The filters are ``show`` (figures), ``code`` and ``cell`` (names) and ``yaml`` (text in the front matter);
    ``number`` and ``percent`` are functions.
    """
    import jinja2  # imported here: --help does not wait for it

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(package_dir),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"code": code, "cell": cell, "show": show, "yaml": json.dumps}  # JSON is valid YAML
    environment.globals |= {"number": number, "percent": percent}
    return environment.get_template(template).render(values)
