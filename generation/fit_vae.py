"""The parts of the VAEs put together, and what is written to hear them by."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from generation.models import cond_vae, wave_vae
from generation.objectives.vae import VaeObjective
from generation.recipes import VaeOptions
from generation.sampling import Sampler
from generation.scaling import Scaler
from generation.training import choose_precision, make_batches, open_vocoder, train
from shared.audio import write_wav
from shared.features.batches import Batches
from shared.features.spec import FeatureSpec
from shared.report.plots import plot_mosaic
from shared.runs.loop import make_accelerator
from shared.runs.run import Run
from shared.runs.start import Clips

PAIRS = 2  # of clips that are reconstructed and interpolated between
STEPS = 5  # sounds from one clip of a pair to the other, both included
COLUMNS = 10  # samples a label in the grid


def make_nets(model: str, spec: FeatureSpec, n_classes: int, latent: int) -> tuple[nn.Module, nn.Module]:
    """The encoder and the decoder of that --model."""
    if model == "cvae":
        nets = cond_vae.Encoder, cond_vae.Decoder
        return tuple(net(n_classes, latent=latent, shape=spec.shape) for net in nets)
    nets = wave_vae.Encoder, wave_vae.Decoder
    return tuple(net(samples=spec.n_samples, latent=latent, pooling=model == "convpool") for net in nets)


def fit(clips: Clips, options: VaeOptions, run: Run) -> None:
    """Train, or go on training, to ``options.epochs``."""
    torch.manual_seed(options.seed)
    spec, n_classes = clips.features.spec, len(clips.classes)
    precision = choose_precision(options.precision, spec.shape[-1])
    accelerator = make_accelerator(options.device, precision)
    vocoder = open_vocoder(options, spec, accelerator.device)
    batches = make_batches(clips, options)
    scaler = Scaler.of("dataset", batches)
    objective = VaeObjective(
        *make_nets(options.model, spec, n_classes, options.latent),
        scaler,
        accelerator,
        learning_rate=options.learning_rate,
        kl_weight=options.kl_weight,
    )
    sampler = Sampler(accelerator.unwrap_model(objective.decoder), scaler, vocoder, clips.classes)

    def extra(epoch: int) -> None:
        write_reconstructions(objective, sampler, batches, run)
        if options.model == "cvae":
            write_grid(sampler, run, epoch, seed=options.seed)

    details = {
        "network": options.model,
        "precision": precision,
        "skipped": len(clips.rejects),
        "encoder/parameters": sum(p.numel() for p in objective.encoder.parameters()),
    }
    train(
        objective, sampler, batches, options, run, model="vae", device=accelerator.device, extra=extra, details=details
    )


def choose_pairs(labels: np.ndarray) -> list[tuple[int, int]]:
    """Clips to hear, by their place among ordinals (N,): pairs of one class, from both ends of its clips."""
    pairs = []
    for i in range(PAIRS):
        members = np.flatnonzero(labels == i % (labels.max() + 1))
        pairs.append((int(members[i % len(members)]), int(members[-1 - i % len(members)])))
    return pairs


def write_reconstructions(objective: VaeObjective, sampler: Sampler, batches: Batches, run: Run) -> None:
    """reconstructions/<clip>_{original,reconstruction}.wav, and interpolations/<clip>_<clip>_<step>.wav.

    An original goes through the vocoder too, so that what is heard is the autoencoder alone. Interpolations are
    straight lines between the means of two posteriors, under the label both share.
    """
    device = next(sampler.generator.parameters()).device

    def write(folder: str, names: Iterable[str], S: torch.Tensor) -> None:
        for name, y in zip(names, sampler.vocoder(S).cpu().numpy(), strict=True):
            write_wav(run.dir / folder / f"{name}.wav", y, sampler.vocoder.spec.sr)

    weights = torch.linspace(0, 1, STEPS, device=device)[:, None]
    for pair in choose_pairs(batches.labels):
        x = torch.from_numpy(batches.features[list(pair)]).to(device)
        y = torch.from_numpy(batches.labels[list(pair)]).to(device)
        a, b = objective.encode(x, y).unsqueeze(1)
        path = objective.decode(torch.lerp(a, b, weights), y[:1].expand(STEPS))
        write("reconstructions", [f"{clip}_original" for clip in pair], x)
        write("reconstructions", [f"{clip}_reconstruction" for clip in pair], path[[0, -1]])
        write("interpolations", [f"{pair[0]}_{pair[1]}_{step}" for step in range(STEPS)], path)


def write_grid(sampler: Sampler, run: Run, epoch: int, *, seed: int) -> None:
    """vae_spectrogram_plots/grid_<epoch>.png: ten samples of every label."""
    labels = [label for label in sampler.classes for _ in range(COLUMNS)]
    S = sampler.arrays(labels, seed=seed).cpu().numpy().reshape(-1, COLUMNS, *sampler.vocoder.spec.shape)
    plot_mosaic(
        run.dir / "vae_spectrogram_plots" / f"grid_{epoch:03d}.png",
        dict(zip(sampler.classes, S, strict=True)),
        sampler.vocoder.spec,
        title=f"{COLUMNS} samples a label after epoch {epoch}",
    )
