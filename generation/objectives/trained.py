"""What every generator's objective keeps in a checkpoint: its networks and their optimisers."""

from collections.abc import Mapping
from typing import Any

from accelerate import Accelerator
from torch import nn


class Trained:
    """Saves and restores the attributes named in ``parts``, networks without what accelerate wrapped them in."""

    parts: tuple[str, ...]
    accelerator: Accelerator
    finished = False  # a generator has no validation loss to stop by

    def _part(self, name: str) -> Any:
        part = getattr(self, name)
        return self.accelerator.unwrap_model(part) if isinstance(part, nn.Module) else part

    def state_dict(self) -> dict[str, Any]:
        return {name: self._part(name).state_dict() for name in self.parts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name in self.parts:
            self._part(name).load_state_dict(state[name])
