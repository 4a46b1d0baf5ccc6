"""The objective of the VAE (Kingma & Welling 2014) and, with labels, of the conditional VAE (Sohn et al. 2015)."""

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from generation.objectives.trained import Parts, Trained
from generation.recipes import VaeOptions
from generation.registry import load_nets
from generation.scaling import Scaler
from shared.features.batches import Batches
from shared.features.spec import FeatureSpec
from shared.runs.ranks import Share


def build(options: VaeOptions, spec: FeatureSpec, n_classes: int, batches: Batches, accelerator: Accelerator) -> Parts:
    """The parts of the VAE on waveforms or spectrograms."""
    scaler = Scaler.of("dataset", batches)
    objective = VaeObjective(
        *make_nets(options, spec, n_classes),
        scaler,
        accelerator,
        learning_rate=options.learning_rate,
        kl_weight=options.kl_weight,
    )
    details = {
        "network": options.model,
        "encoder/parameters": sum(p.numel() for p in objective.encoder.parameters()),
    }
    return Parts(objective, accelerator.unwrap_model(objective.decoder), scaler, details=details)


def make_nets(options: VaeOptions, spec: FeatureSpec, n_classes: int) -> tuple[nn.Module, nn.Module]:
    """The encoder and the decoder of --model."""
    make_decoder, make_encoder = load_nets(options)
    if options.model == "cvae":
        how = {"n_classes": n_classes, "latent": options.latent, "shape": spec.shape}
    else:
        how = {"samples": spec.n_samples, "latent": options.latent, "pooling": options.model == "convpool"}
    return make_encoder(**how), make_decoder(**how)


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) in nats (B,), of mean and log variance (B, Z): Kingma & Welling, appendix B."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1) / 2


class VaeObjective(Trained):
    """The loss is the squared error, summed over a clip's values, plus the weighted KL divergence.

    Args:
        encoder: (x (B, ...), y (B,)) -> mean (B, Z), log variance (B, Z).
        decoder: (z (B, Z), y (B,)) -> (B, ...), a reconstruction of the encoder's input.
        scaler: scales features to the networks' range and back.
        kl_weight: weight of the KL divergence.
    """

    parts = ("encoder", "decoder", "adam")

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        scaler: Scaler,
        accelerator: Accelerator,
        *,
        learning_rate: float = 1e-4,
        kl_weight: float = 1.0,
    ) -> None:
        super().__init__(accelerator, [encoder, decoder], lr=learning_rate)
        self.scaler, self.kl_weight = scaler, kl_weight

    def step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """One update on features x (B, ...) of ordinals y (B,)."""
        noise, share = torch.randn(len(x), self._part("decoder").latent, device=x.device), Share(len(x))
        x, y, noise = share(self.scaler.forward(x), y, noise)
        mean, log_variance = (h.float() for h in self.encoder(x, y))
        z = mean + (log_variance / 2).exp() * noise
        mse = (self.decoder(z, y).float() - x).square().flatten(1).sum(dim=1).mean()
        kl = kl_divergence(mean, log_variance).mean()
        loss = mse + self.kl_weight * kl
        self.update(self.adam, loss, share)
        return {"train/loss": loss, "train/mse": mse, "train/kl": kl}

    @torch.no_grad()
    def encode(self, x: Tensor, y: Tensor) -> Tensor:
        """Features x (B, ...) of ordinals y (B,) -> the means of their posteriors (B, Z)."""
        self.encoder.eval()
        mean, _ = self.encoder(self.scaler.forward(x), y)
        self.encoder.train()
        return mean.float()

    @torch.no_grad()
    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        """Points z (B, Z) and ordinals y (B,) -> features (B, ...)."""
        self.decoder.eval()
        x = self.scaler.inverse(self.decoder(z, y).float())
        self.decoder.train()
        return x
