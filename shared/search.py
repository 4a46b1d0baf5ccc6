"""Which values of an option ``frequency-quest tune`` tries, declared in the option's type:

learning_rate: Annotated[float, Between(2e-4, 1e-2, log=True)] = 1e-3
"""

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Between:
    """Any number from ``low`` to ``high``; with ``log`` every factor is equally likely, else every number."""

    low: float
    high: float
    log: bool = False

    @property
    def examples(self) -> tuple[float, ...]:
        return self.low, self.high


@dataclasses.dataclass(frozen=True)
class OneOf:
    """One of a few values."""

    examples: tuple[Any, ...]


Space = Mapping[str, Between | OneOf]


def declared(types: Mapping[str, Any]) -> Space:
    """The options that declare what to try.

    Args:
        types: option -> its type with all annotations (shared/runs/options.py, ``types``).
    """
    notes = {name: getattr(kind, "__metadata__", ()) for name, kind in types.items()}
    return {name: note for name, all_ in notes.items() for note in all_ if isinstance(note, Between | OneOf)}
