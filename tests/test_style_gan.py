"""The strong cGAN's parts: networks, losses, gradient penalties, augmentation, the averaged generator, resumption."""

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from generation.models.style_gan import Discriminator, Generator
from generation.objectives.adversarial import LOSSES, as_logits, augment, mean_loss, squared_gradient
from generation.objectives.gan import GanObjective
from generation.objectives.statistics import statistics
from generation.recipes import CGAN_RECIPES, CganOptions
from generation.sampling import Sampler
from generation.scaling import Scaler
from generation.vocoders.vocoder import make_vocoder
from shared.errors import UserError
from shared.features.spec import PRESETS
from shared.runs.loop import make_accelerator

SPEC = dataclasses.replace(PRESETS["flow"], n_mels=16, duration=0.5, frames=40)
SCALER = Scaler("bands", SPEC.silence, 5.0, (-4.0,) * 16, (2.0,) * 16)
Y = torch.tensor([0, 1, 0, 1])


def nets() -> tuple[Generator, Discriminator]:
    torch.manual_seed(0)
    return Generator(2, latent=8, shape=SPEC.shape, width=4), Discriminator(2, shape=SPEC.shape, width=4)


def strong(precision: str = "float32") -> GanObjective:
    options = CganOptions(**CGAN_RECIPES["strong"])
    how = {name: getattr(options, name) for name in ("loss", "penalty", "momentum", "average")}
    return GanObjective(*nets(), SCALER, make_accelerator("cpu", precision), penalty_every=2, augment=augment, **how)


def features() -> torch.Tensor:
    return torch.randn(4, *SPEC.shape, generator=torch.Generator().manual_seed(1)) * 2 - 4


def test_a_sound_depends_on_its_noise_alone() -> None:
    generator, _ = nets()
    nn.init.normal_(generator.layers[1].weight, std=0.1)
    z = torch.randn(4, generator.latent)
    assert generator.latent == 8 + 16 * 40 * (1 + 1 / 4 + 1 / 16 + 1 / 64)
    x = generator(z, Y)
    assert x.shape == (4, 1, *SPEC.shape) and torch.equal(x, generator(z, Y))
    style, texture = z.clone(), z.clone()
    style[:, :8], texture[:, 8:] = torch.randn(4, 8), torch.randn(4, generator.latent - 8)
    for changed in (generator(style, Y), generator(texture, Y), generator(z, 1 - Y)):
        assert not torch.equal(changed, x)
    with pytest.raises(UserError, match="divisible by 8"):
        Generator(2, shape=(16, 44))


