"""The classification options and their recipes: a recipe names only what it changes."""

import dataclasses
from typing import Annotated, Any, Literal

import tyro

from classification.models.architecture import Architecture
from shared.data.splits import GroupBy, SplitKind
from shared.errors import UserError
from shared.features.augment import Augment
from shared.features.spec import preset
from shared.runs.options import CommonOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimiser:
    """Adam, its learning rate over the epochs, and when training stops."""

    learning_rate: float = 1e-3
    """Adam's initial step size, or the highest of a schedule."""
    weight_decay: float = 0.0
    """Decoupled (AdamW); 0 is Adam."""
    schedule: Literal["plateau", "cosine"] = "plateau"
    """plateau lowers the rate and stops when val_loss stalls; cosine warms up, then falls to 0 over all epochs."""
    warmup: float = 0.1
    """Share of the steps a cosine schedule warms up."""
    plateau_factor: float = 0.5
    """Learning rate multiplier when val_loss stalls."""
    plateau_patience: int = 4
    """Epochs without a better val_loss before that."""
    min_learning_rate: float = 1e-6
    """The learning rate falls no lower."""
    stop_patience: int = 10
    """Epochs without a better val_loss before training stops."""


@dataclasses.dataclass(kw_only=True)
class TrainOptions(CommonOptions):
    """Train a classifier on labelled sounds and evaluate it on recordings it was not trained on."""

    epochs: int | None = 40
    """Passes over the training clips; None is 8, and more where clips are shorter than --crop or fewer than 1000."""
    recipe: str = "strong"
    """Named set of defaults: strong (the best found), plain (the classic CNN), flatten, digits; flags override it."""
    framework: Literal["keras", "torch"] = "keras"
    """Which of the twins trains: the same data, architecture and schedule."""
    features: str = "classifier"
    """Spectrograms (a preset of shared/features/spec.py): classifier, strong or torchaudio."""

    duration: float | None = None
    """Seconds taken of each clip; None is 4, or less where the clips are shorter (their 95th percentile)."""

    split: Annotated[SplitKind, tyro.conf.arg(aliases=["--protocol"])] = "auto"
    """grouped keeps a recording's clips on one side; official takes the data's own folds or test set; auto is official
    where there is one, else grouped; random leaks recordings and prints by how much that overstates accuracy."""
    group_by: GroupBy = "name"
    """What counts as one recording: the file's name, or similarity of the sounds where names tell nothing."""
    folds: int = 1
    """Folds of a cross-validation; 1 is one split by the shares below."""
    seeds: int = 1
    """Trainings a fold, with the seeds that follow --seed; the folds stay the same."""
    val_share: float = 0.2
    """Share of the training clips' recordings that selects the checkpoint; 0 takes the last epoch's."""
    test_share: float = 0.2
    """Share used for neither training nor selection, whose figures are reported; 0 trains on them too."""
    together: bool = False
    """Average test clips that sound like one recording, if training clips that sound alike share a class."""
    refit: bool = False
    """After the figures are taken, train once more on every clip; that model is kept and predicts."""
    submission_name: str = "submission.csv"
    """File name of the competition's predictions, in the run folder."""
    export: tuple[Literal["onnx", "tflite", "tflite-int8", "safetensors"], ...] = ()
    """Other formats the finished model is written in."""

    architecture: Architecture = dataclasses.field(default_factory=Architecture)
    augment: Augment = dataclasses.field(default_factory=Augment)
    balance: Literal["none", "class-weights", "recordings"] = "none"
    """Unequal data: weigh the loss by class, or draw classes, and recordings within a class, equally often."""
    optimiser: Optimiser = dataclasses.field(default_factory=Optimiser)

    def check(self) -> None:
        super().check()
        if len(preset(self.features, flag="--features").shape) != 2:
            raise UserError(f"--features {self.features}: no picture of bands and frames; take classifier or strong")
        counts = ("plateau_patience", "stop_patience", "folds", "seeds", "members", "kernel")
        self.require("1 or more", lambda v: v >= 1, *counts)
        self.require("above 0", lambda v: v is None or v > 0, "learning_rate", "crop")
        self.require("at least 0.5", lambda v: v is None or v >= 0.5, "duration")
        self.require("at least 0 and below 1", lambda v: 0 <= v < 1, "dropout", "plateau_factor", "warmup")
        self.require("0 or more", lambda v: v >= 0, "mixup", "mixstyle", "weight_decay")
        self.require("one or more numbers of 1 or more", lambda v: v and min(v) >= 1, "widths")
        if self.optimiser.schedule == "plateau" and self.val_share == 0:
            raise UserError("--val-share 0: --schedule plateau needs validation clips; give some, or --schedule cosine")
        crop = self.augment.crop
        if self.architecture.pooling == "flatten" and crop is not None:
            raise UserError(f"--crop {crop}: --pooling flatten needs clips of one length; use mean or mean+max")


RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "flatten": {"features": "torchaudio", "widths": (16, 32, 64, 128), "pooling": "flatten", "epochs": 30},
    "digits": {
        "features": "amplitude",
        "widths": (5, 10),
        "kernel": 5,
        "pooling": "flatten",
        "dense": (1000,),
        "epochs": 30,
    },
    "strong": {
        "features": "strong",
        "widths": (16, 32, 64, 128),
        "members": 5,
        "pooling": "mean+max",
        "dropout": 0.5,
        "centre": True,
        "standardise": True,
        "schedule": "cosine",
        "epochs": None,
        "learning_rate": 2e-3,
        "weight_decay": 0.05,
        "crop": 2.0,
        "time_shift": True,
        "mixup": 0.3,
        "mixstyle": 0.3,
        "balance": "recordings",
        "val_share": 0.0,
        "together": True,
        "refit": True,
    },
}
