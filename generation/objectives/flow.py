"""The objective of conditional flow matching: estimate the clean spectrogram at random times (Lipman et al. 2023)."""

import copy
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from generation.flow_recipes import FlowOptions
from generation.models.flow_net import FlowNet, Generator
from generation.objectives.statistics import drawn_shares, statistics
from generation.objectives.trained import Parts, Trained, follow
from generation.objectives.variations import Variations
from generation.registry import load_nets
from generation.scaling import Scaler
from shared.features.batches import Batches
from shared.features.spec import FeatureSpec
from shared.runs import ranks

LONGEST = 0.3  # norm of a step's gradient: without a limit, one step in some thousands throws the training back
CENTRE, SPREAD = -1.2, 1.5  # of the logit of the times trained on: what tells classes apart is decided early


def build(options: FlowOptions, spec: FeatureSpec, n_classes: int, batches: Batches, accelerator: Accelerator) -> Parts:
    """The parts of the flow model."""
    scaler = Scaler.of("bands", batches)
    size = {name: getattr(options, name) for name in ("width", "depth", "heads", "dropout")}
    generator = load_nets(options)[0](
        n_classes, shape=spec.shape, steps=options.steps, guidance=options.guidance, **size
    )
    x, shares = np.concatenate(list(batches.each_clip())), drawn_shares(batches, n_classes)
    changes = {name: getattr(options, name) for name in ("gain", "equalise", "blend", "time_shift")}
    augment = Variations(silence=spec.silence, **changes).fit(x, shares[:-1])
    changed, _ = augment(x, batches.labels, np.random.default_rng(batches.seed))
    generator.net.gaussian.set(*statistics(scaler.forward(torch.from_numpy(changed)), torch.from_numpy(shares)))
    objective = FlowObjective(
        generator.to(accelerator.device),
        scaler,
        accelerator,
        learning_rate=options.learning_rate,
        average=options.average,
        label_dropout=options.label_dropout,
        tolerance=options.overfit,
    )
    return Parts(objective, generator, scaler, augment=augment)


def draw_times(count: int, random: torch.Generator | None = None) -> Tensor:
    """Logit-normal times (B,), one in each of B equally probable intervals, so that batches differ less."""
    u = (torch.randperm(count, generator=random) + torch.rand(count, generator=random)) / count
    return (CENTRE + SPREAD * torch.special.ndtri(u.clamp(1e-4, 1 - 1e-4))).sigmoid()


class FlowObjective(Trained):
    """The squared error of the estimate, divided by that of the linear estimate: 1 means that nothing was learned.

    Args:
        generator: its ``net``, which is sampled, becomes the moving average of the network that is trained.
        average: decay of the moving average, shorter during the first steps.
        label_dropout: share of the clips whose class is hidden, which guidance needs.
        tolerance: stop when the loss on the held-out clips has risen by this share above its lowest value.
    """

    parts = ("net", "adam")

    def __init__(
        self,
        generator: Generator,
        scaler: Scaler,
        accelerator: Accelerator,
        *,
        learning_rate: float = 6e-4,
        average: float = 0.999,
        label_dropout: float = 0.15,
        tolerance: float = 0.05,
        warm_up: int = 100,
    ) -> None:
        super().__init__(accelerator, [copy.deepcopy(generator.net)], lr=learning_rate)
        self.average, self.scaler = generator.net.requires_grad_(False).eval(), scaler
        self.learning_rate, self.warm_up = learning_rate, warm_up
        self.decay, self.label_dropout, self.tolerance = average, label_dropout, tolerance
        self.steps, self.lowest, self.latest = 0, math.inf, math.inf

    def step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """One update on features x (B, M, T) of ordinals y (B,)."""
        self.adam.param_groups[0]["lr"] = self.learning_rate * min(1.0, (self.steps + 1) / self.warm_up)
        t = draw_times(len(x)).to(x.device)
        hidden = torch.rand(len(y), device=y.device) < self.label_dropout
        y = torch.where(hidden, self.average.n_classes, y)
        share = ranks.Share(len(x))
        rows = share(self.scaler.forward(x), t, y, torch.randn_like(x))
        with share.own_draws():
            loss = self.losses(self.net, *rows).mean()
        self.update(self.adam, loss, share, longest=LONGEST)
        self.steps += 1
        follow(self.average, self._part("net"), decay=self.decay, steps=self.steps)
        return {"train/loss": loss}

    def losses(self, net: FlowNet, x: Tensor, t: Tensor, y: Tensor, noise: Tensor) -> Tensor:
        """The weighted squared errors (B,) of clean x (B, M, T) at times t (B,) with this noise (B, M, T)."""
        at = t[:, None, None]
        error = (net(at * x + (1 - at) * noise, t, y) - x).square().mean(dim=(1, 2))
        return error / self.average.gaussian.remaining(at, y)[:, 0, 0].square()

    @property
    def stop_reason(self) -> str:
        if self.latest <= (1 + self.tolerance) * self.lowest:
            return ""
        return f"the loss on held-out clips rose from {self.lowest:.3f} to {self.latest:.3f}: it learns clips by heart"

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> dict[str, float]:
        if self.held_out is None:
            return {}
        self.latest = self.held_out_loss()
        self.lowest = min(self.lowest, self.latest)
        return {"val/loss": self.latest}

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """The average network's loss on the held-out clips, with the same times and noise in every epoch."""
        random, device = torch.Generator().manual_seed(0), self.accelerator.device
        total = 0.0
        for step, (features, labels) in enumerate(self.held_out()):
            x, y = self.scaler.forward(torch.from_numpy(features)).to(device), torch.from_numpy(labels).to(device)
            t, noise = draw_times(len(x), random), torch.randn(x.shape, generator=random)
            if ranks.own_turn(step):
                with self.accelerator.autocast():
                    total += self.losses(self.average, x, t.to(device), y, noise.to(device)).sum().item()
        return ranks.total([total])[0] / self.held_out.clips

    def state_dict(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("steps", "lowest", "latest")}
        return super().state_dict() | own | {"average": self.average.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.average.load_state_dict(state["average"])
        self.steps, self.lowest, self.latest = (state[name] for name in ("steps", "lowest", "latest"))
