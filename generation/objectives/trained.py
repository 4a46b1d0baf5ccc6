"""What the objectives of all generators share: their checkpoints, and the parts that a training needs of them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn

from generation.scaling import Scaler
from shared.features.batches import Augmentation


class Trained:
    """Saves and restores the attributes named in ``parts``, networks without what accelerate wrapped them in."""

    parts: tuple[str, ...]
    accelerator: Accelerator
    finished = False  # a generator has no validation loss to stop by

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> dict[str, float]:
        return {}

    def _part(self, name: str) -> Any:
        part = getattr(self, name)
        return self.accelerator.unwrap_model(part) if isinstance(part, nn.Module) else part

    def state_dict(self) -> dict[str, Any]:
        return {name: self._part(name).state_dict() for name in self.parts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name in self.parts:
            self._part(name).load_state_dict(state[name])


@dataclasses.dataclass(frozen=True)
class Parts:
    """What an objective's ``build`` returns to generation/training.py.

    Attributes:
        generator: the network that makes new features; see ``sampling.Sampler``, as for ``scaler`` and ``phases``.
        augment: what is done to the real clips of a batch.
        details: more for metrics.json.
    """

    objective: Trained
    generator: nn.Module
    scaler: Scaler
    phases: Tensor | None = None
    augment: Augmentation | None = None
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
