"""The options of classification training and the recipes; a recipe lists only the options it changes.

The type of an option may say which values ``frequency-quest tune`` tries (shared/search.py).
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import Suppress

from classification.models.architecture import Architecture
from shared.data.splits import GroupBy, SplitKind
from shared.errors import UserError
from shared.features.augment import Augment
from shared.features.spec import preset
from shared.runs.options import CommonOptions, check_backbone
from shared.search import Between, OneOf

Balance = Literal["none", "class-weights", "recordings"]
FormatName = Literal["onnx", "tflite", "onnx-spectrogram", "tflite-spectrogram", "tflite-int8", "safetensors"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimiser:
    """Adam, its learning rate over the epochs, and when training stops."""

    learning_rate: Annotated[float, Between(2e-4, 1e-2, log=True)] = 1e-3
    """Adam's initial learning rate; with the cosine schedule, the highest."""
    weight_decay: Annotated[float, Between(0.0, 0.2)] = 0.0
    """Decoupled weight decay (AdamW); 0 gives plain Adam."""
    weight_decays: tuple[float, ...] = ()
    """Weight decays to try on inner folds of the training recordings, to use the best; none: use --weight-decay."""
    schedule: Literal["plateau", "cosine"] = "plateau"
    """plateau lowers the rate and stops when val_loss stalls; cosine warms up, then falls to 0 over all epochs."""
    warmup: float = 0.1
    """Share of the steps in which a cosine schedule warms up."""
    plateau_factor: float = 0.5
    """Learning rate multiplier when val_loss stalls."""
    plateau_patience: int = 4
    """Epochs without a better val_loss before the learning rate is lowered."""
    min_learning_rate: float = 1e-6
    """Lowest learning rate of the plateau schedule."""
    stop_patience: int = 10
    """Epochs without a better val_loss before training stops."""


