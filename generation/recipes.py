"""The cGAN's options and their recipes: a recipe names only what it changes."""

import dataclasses
from typing import Any, Literal

from shared.cli import CommonOptions


@dataclasses.dataclass(kw_only=True)
class CganOptions(CommonOptions):
    """Train a conditional GAN on log-mel spectrograms of labelled sounds; listen to it after every epoch."""

    epochs: int = 100
    """Passes over the clips; a finished run goes on when this grows."""
    batch_size: int = 16
    """Clips a step."""
    latent: int = 100
    """Dimensions of the noise."""
    learning_rate: float = 2e-4
    """Of both Adams (betas 0.5, 0.999)."""
    spectral_norm: bool = False
    """Normalise the discriminator's weights by their largest singular value."""
    scaling: Literal["dataset", "clip", "none"] = "dataset"
    """Reals to [-1, 1] by the data's extremes, by each clip's own, or as they are."""
    masking: bool = True
    """Mask a random band of frequencies and of frames of each real clip with silence."""
    frequency_mask: int = 15
    """Widest frequency mask, in mel bands."""
    time_mask: int = 35
    """Widest time mask, in frames."""
    sample_every: int = 1
    """Epochs between wavs and figures."""
    griffin_lim_iterations: int = 64
    """Phase iterations of the vocoder for those wavs."""

    def check(self) -> None:
        super().check()
        self.require("1 or more", lambda value: value >= 1, "latent", "sample_every", "griffin_lim_iterations")
        self.require("0 or more", lambda value: value >= 0, "frequency_mask", "time_mask")
        self.require("above 0", lambda value: value > 0, "learning_rate")


RECIPES: dict[str, dict[str, Any]] = {"plain": {}}
