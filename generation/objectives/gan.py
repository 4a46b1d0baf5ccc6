"""The conditional GAN's objective: non-saturating BCE, discriminator then generator (Goodfellow 2014; Mirza 2014)."""

from collections.abc import Mapping

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn import functional as F

from generation.objectives.trained import Trained
from generation.scaling import Scaler
from generation.vocoders.torchaudio_compat import FrequencyMasking, TimeMasking


class GanObjective(Trained):
    """Args:
    generator: (z (B, Z), y (B,)) -> (B, 1, M, T); has ``latent``.
    discriminator: (x (B, 1, M, T), y (B,)) -> logits (B,).
    scaler: the reals' way into the generator's range.
    masks: widest frequency mask in bands and widest time mask in frames, or None for none.
    """

    parts = ("generator", "discriminator", "adam_g", "adam_d")

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        scaler: Scaler,
        accelerator: Accelerator,
        *,
        learning_rate: float = 2e-4,
        weight_decay: float = 0.0,
        masks: tuple[int, int] | None = None,
    ) -> None:
        def adam(net: nn.Module) -> torch.optim.Optimizer:
            return torch.optim.Adam(
                net.parameters(), lr=learning_rate, betas=(0.5, 0.999), weight_decay=weight_decay, fused=True
            )

        generator, discriminator = (
            net.to(accelerator.device, memory_format=torch.channels_last) for net in (generator, discriminator)
        )
        self.generator, self.discriminator, self.adam_g, self.adam_d = accelerator.prepare(
            generator, discriminator, adam(generator), adam(discriminator)
        )
        self.latent, self.scaler, self.accelerator = generator.latent, scaler, accelerator
        frequency, time = masks or (0, 0)
        self.masking = nn.Sequential(FrequencyMasking(frequency, iid_masks=True), TimeMasking(time, iid_masks=True))

    def step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """One update of the discriminator on log-mels x (B, M, T) and fakes, then one of the generator."""
        real = self.scaler.forward(self.masking(x[:, None])[:, 0])[:, None]  # masked with 0, which is silence
        z = torch.randn(len(x), self.latent, device=x.device)
        fake = self.generator(z, y)

        real_logits, fake_logits = self.discriminator(real, y), self.discriminator(fake.detach(), y)
        d_loss = _bce(real_logits, 1.0) + _bce(fake_logits, 0.0)
        self.adam_d.zero_grad()
        self.accelerator.backward(d_loss)
        self.adam_d.step()

        self.discriminator.requires_grad_(False)  # its gradients for the generator's loss would be thrown away
        g_loss = _bce(self.discriminator(fake, y), 1.0)
        self.discriminator.requires_grad_(True)
        self.adam_g.zero_grad()
        self.accelerator.backward(g_loss)
        self.adam_g.step()
        return {
            "discriminator/loss": d_loss,
            "generator/loss": g_loss,
            "real/probability": real_logits.float().sigmoid().mean(),
            "fake/probability": fake_logits.float().sigmoid().mean(),
        }

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> dict[str, float]:
        return {}


def _bce(logits: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits.float(), torch.full_like(logits, target, dtype=torch.float32))
