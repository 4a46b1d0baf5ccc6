"""The command-line options of cas and augmentation: those of a classifier's training, and the generated sounds."""

import dataclasses
from pathlib import Path

from tyro.conf import Suppress

from classification.recipes import SeveralOptions
from shared.data.splits import GroupBy, SplitKind
from shared.errors import UserError


@dataclasses.dataclass(kw_only=True)
class GeneratedOptions(SeveralOptions):
    """Train classifiers on generated sounds."""

    samples: tuple[Path, ...] = ()
    """Folder of sounds from generate; several folders, of generators with other held-out recordings, count as folds."""
    data_dir: Path | None = None
    """Folder of real sounds; None takes the one that the generator was trained on."""
    out_dir: Path | None = None
    """Folder of the trainings and of the JSON file; None chooses one below runs/."""
    val_share: float = 0.2
    """Share of the training clips' recordings used to select the checkpoint; 0 keeps the last epoch's weights."""
    # set by the generator's split
    split: Suppress[SplitKind] = "auto"
    group_by: Suppress[GroupBy] = "name"
    test_share: Suppress[float] = 0.2

    def check(self) -> None:
        super().check()
        if not self.samples:
            raise UserError("--samples is missing: give a folder of sounds that generation/sample.py made")


@dataclasses.dataclass(kw_only=True)
class CasOptions(GeneratedOptions):
    """Classification accuracy score: train a classifier on generated sounds only and test it on held-out real ones.

    The same recipe trained on the generator's own training clips is the reference (Ravuri & Vinyals 2019).
    """


@dataclasses.dataclass(kw_only=True)
class AugmentationOptions(GeneratedOptions):
    """Augmentation value: train a classifier on real and generated sounds, and on the real ones alone.

    Both are tested on the recordings that the generator did not hear.
    """

    seeds: int = 3
    """Trainings of each kind, with consecutive seeds from --seed on."""
