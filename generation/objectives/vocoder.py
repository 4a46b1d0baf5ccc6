"""The neural vocoder's objective: spectral losses first, later discriminators with feature matching, too."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F

from generation.models.vocos import fixed_noise
from generation.objectives.spectral import multi_resolution_stft
from generation.objectives.trained import Trained, follow
from generation.stft import LogMel

MEL_WEIGHT, STFT_WEIGHT, FEATURE_WEIGHT = 15.0, 5.0, 2.0  # the adversarial loss has weight 1
DECAY = 0.999  # of the average of the generator's weights
WIDEST = 3.0, 1.0  # standard deviations of the blur: frames, bands
REACH = 6  # frames or bands to either side that a blur takes in
LOUDEST_NOISE = 0.3  # standard deviation of the noise in mels, in nats
BATCH = 4  # held-out clips that pass through the generator together


def blur(S: Tensor, width: Tensor, *, dim: int) -> Tensor:
    """Smooth S (B, M, T) along ``dim`` by Gaussians of standard deviations ``width`` (B,), in bands or frames."""
    offsets = torch.arange(-REACH, REACH + 1, device=S.device)
    kernels = torch.softmax(-0.5 * (offsets / width[:, None].clamp(min=1e-3)) ** 2, dim=1)  # (B, 2 REACH + 1)
    pad = (REACH, REACH, 0, 0) if dim == 2 else (0, 0, REACH, REACH)
    windows = F.pad(S[:, None], pad, mode="replicate")[:, 0].unfold(dim, 2 * REACH + 1, 1)
    return (windows * kernels[:, None, None]).sum(-1)


def degrade(S: Tensor, *, share: float) -> Tensor:
    """Blur and noise ``share`` of the mels S (B, M, T), because a generator's mels are smoother than real ones.

    Each chosen clip gets its own widths of the blur and its own level of the noise.
    """
    chosen, frames, bands, level = torch.rand(4, len(S), device=S.device)
    chosen = (chosen < share).float()
    S = blur(blur(S, WIDEST[0] * frames * chosen, dim=2), WIDEST[1] * bands * chosen, dim=1)
    return S + (LOUDEST_NOISE * level * chosen)[:, None, None] * torch.randn_like(S)


class VocoderObjective(Trained):
    """Every step updates the generator; from an epoch on, first the discriminator.

    Args:
        generator: (mels (B, M, T), noise (B, C, T), length) -> waveforms (B, length); ``noise`` is C.
        discriminator: waveforms -> lists of logits and of hidden maps.
        mel: waveforms -> mels.
        adversarial_from: epoch, counted from 0, from which the discriminator takes part; None leaves it out.
        degraded: share of the clips whose mels are blurred and noised.
        heldout: waveforms (n, N) of held-out clips, on whose undamaged mels each epoch is evaluated.

    Attributes:
        average: the generator with the moving average of its weights, which is the one to use.
    """

    parts = ("generator", "discriminator", "adam_g", "adam_d")

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        mel: LogMel,
        accelerator: Accelerator,
        *,
        learning_rate: float = 5e-4,
        adversarial_from: int | None = None,
        degraded: float = 0.5,
        heldout: Tensor | None = None,
    ) -> None:
        self.average = copy.deepcopy(generator).to(accelerator.device).requires_grad_(False).eval()
        super().__init__(accelerator, [generator], [discriminator], lr=learning_rate, betas=(0.8, 0.9))
        self.mel, self.noise, self.heldout = mel.to(accelerator.device), generator.noise, heldout
        self.adversarial_from, self.degraded, self.epoch = adversarial_from, degraded, 0
        self.steps = 0

    def step(self, x: Tensor, _: Tensor) -> dict[str, Tensor]:
        """One update on waveforms x (B, N); there are no labels."""
        with torch.no_grad():
            target = self.mel(x)
            S = degrade(target, share=self.degraded)
        noise = torch.randn(len(x), self.noise, S.shape[-1], device=x.device)
        fake = self.generator(S, noise, length=x.shape[-1])
        log_mel, distance = F.l1_loss(self.mel(fake), target), multi_resolution_stft(fake, x)
        loss, metrics = MEL_WEIGHT * log_mel + STFT_WEIGHT * distance, {}
        if self.adversarial_from is not None and self.epoch >= self.adversarial_from:
            metrics = self.discriminate(x, fake)
            loss = loss + metrics["generator/adversarial"] + FEATURE_WEIGHT * metrics["generator/features"]
        self.update(self.adam_g, loss)
        self.steps += 1
        follow(self.average, self._part("generator"), decay=DECAY, steps=self.steps)
        return {"train/log_mel": log_mel, "train/stft": distance} | metrics

    def discriminate(self, x: Tensor, fake: Tensor) -> dict[str, Tensor]:
        """One update of the discriminator; then the generator's adversarial and feature matching losses (B, N)."""
        real_logits, _ = self.discriminator(x)
        fake_logits, _ = self.discriminator(fake.detach())
        pairs = list(zip(real_logits, fake_logits, strict=True))
        d_loss = sum(F.relu(1 - real).mean() + F.relu(1 + made).mean() for real, made in pairs) / len(pairs)
        self.update(self.adam_d, d_loss)

        self.discriminator.requires_grad_(False)  # the generator's update needs no gradients of these weights
        with torch.no_grad():
            _, real_maps = self.discriminator(x)
        fake_logits, fake_maps = self.discriminator(fake)
        self.discriminator.requires_grad_(True)
        maps = [pair for real, made in zip(real_maps, fake_maps, strict=True) for pair in zip(real, made, strict=True)]
        return {
            "generator/adversarial": sum(F.relu(1 - made).mean() for made in fake_logits) / len(fake_logits),
            "generator/features": sum(F.l1_loss(made.float(), real.float()) for real, made in maps) / len(maps),
            "discriminator/loss": d_loss,
        }

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> dict[str, float]:
        """Evaluate the averaged generator on the held-out clips."""
        self.epoch = epoch + 1
        if self.heldout is None:
            return {}
        log_mel, distance = 0.0, 0.0
        for part in self.heldout.split(BATCH):
            x = part.to(self.accelerator.device)
            S = self.mel(x)
            y = self.restore(S, length=x.shape[-1])
            log_mel += float((self.mel(y) - S).abs().mean()) * len(x)
            distance += float(multi_resolution_stft(y, x)) * len(x)
        return {"heldout/log_mel": log_mel / len(self.heldout), "heldout/stft": distance / len(self.heldout)}

    @torch.no_grad()
    def restore(self, S: Tensor, *, length: int) -> Tensor:
        """Mels S (B, M, T) -> waveforms (B, length) by the averaged generator, always with the same noise."""
        return self.average(S, fixed_noise(self.noise, S), length=length)

    def state_dict(self) -> dict[str, Any]:
        progress = {"epoch": self.epoch, "steps": self.steps}
        return super().state_dict() | {"average": self.average.state_dict()} | progress

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.average.load_state_dict(state["average"])
        self.epoch, self.steps = state["epoch"], state["steps"]
