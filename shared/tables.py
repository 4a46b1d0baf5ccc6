"""Reads CSV tables that users or downloads bring; a table that cannot be read is a UserError."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import UserError

if TYPE_CHECKING:  # pandas takes half a second to import
    import pandas as pd


def read_table(path: Path, columns: Collection[str] = (), *, flag: str = "", **how: Any) -> pd.DataFrame:
    """A CSV with a header; every cell is text unless ``how`` says otherwise, so "007" and "NA" stay what they are.

    Args:
        columns: the columns that it must have.
        flag: the option that named the file, for the error.
        how: further arguments of pandas.read_csv.

    Raises:
        UserError: it cannot be read, is not UTF-8, is no CSV or lacks a column.
    """
    import pandas as pd

    name = f"{flag} {path}".strip()
    text = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig", "index_col": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows that are longer than the header
            table = pd.read_csv(path, **(text | how))
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    except (OSError, ValueError, pd.errors.ParserWarning) as error:  # pandas' other errors are ValueErrors
        reason = " ".join(str(error).split())
        raise UserError(f"{name}: cannot be read as CSV ({reason}); replace it by a whole copy") from error
    if missing := [column for column in columns if column not in table]:
        present = " ".join(", ".join(map(str, table)).split())[:200]  # a quoted name may have several lines
        raise UserError(f"{name}: lacks the columns {', '.join(missing)}; it has {present}")
    return table