def test_an_untrained_generator_makes_noise_of_its_class() -> None:
    """Mean and variance of each band, and the change from frame to frame, are those of the class's clips."""
    noise = torch.randn(400, *SPEC.shape, generator=torch.Generator().manual_seed(2))
    slow = sum(noise.roll(shift, dims=2) for shift in range(4))
    clips = torch.cat([slow[:200] / 2, slow[200:] / 2.5 + 0.5])
    shares = torch.zeros(3, 400)
    shares[0, :200], shares[1, 200:], shares[2] = 1 / 200, 1 / 200, 1 / 400
    generator, _ = nets()
    generator.gaussian.set(*statistics(clips, shares))
    with torch.no_grad():
        made = generator(torch.randn(400, generator.latent), torch.arange(400) // 200)[:, 0]
    for real, fake in zip(clips.split(200), made.split(200), strict=True):
        assert (real.mean((0, 2)) - fake.mean((0, 2))).abs().max() < 0.15
        for amount in (torch.Tensor.var, lambda x: x.diff(dim=2).square().mean()):
            assert amount(fake).item() == pytest.approx(amount(real).item(), rel=0.25)


@pytest.mark.parametrize("spectral_norm", [False, True])
def test_patches_of_three_sizes_are_scored(spectral_norm: bool) -> None:
    discriminator = Discriminator(2, shape=SPEC.shape, width=4, spectral_norm=spectral_norm)
    maps = discriminator(torch.randn(4, 1, *SPEC.shape), Y)
    assert [logits.shape for logits in maps] == [(4, 4 * 10), (4, 2 * 5), (4, 1 * 3)]


@pytest.mark.parametrize("name", LOSSES)
def test_the_losses_fall_as_each_network_does_better(name: str) -> None:
    of_discriminator, of_generator = LOSSES[name]
    real = as_logits(torch.full((4,), 0.5))

    def losses(logit: float) -> tuple[float, float]:
        fake = as_logits(torch.full((4,), logit))
        return mean_loss(of_discriminator, real, fake).item(), mean_loss(of_generator, real, fake).item()

    (fooled, fooling), (caught, failing) = losses(0.5), losses(-0.5)
    assert caught < fooled and fooling < failing


def test_the_penalty_is_the_squared_gradient_of_each_patch() -> None:
    x = torch.randn(3, 1, 4, 6)
    slope = torch.randn(1, 4, 6)
    whole = squared_gradient(lambda x: (x * slope).sum((1, 2, 3)), x)
    assert whole.item() == pytest.approx(slope.square().sum().item(), rel=1e-5)
    patches = squared_gradient(lambda x: 3 * x.flatten(1), x)  # each value is a patch
    assert patches.item() == pytest.approx(9.0, rel=1e-5)


def test_augmentation_rotates_cuts_out_and_amplifies() -> None:
    x = torch.randn(4, 1, 16, 40, requires_grad=True)
    torch.testing.assert_close(augment(x, shift=0, cutout=0, gain=0), x)
    rotated = augment(x, cutout=0, gain=0)
    torch.testing.assert_close(rotated.sort(dim=3).values, x.sort(dim=3).values)
    assert not torch.equal(rotated, x)
    louder = (augment(x, shift=0, cutout=0) - x).flatten(1)
    torch.testing.assert_close(louder, louder[:, :1].expand_as(louder))
    seen = augment(x + 1e-3)
    holes = (seen == 0).flatten(1).sum(1)
    assert (holes > 0).all() and (holes <= 5 * 11).all()
    seen.sum().backward()
    assert 0 < x.grad.mean() < 1  # hidden values get no gradient


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_moves_both_nets_and_the_average(precision: str) -> None:
    gan = strong(precision)
    before = {name: net.state_dict() for name, net in (("g", gan.generator), ("d", gan.discriminator))}
    before = {name: {k: v.clone() for k, v in state.items()} for name, state in before.items()}
    for _ in range(3):
        metrics = gan.step(features(), Y)
        assert all(torch.isfinite(value) for value in metrics.values())
    for name, net in (("g", gan.generator), ("d", gan.discriminator)):
        still = [key for key, value in net.named_parameters() if torch.equal(value, before[name][key])]
        assert all(key.endswith("every.bias") for key in still)  # differences of logits do not depend on it
    assert gan.sampled is not gan.generator and type(gan.sampled) is Generator
    trained = dict(gan.generator.named_parameters())
    for key, value in gan.sampled.named_parameters():
        assert not torch.equal(value, trained[key]) and torch.isfinite(value).all()


def test_a_resumed_training_continues_exactly() -> None:
    def losses(gan: GanObjective) -> list[float]:
        torch.manual_seed(5)
        return [float(value.detach()) for _ in range(2) for value in gan.step(features(), Y).values()]

    gan, other = strong(), strong()
    gan.step(features(), Y)
    other.load_state_dict(copy.deepcopy(gan.state_dict()))
    assert losses(gan) == losses(other)
    pairs = zip(gan.sampled.parameters(), other.sampled.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_the_averaged_generator_is_sampled_saved_and_loaded(tmp_path: Path) -> None:
    gan = strong()
    gan.step(features(), Y)
    sampler = Sampler(gan.sampled, SCALER, make_vocoder("griffin-lim", SPEC, iterations=1), ["dog", "siren"])
    sampler.save(tmp_path)
    S = sampler.arrays(["dog", "siren"], seed=3)
    loaded = Sampler.load(tmp_path, device="cpu", iterations=1)
    assert S.shape == (2, *SPEC.shape) and torch.equal(loaded.arrays(["dog", "siren"], seed=3), S)
    assert np.isfinite(loaded.vocoder(S).numpy()).all()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"output": "relu"}, "--output relu --scaling bands"),
        ({"average": 1.0}, "--average 1.0"),
        ({"width": 0}, "--width 0"),
        ({"penalty": -1.0}, "--penalty -1.0"),
        ({"net": "linear"}, "--net linear"),
    ],
)
def test_impossible_changes_of_the_recipe_are_refused(changes: dict, named: str, tmp_path: Path) -> None:
    CganOptions(**CGAN_RECIPES["strong"], data_dir=tmp_path).check()
    with pytest.raises(UserError, match=named):
        CganOptions(**CGAN_RECIPES["strong"] | changes, data_dir=tmp_path).check()
