"""The parts of the conditional WGAN-GP, put together by experiment."""

import numpy as np
import torch
from torch import Tensor, nn

from generation.models import wgan_gp
from generation.objectives.wgan_gp import WganGpObjective
from generation.recipes import EXPERIMENTS, WganOptions
from generation.sampling import Sampler
from generation.scaling import Scaler
from generation.training import make_batches, open_vocoder, train
from shared.features.batches import Batches
from shared.features.spec import FeatureSpec
from shared.runs.loop import make_accelerator
from shared.runs.run import Run
from shared.runs.start import Clips

NETS = {  # generator, critic and the width of the critic's first layer
    "dense": (wgan_gp.DenseGenerator, wgan_gp.DenseCritic, 512),
    "conv": (wgan_gp.ConvGenerator, wgan_gp.ConvCritic, 16),
}
UNSCALED = Scaler("none", -1.0, 1.0)  # the features are in [-1, 1] already
PHASES = 32  # images a class to sample with, at most


def fit(clips: Clips, options: WganOptions, run: Run) -> None:
    """Train, or go on training, to ``options.epochs``."""
    torch.manual_seed(options.seed)
    spec = clips.features.spec
    accelerator = make_accelerator(options.device, "float32")
    vocoder = open_vocoder(options, spec, accelerator.device)
    batches = make_batches(clips, options)
    objective = WganGpObjective(
        *make_nets(options, spec, len(clips.classes)),
        accelerator,
        learning_rate=options.learning_rate,
        critic_steps=options.critic_steps,
        penalty=options.penalty,
    )
    given = EXPERIMENTS[options.experiment].phase != "none"
    phases = draw_phases(batches, len(clips.classes), seed=options.seed) if given else None
    sampler = Sampler(accelerator.unwrap_model(objective.generator), UNSCALED, vocoder, clips.classes, phases)
    details = {"experiment": options.experiment, "precision": "float32", "skipped": len(clips.rejects)}
    train(objective, sampler, batches, options, run, model="gan", device=accelerator.device, details=details)


def make_nets(options: WganOptions, spec: FeatureSpec, n_classes: int) -> tuple[nn.Module, nn.Module]:
    """The generator and the critic of an experiment, for images (F, T) as ``spec`` says."""
    experiment = EXPERIMENTS[options.experiment]
    make_generator, make_critic, width = NETS[options.net]
    image = {"shape": spec.shape[-2:], "channels": experiment.channels}
    generator = make_generator(n_classes, latent=options.latent, phase=experiment.phase, **image)
    critic = make_critic(
        n_classes,
        phase=experiment.phase != "none",
        width=width * experiment.widening,
        dropout=options.dropout,
        **image,
    )
    return generator, critic


def draw_phases(batches: Batches, n_classes: int, *, seed: int) -> Tensor:
    """Real phase images by class (K, n, F, T), n at most 32; of a class with fewer clips, some more than once."""
    rng = np.random.default_rng(seed)
    n = min(PHASES, int(np.bincount(batches.labels).max()))
    rows = [np.resize(rng.permutation(np.flatnonzero(batches.labels == k)), n) for k in range(n_classes)]
    return torch.from_numpy(np.stack([batches.features[drawn][:, 1] for drawn in rows]))
