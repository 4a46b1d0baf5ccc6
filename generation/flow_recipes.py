"""The options of generation/train_flow.py and their recipes."""

import dataclasses
from typing import Any, Literal

from generation.recipes import GeneratorOptions
from shared.errors import UserError
from shared.features.spec import FeatureSpec


@dataclasses.dataclass(kw_only=True)
class FlowOptions(GeneratorOptions):
    """Train conditional flow matching on log-mel spectrograms of labelled sounds."""

    net: Literal["flow"] = "flow"
    """flow: a transformer between convolutions on small patches of the spectrogram."""
    features: str = "flow"
    """Preset of the features to generate: flow (80 log-mels), or another of log-mels scaled ln."""
    epochs: int = 200
    batch_size: int = 32
    learning_rate: float = 1e-3
    sample_every: int = 25
    width: int = 256
    """Width of the transformer."""
    depth: int = 4
    """Blocks of the transformer."""
    heads: int = 4
    """Attention heads of a block."""
    dropout: float = 0.2
    """Share of the channels of each block's output that are dropped for a clip."""
    average: float = 0.999
    """Decay, per step, of the moving average of the weights, which makes the sounds."""
    label_dropout: float = 0.15
    """Share of the clips whose class is hidden in training; guidance needs some."""
    overfit: float = 0.05
    """With --holdout-share, stop when the loss on held-out clips has risen by this share above its lowest value."""
    balance: float | None = 0.5
    time_shift: bool = True
    """Rotate every clip in time by a random number of frames."""
    gain: float = 6.0
    """Change a clip's level by at most this many dB either way."""
    equalise: float = 7.0
    """Add a smooth random curve of this many dB (root mean square) to a steady clip's spectrum; clips that vary in time
    get less."""
    blend: float = 1.0
    """Draw a steady clip's mean spectrum from the distribution of its class: 0 keeps its own, 1 replaces it; clips that
    vary in time keep more."""
    steps: int = 32
    """Steps from noise to a spectrogram."""
    guidance: float = 1.5
    """Classifier-free guidance: more makes sounds more typical of their class and less varied; 1 is none."""

    def check(self) -> None:
        super().check()
        self.require("1 or more", lambda v: v >= 1, "width", "depth", "heads", "steps", "guidance")
        self.require("at least 0 and below 1", lambda v: 0 <= v < 1, "dropout", "average", "label_dropout")
        self.require("0 or more", lambda v: v >= 0, "gain", "equalise", "overfit")
        self.require("between 0 and 1", lambda v: 0 <= v <= 1, "blend")
        if self.width % (2 * self.heads):
            raise UserError(f"--width {self.width}: must be a multiple of 2 x --heads {self.heads}")
        if self.spec.kind != "log_mel" or self.spec.scaling != "ln":
            raise UserError(f"--features {self.features}: this model makes log-mels scaled ln; use flow")

    @property
    def spec(self) -> FeatureSpec:
        """With --segment-seconds, as many frames as the duration has, down to a multiple of 4."""
        spec = super().spec
        return dataclasses.replace(spec, frames=max(8, spec.clip_frames // 4 * 4))


FLOW_RECIPES: dict[str, dict[str, Any]] = {"plain": {}}
