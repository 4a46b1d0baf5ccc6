"""The Wasserstein GAN with gradient penalty (Gulrajani et al. 2017, algorithm 1), conditioned on labels and phases."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from generation.objectives.trained import Parts, Trained
from generation.recipes import EXPERIMENTS, WganOptions
from generation.registry import load_nets
from generation.scaling import Scaler
from shared.features.batches import Batches
from shared.features.spec import FeatureSpec

UNSCALED = Scaler("none", -1.0, 1.0)  # the features are in [-1, 1] already
PHASES = 32  # at most this many phase images of each class are kept for sampling


def build(options: WganOptions, spec: FeatureSpec, n_classes: int, batches: Batches, accelerator: Accelerator) -> Parts:
    """The parts of the conditional WGAN-GP of --experiment."""
    objective = WganGpObjective(
        *make_nets(options, spec, n_classes),
        accelerator,
        learning_rate=options.learning_rate,
        critic_steps=options.critic_steps,
        penalty=options.penalty,
    )
    given = EXPERIMENTS[options.experiment].phase != "none"
    phases = draw_phases(batches, n_classes, seed=options.seed) if given else None
    generator, details = accelerator.unwrap_model(objective.generator), {"experiment": options.experiment}
    return Parts(objective, generator, UNSCALED, phases, details=details)


def make_nets(options: WganOptions, spec: FeatureSpec, n_classes: int) -> tuple[nn.Module, nn.Module]:
    """The generator and the critic of --experiment and --net, for images (F, T) as ``spec`` says."""
    experiment, (make_generator, make_critic) = EXPERIMENTS[options.experiment], load_nets(options)
    image = {"shape": spec.shape[-2:], "channels": experiment.channels}
    generator = make_generator(n_classes, latent=options.latent, phase=experiment.phase, **image)
    given = experiment.phase != "none"
    critic = make_critic(n_classes, phase=given, widening=experiment.widening, dropout=options.dropout, **image)
    return generator, critic


def draw_phases(batches: Batches, n_classes: int, *, seed: int) -> Tensor:
    """Real phase images by class (K, n, F, T), n at most 32; a class with fewer clips repeats some."""
    rng = np.random.default_rng(seed)
    n = min(PHASES, int(np.bincount(batches.labels).max()))
    rows = [np.resize(rng.permutation(np.flatnonzero(batches.labels == k)), n) for k in range(n_classes)]
    return torch.from_numpy(np.stack([batches.features[drawn][:, 1] for drawn in rows]))


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """E[(|d critic / d x| - 1)^2] at points x drawn uniformly between pairs of real and fake (B, C, F, T).

    Equation 3 of Gulrajani et al. (2017), without its weight.
    """
    t = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
    x = torch.lerp(fake, real, t).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (gradient.flatten(1).norm(dim=1) - 1).square().mean()


class WganGpObjective(Trained):
    """Every step updates the critic, and every ``critic_steps``-th step also the generator.

    Args:
        generator: (z (B, Z), y (B,)) or (z, y, phase (B, 1, F, T)) -> (B, C, F, T); ``latent`` is Z and ``channels`` C.
        critic: (x (B, C, F, T), y) or (x, y, phase) -> scores (B,), higher for real.
        penalty: the gradient penalty's weight, the paper's lambda.
    """

    parts = ("generator", "critic", "adam_g", "adam_c")

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        accelerator: Accelerator,
        *,
        learning_rate: float = 2e-4,
        critic_steps: int = 5,
        penalty: float = 10.0,
    ) -> None:
        super().__init__(accelerator, [generator], [critic], lr=learning_rate, betas=(0.5, 0.999))
        self.latent, self.channels = generator.latent, generator.channels
        self.critic_steps, self.penalty = critic_steps, penalty
        self.steps, self.generator_loss = 0, 0.0  # the loss is the mean of an epoch, 0 before the first update
        self.generator_losses: list[Tensor] = []  # of this epoch's updates

    def step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """One update on images x (B, F, T), (B, C, F, T) or, with the given phase as last channel, (B, C + 1, F, T)."""
        x = x[:, None] if x.ndim == 3 else x
        real, phase = x[:, : self.channels], x[:, self.channels :]
        condition = (y, phase) if phase.shape[1] else (y,)
        metrics = self._update_critic(real, *condition)
        self.steps += 1
        if self.steps % self.critic_steps == 0:
            self.generator_losses.append(self._update_generator(*condition))
        return metrics

    def _update_critic(self, real: Tensor, *condition: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            fake = self._generate(*condition)
        both = (torch.cat([part, part]) for part in condition)
        real_scores, fake_scores = self.critic(torch.cat([real, fake]), *both).chunk(2)
        distance = real_scores.mean() - fake_scores.mean()
        penalty = gradient_penalty(lambda x: self.critic(x, *condition), real, fake)
        loss = self.penalty * penalty - distance
        self.update(self.adam_c, loss)
        return {"critic/loss": loss, "critic/penalty": penalty, "critic/distance": distance}

    def _update_generator(self, *condition: Tensor) -> Tensor:
        self.critic.requires_grad_(False)  # this update needs no gradients of the critic's weights
        loss = -self.critic(self._generate(*condition), *condition).mean()
        self.critic.requires_grad_(True)
        self.update(self.adam_g, loss)
        return loss.detach()

    def _generate(self, *condition: Tensor) -> Tensor:
        z = torch.randn(len(condition[0]), self.latent, device=condition[0].device)
        return self.generator(z, *condition)

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> dict[str, float]:
        """The generator's mean loss over its updates; an epoch without an update repeats the last one."""
        if self.generator_losses:
            self.generator_loss = float(torch.stack(self.generator_losses).mean())
            self.generator_losses = []
        return {"generator/loss": self.generator_loss}

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"steps": self.steps, "generator_loss": self.generator_loss}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.steps, self.generator_loss = state["steps"], state["generator_loss"]
