"""Compare a generator's step in bfloat16 with float32, and time the flow's sampling. tests/bench.py runs it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from speed import compare_speed, seconds
from torch import Tensor

from generation.flow_recipes import FlowOptions
from generation.models import flow_net
from generation.models.gan2d import Discriminator, Generator
from generation.objectives import flow
from generation.objectives.gan import GanObjective
from generation.scaling import Scaler
from generation.vocoders.vocoder import make_vocoder
from shared.features.batches import Batches
from shared.features.cache import FeatureCache
from shared.features.spec import PRESETS
from shared.runs.loop import bfloat16_pays, make_accelerator

CLASSES, SOUNDS, BATCH = 5, 100, 32


def gan_step(S: Tensor, precision: str) -> Callable[[], object]:
    torch.manual_seed(0)
    accelerator = make_accelerator("cpu", precision)
    scaler = Scaler("dataset", float(S.min()), float(S.max()))
    gan = GanObjective(Generator(CLASSES), Discriminator(CLASSES), scaler, accelerator)
    return lambda: gan.step(S, torch.arange(len(S)) % CLASSES)


def flow_step(paths: list[Path], precision: str) -> Callable[[], object]:
    torch.manual_seed(0)
    features = FeatureCache(PRESETS["flow"]).build(paths, progress=False).features
    batches = Batches(features, np.arange(len(features)) % CLASSES, batch_size=BATCH)
    made = flow.build(FlowOptions(), features.spec, CLASSES, batches, make_accelerator("cpu", precision))
    x, y = (torch.from_numpy(part) for part in batches.get(0, 0))
    return lambda: made.objective.step(x, y)


def bench_steps(S: Tensor, paths: list[Path], rounds: int) -> None:
    """Time steps on S (B, M, T) of the cgan preset, and on batches of the flow's preset from these files."""
    own = "bfloat16" if bfloat16_pays(torch.device("cpu")) else "float32"
    for name, clips, step in (
        (f"cGAN step on batches of {len(S)}", len(S), lambda precision: gan_step(S, precision)),
        (f"flow step on batches of {BATCH}", BATCH, lambda precision: flow_step(paths, precision)),
    ):
        title = f"{name} in {own}, compared with float32"
        compare_speed(title, step(own), step("float32"), clips=clips, rounds=rounds)


def bench_sampling() -> None:
    """Time sounds of the flow, whose speed does not depend on its weights, with the vocoder."""
    torch.manual_seed(0)
    spec = PRESETS["flow"]
    generator, vocoder = flow_net.Generator(CLASSES, shape=spec.shape).eval(), make_vocoder("griffin-lim", spec)
    z, y = torch.randn(SOUNDS, generator.latent), torch.arange(SOUNDS) % CLASSES

    @torch.no_grad()
    def sample() -> None:
        vocoder(generator(z, y)[:, 0])

    print(f"{SOUNDS} sounds of {spec.duration:g} s by the flow, vocoder included: {seconds(sample):.1f} s", flush=True)
