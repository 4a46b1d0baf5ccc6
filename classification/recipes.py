"""The classification options and their recipes: a recipe names only what it changes."""

import dataclasses
from typing import Any, Literal

from shared.cli import CommonOptions
from shared.datasets import SplitKind


@dataclasses.dataclass(kw_only=True)
class TrainOptions(CommonOptions):
    """Train a classifier on labelled sounds and judge it on recordings it has never heard."""

    framework: Literal["keras", "torch"] = "keras"
    """Which of the twins trains: the same data, architecture and schedule."""
    split: SplitKind = "grouped"
    """grouped keeps a recording's clips on one side; random leaks them and flatters the figures."""
    val_share: float = 0.2
    """Share of the clips that selects the checkpoint."""
    test_share: float = 0.2
    """Share used for neither training nor selection, whose figures are reported; 0 trains on them too."""
    dropout: float = 0.3
    """Share of the dense layer's activations dropped while training."""
    learning_rate: float = 1e-3
    """Adam's initial step size."""
    plateau_factor: float = 0.5
    """Learning rate multiplier when val_loss stalls."""
    plateau_patience: int = 4
    """Epochs without a better val_loss before that."""
    min_learning_rate: float = 1e-6
    """The learning rate falls no lower."""
    stop_patience: int = 10
    """Epochs without a better val_loss before training stops."""

    def check(self) -> None:
        super().check()
        self.require("1 or more", lambda value: value >= 1, "plateau_patience", "stop_patience")
        self.require("above 0", lambda value: value > 0, "learning_rate")
        self.require("at least 0 and below 1", lambda value: 0 <= value < 1, "dropout", "plateau_factor")


RECIPES: dict[str, dict[str, Any]] = {"plain": {}}
