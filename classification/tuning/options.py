"""The options of ``frequency-quest tune``: those of a training, which are the start, and those of the study."""

import dataclasses

from tyro.conf import Suppress

from classification.recipes import SeveralOptions
from shared.errors import UserError


@dataclasses.dataclass(kw_only=True)
class TuneOptions(SeveralOptions):
    """Find better options for a recipe by cross-validation within the training recordings, and write best.toml.

    The recordings that train holds out with the same options are never seen. The options of the training are where the
    search starts: the first trial has them unchanged.
    """

    trials: int = 30
    """Sets of options to try; a larger number continues a finished study."""
    minutes: float | None = None
    """Begin no trial when the finished ones have taken this many minutes; None tries all --trials."""
    inner_folds: int = 3
    """Folds of the training recordings; each trial trains once per fold and is scored on the clips of the others."""
    search: tuple[str, ...] = ()
    """Options to search, such as learning-rate mixup; none searches all whose values the code declares. All others keep
    the values of the recipe and the command line."""
    seeds: Suppress[int] = 1  # of the final training

    def check(self) -> None:
        super().check()
        self.require("1 or more", lambda v: v >= 1, "trials")
        self.require("2 or more", lambda v: v >= 2, "inner_folds")
        self.require("above 0", lambda v: v is None or v > 0, "minutes")
        if self.blend:
            raise UserError("--blend: tune the model on spectrograms and the head (--recipe transfer) one by one")
        if self.split == "random":
            raise UserError("--split random: LEAKS, so its best options are those that leak best; use grouped or auto")
