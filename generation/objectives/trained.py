"""What the objectives of all generators share: optimisers, checkpoints, and the parts that a training needs."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from generation.scaling import Scaler
from shared.features.batches import Augmentation, Batches
from shared.runs.loop import prepare
from shared.runs.ranks import Share


def follow(average: nn.Module, net: nn.Module, *, decay: float, steps: int) -> None:
    """Move the weights of ``average`` towards those of ``net``, faster during the first steps."""
    decay = min(decay, (1 + steps) / (10 + steps))
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - decay)


class Trained:
    """Keeps networks and their Adam optimisers as attributes named in ``parts``, and saves and restores them.

    Networks are saved without accelerate's wrapper.

    Args:
        groups: networks that share an Adam. ``parts`` names all networks, then the Adam of each group.
        adam: arguments of every Adam.
    """

    parts: tuple[str, ...]
    stop_reason = ""  # a generator has no validation loss that could stop it
    held_out: Batches | None = None  # clips of --holdout-share, set before training

    def __init__(self, accelerator: Accelerator, *groups: Sequence[nn.Module], **adam: Any) -> None:
        self.accelerator = accelerator
        nets = [net.to(accelerator.device) for group in groups for net in group]
        adams = [Adam([p for net in group for p in net.parameters()], fused=True, **adam) for group in groups]
        for name, part in zip(self.parts, prepare(accelerator, *nets, *adams), strict=True):
            setattr(self, name, part)

    def update(
        self, optimizer: Optimizer, loss: Tensor, share: Share | None = None, *, longest: float | None = None
    ) -> None:
        """One step of ``optimizer`` down the gradient of ``loss``, which is shortened to the norm ``longest``.

        Args:
            share: the rows that ``loss`` is the mean of, for objectives that several processes can train.
        """
        optimizer.zero_grad()
        self.accelerator.backward(loss)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if share is not None:
            share.average(parameters)
        if longest is not None:
            self.accelerator.clip_grad_norm_(parameters, longest)
        optimizer.step()

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
        generator, scaler, phases: as in ``sampling.Sampler``.
        augment: augmentation of the real clips of a batch.
        details: further entries of metrics.json.
    """

    objective: Trained
    generator: nn.Module
    scaler: Scaler
    phases: Tensor | None = None
    augment: Augmentation | None = None
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