@dataclasses.dataclass(kw_only=True)
class TrainOptions(CommonOptions):
    """Train a classifier on labelled sounds and evaluate it on recordings it was not trained on."""

    epochs: int | None = 40
    """Passes over the training clips; None is 8, or more if clips are shorter than --crop or fewer than 1000."""
    recipe: str = "strong"
    """Named set of defaults: strong (the best found), plain (the classic CNN), flatten, digits, transfer (a head on the
    embeddings of --backbone-path), blend (strong and transfer), or a file FILE.toml of options (docs/recipes.md); flags
    override it."""
    framework: Literal["keras", "torch"] = "keras"
    """Framework to train with; both use the same data, architecture and schedule."""
    devices: int = 1
    """GPUs of this machine, or with --device cpu logical CPUs, among which Keras divides each batch."""
    features: str = "classifier"
    """Spectrogram preset of shared/features/spec.py, such as classifier, strong or torchaudio; or embedding."""
    backbone_path: Path | None = None
    """Model whose embeddings of the clips are used, .onnx or .tflite (docs/backbones.md); for --recipe transfer or
    blend."""
    backbone_sr: int | None = None
    """Sampling rate in Hz of the waveform that --backbone-path takes."""
    blend: bool = False
    """Train a head on the embeddings of --backbone-path, too, and multiply both models' probabilities; inner folds give
    the weights."""

    duration: float | None = None
    """Seconds used of each clip; None means the clips' 95th percentile, at most 4."""

    split: Annotated[SplitKind, tyro.conf.arg(aliases=["--protocol"])] = "auto"
    """grouped: all clips of a recording on the same side; official: the data's own folds or test set; auto: official
    if there is one, else grouped; random: clip by clip, which LEAKS and prints by how much it overstates accuracy."""
    group_by: GroupBy = "name"
    """How recordings are found: from the file names, or by similarity of the sounds if names do not show them."""
    folds: int = 1
    """Folds of a cross-validation; 1 makes a single split with the shares below."""
    seeds: int = 1
    """Trainings of each fold, with consecutive seeds from --seed on; all seeds use the same folds."""
    val_share: float = 0.2
    """Share of the recordings used to select the checkpoint; 0 keeps the last epoch's weights."""
    test_share: float = 0.2
    """Share of the recordings held out for the reported figures; 0 holds none out."""
    together: bool = False
    """Average test clips that sound like one recording, if training clips that sound alike share a class."""
    refit: bool = False
    """After the evaluation, train once more on all clips and keep that model."""
    submission_name: str = "submission.csv"
    """File name of the competition submission in the run folder."""
    export: tuple[FormatName, ...] = ()
    """Further formats to write the finished model in."""

    architecture: Architecture = dataclasses.field(default_factory=Architecture)
    augment: Augment = dataclasses.field(default_factory=Augment)
    balance: Annotated[Balance, OneOf(("none", "class-weights", "recordings"))] = "none"
    """For unequal classes: weigh the loss by class, or draw classes, and recordings of a class, equally often."""
    optimiser: Optimiser = dataclasses.field(default_factory=Optimiser)

    def check(self) -> None:
        super().check()
        if self.features == "embedding":
            self._check_embedding()
        elif not self.blend and (self.backbone_path is not None or self.backbone_sr is not None):
            remedy = f"is for --recipe transfer or blend, not {self.recipe}"
            raise UserError(f"--backbone-path {self.backbone_path}: {remedy}")
        elif len(preset(self.features, flag="--features").shape) != 2:
            raise UserError(f"--features {self.features}: has no bands and frames; use classifier or strong")
        else:
            self.require("one or more numbers of 1 or more", lambda v: v and min(v) >= 1, "widths")
        if self.blend:
            self._check_blend()
        counts = ("devices", "plateau_patience", "stop_patience", "folds", "seeds", "members", "kernel")
        self.require("1 or more", lambda v: v >= 1, *counts)
        self.require("above 0", lambda v: v is None or v > 0, "learning_rate", "crop")
        self.require("at least 0.5", lambda v: v is None or v >= 0.5, "duration")
        self.require("at least 0 and below 1", lambda v: 0 <= v < 1, "dropout", "plateau_factor", "warmup")
        self.require("0 or more", lambda v: v >= 0, "mixup", "mixstyle", "weight_decay")
        self.require("numbers of 0 or more", lambda v: min(v, default=0) >= 0, "weight_decays")
        if self.optimiser.schedule == "plateau" and self.val_share == 0:
            raise UserError(
                "--val-share 0: --schedule plateau needs validation clips; raise it, or use --schedule cosine"
            )
        if self.optimiser.schedule == "plateau" and self.optimiser.weight_decays:
            raise UserError("--weight-decays: inner folds have no validation clips for --schedule plateau; use cosine")
        if self.devices > 1 and self.framework == "torch":
            remedy = f"for PyTorch use accelerate launch --multi_gpu --num_processes {self.devices}"
            raise UserError(f"--devices {self.devices}: is for --framework keras; {remedy}")
        if self.batch_size % self.devices:
            raise UserError(f"--batch-size {self.batch_size}: must be a multiple of --devices {self.devices}")
        crop = self.augment.crop
        if self.architecture.pooling == "flatten" and crop is not None:
            raise UserError(f"--crop {crop}: --pooling flatten needs clips of one length; use mean or mean+max")

    def _check_embedding(self) -> None:
        """Refuse what --features embedding lacks or cannot have."""
        self._check_backbone()
        spectral = ("widths", "crop", "time_shift", "mixstyle", "centre", "together", "blend")
        self.require("left out, since embeddings have no bands and frames", lambda value: not value, *spectral)
        self.require("flatten, since embeddings have no bands and frames", lambda v: v == "flatten", "pooling")
        self.require("name, since similarity needs spectrograms", lambda v: v == "name", "group_by")

    def _check_blend(self) -> None:
        """Refuse what --blend lacks or cannot have."""
        self._check_backbone()
        if self.optimiser.schedule == "plateau":
            raise UserError("--blend: inner folds have no validation clips for --schedule plateau; use cosine")

    def _check_backbone(self) -> None:
        if self.backbone_path is None:
            raise UserError("--backbone-path: is missing; embeddings need a model (docs/backbones.md)")
        check_backbone(self.backbone_path, self.backbone_sr)
        self.require("left out, since no export contains the backbone", lambda value: not value, "export")


@dataclasses.dataclass(kw_only=True)
class SeveralOptions(TrainOptions):
    """The options of commands that plan several trainings; what these choose themselves, or never use, is hidden."""

    folds: Suppress[int] = 1
    together: Suppress[bool] = False
    refit: Suppress[bool] = False
    submission_name: Suppress[str] = "submission.csv"
    export: Suppress[tuple[FormatName, ...]] = ()


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
    "transfer": {
        "features": "embedding",
        "widths": (),
        "pooling": "flatten",
        "dense": (),
        "standardise": True,
        "schedule": "cosine",
        "weight_decays": (1.0, 10.0, 100.0),
        "epochs": None,
        "balance": "recordings",
        "val_share": 0.0,
        "refit": True,
    },
}
RECIPES["blend"] = RECIPES["strong"] | {"blend": True}
