"""The cGAN's parts: shapes, scaling and its inverse, training steps, exact resumption, sampling."""

import dataclasses
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from generation.models import gan2d, linear_gan
from generation.models.gan2d import Discriminator, Generator
from generation.models.layers import TransposedConvolution
from generation.objectives.gan import GanObjective, masks
from generation.recipes import CganOptions
from generation.registry import KINDS
from generation.sampling import Sampler, generate_audio, save_and_play
from generation.scaling import Scaler
from generation.training import choose_precision
from generation.vocoders.vocoder import make_vocoder
from shared.errors import UserError
from shared.features.batches import Batches
from shared.features.cache import FeatureCache
from shared.features.spec import PRESETS
from shared.features.transforms import TRANSFORMS
from shared.runs.loop import fit, make_accelerator
from shared.runs.run import Run, describe

SPEC = dataclasses.replace(PRESETS["cgan"], n_mels=32, duration=1.0, frames=96)  # smaller, but with as many layers
CONFIG = describe({"epochs": 3}, {"root": "d", "clips": 8, "fingerprint": "f"})


@pytest.fixture(scope="module")
def batches(sounds: Path) -> Batches:
    features = FeatureCache(SPEC).build(sorted(sounds.glob("train/train/*/*"))[::5], progress=False).features
    return Batches(features, [i % 2 for i in range(len(features))], batch_size=4, seed=0, shuffle=True)


def objective(scaler: Scaler, precision: str = "float32", **how: object) -> GanObjective:
    torch.manual_seed(0)
    nets = Generator(2, shape=SPEC.shape), Discriminator(2, shape=SPEC.shape)
    return GanObjective(*nets, scaler, make_accelerator("cpu", precision), **how)


@pytest.mark.parametrize("shape", [(128, 512), (64, 96), (16, 16)])
@pytest.mark.parametrize("n_classes", [1, 5, 50])
def test_outputs_have_the_right_shape(shape: tuple[int, int], n_classes: int) -> None:
    y = torch.arange(3) % n_classes
    x = Generator(n_classes, latent=7, shape=shape)(torch.randn(3, 7), y)
    assert x.shape == (3, 1, *shape) and x.abs().max() <= 1
    for spectral_norm in (False, True):
        assert Discriminator(n_classes, shape=shape, spectral_norm=spectral_norm)(x, y).shape == (3,)


def test_the_networks_have_the_documented_layers() -> None:
    generator, discriminator = Generator(5), Discriminator(5)
    assert generator.project.weight.shape == (256 * 8 * 32, 105)
    convolutions = [m for m in generator.layers if isinstance(m, torch.nn.ConvTranspose2d)]
    assert [(m.in_channels, m.out_channels) for m in convolutions] == [(256, 128), (128, 64), (64, 32), (32, 1)]
    convolutions = [m for m in discriminator.layers if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [32, 64, 128, 256, 1]
    assert convolutions[-1].kernel_size == (8, 32)
    norms = [i for i, m in enumerate(discriminator.layers) if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 3 and norms[0] == 3  # from the second convolution onwards


@pytest.mark.parametrize("training", [True, False])
def test_a_transposed_convolution_has_the_results_of_torch(training: bool) -> None:
    torch.manual_seed(0)
    own, usual = TransposedConvolution(3, 5, 4, 2, 1).train(training), nn.ConvTranspose2d(3, 5, 4, 2, 1)
    usual.load_state_dict(own.state_dict())
    x, weights = torch.randn(2, 3, 6, 8), torch.randn(2, 5, 12, 16)
    outputs, gradients = [], []
    for layer in (own, usual):
        entering = x.clone().requires_grad_()
        outputs.append(layer(entering))
        (outputs[-1] * weights).sum().backward()
        gradients.append([entering.grad, layer.weight.grad, layer.bias.grad])
    torch.testing.assert_close(*outputs)
    torch.testing.assert_close(*gradients)


def test_a_shape_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(UserError, match=r"\(128, 345\).*divisible by 16"):
        Generator(5, shape=(128, 345))


def test_spectral_norm_bounds_the_layers() -> None:
    net = Discriminator(5, spectral_norm=True).train()
    x = torch.randn(2, 1, 128, 512)
    for _ in range(30):  # until the power iteration converges
        net(x, torch.tensor([0, 1]))
    for layer in net.layers:
        if isinstance(layer, torch.nn.Conv2d):
            assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2) < 1.1


@pytest.mark.parametrize("how", ["dataset", "clip", "bands", "none"])
def test_the_inverse_undoes_the_scaling(how: str, batches: Batches) -> None:
    scaler = Scaler.of(how, batches)
    S = torch.from_numpy(batches.get(0, 0)[0])
    x = scaler.forward(S)
    if how in ("dataset", "clip"):
        assert x.min() >= -1 - 1e-5 and x.max() <= 1 + 1e-5
    if how == "bands":
        every = torch.cat([scaler.forward(torch.from_numpy(x)) for x, _ in batches()])
        torch.testing.assert_close(every.mean((0, 2)), torch.zeros(len(S[0])), atol=1e-3, rtol=0)
        torch.testing.assert_close(every.std((0, 2)), torch.ones(len(S[0])), atol=1e-2, rtol=0)
    if how != "clip":  # "clip" loses the level
        torch.testing.assert_close(scaler.inverse(x), S, atol=1e-5, rtol=1e-5)
    assert torch.isfinite(scaler.forward(torch.zeros_like(S))).all()


@pytest.mark.parametrize("features", ["cgan", "amplitude"])
def test_a_band_and_some_frames_of_each_clip_are_silent(features: str) -> None:
    options = CganOptions(features=features)
    silence, x = (
        TRANSFORMS[options.spec.kind](np.zeros(options.spec.n_samples, "f4"), options.spec),
        np.full((4, 128, 512), 0.5, "f4"),
    )
    seen, _ = masks(options, options.spec)(x, np.zeros(4), np.random.default_rng(1))
    masked = seen != x
    assert (seen[masked] == silence.max()).all() and silence.max() == silence.min()
    bands, frames = masked.all(axis=2).sum(axis=1), masked.all(axis=1).sum(axis=1)
    assert 0 < bands.max() <= 15 and 0 < frames.max() <= 35
    assert len({tuple(row) for row in masked.all(axis=2)}) > 1  # clips have different bands
    assert masks(CganOptions(masking=False), options.spec) is None


def test_a_relu_is_refused_for_features_with_negative_values(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--features amplitude --output relu"):
        CganOptions(data_dir=tmp_path, features="amplitude").check()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_moves_both_nets(precision: str, batches: Batches) -> None:
    gan = objective(Scaler.of("dataset", batches), precision)
    generator = {name: value.clone() for name, value in gan.generator.state_dict().items()}
    discriminator = {name: value.clone() for name, value in gan.discriminator.state_dict().items()}
    metrics = gan.step(*map(torch.from_numpy, batches.get(0, 0)))
    assert all(torch.isfinite(value) for value in metrics.values())
    for net, old in ((gan.generator, generator), (gan.discriminator, discriminator)):
        assert all(not torch.equal(value, old[name]) for name, value in net.named_parameters())
        assert all(value.requires_grad for value in net.parameters())


def test_short_sounds_are_computed_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    for pays, frames, chosen in ((True, 12, "float32"), (True, 512, "bfloat16"), (False, 512, "float32")):
        monkeypatch.setattr("generation.training.bfloat16_pays", lambda device, pays=pays: pays)
        assert choose_precision(CganOptions(), "auto", frames) == chosen
        assert choose_precision(CganOptions(precision="bfloat16"), "auto", frames) == "bfloat16"
        assert choose_precision(CganOptions(), KINDS["wgan-gp"].auto_precision, frames) == "float32"


def test_the_discriminator_learns(batches: Batches) -> None:
    """It separates real from fake within a few steps if the generator is fixed."""
    gan = objective(Scaler.of("dataset", batches))
    gan.adam_g.step = lambda *a, **k: None
    for i in range(6):
        metrics = gan.step(*map(torch.from_numpy, batches.get(i, 0)))
    assert metrics["real/probability"] > metrics["fake/probability"] + 0.3


def test_a_killed_run_resumes_to_the_same_losses(tmp_path: Path, batches: Batches) -> None:
    """Weights, optimisers and random numbers are restored; sampling between epochs changes nothing."""
    scaler, device = Scaler.of("dataset", batches), torch.device("cpu")

    def trained(folder: str, *stops: int, listen: bool) -> list[dict[str, float]]:
        for epochs in stops:
            gan, run = objective(scaler), Run(tmp_path / folder, CONFIG)
            sampler = Sampler(gan.generator, scaler, make_vocoder("griffin-lim", SPEC, iterations=2), ["a", "b"])

            def sample(epoch: int, sampler: Sampler = sampler) -> None:
                sampler.vocoder(sampler.arrays(["a", "b"], seed=epoch))
                torch.rand(5)

            fit(gan, batches, run, epochs=epochs, device=device, on_epoch=sample if listen else None)
            run.close()
        return [{k: v for k, v in line.items() if "time" not in k} for line in run.history()]

    whole, killed = trained("whole", 3, listen=False), trained("killed", 1, 2, 3, listen=True)
    assert len(whole) == 3 and whole == killed


def test_samples_depend_only_on_label_and_seed(tmp_path: Path, batches: Batches) -> None:
    scaler = Scaler.of("dataset", batches)
    sampler = Sampler(Generator(2, shape=SPEC.shape), scaler, make_vocoder("griffin-lim", SPEC), ["dog", "siren"])
    sampler.save(tmp_path)
    y, sr = generate_audio(tmp_path, "siren", count=2, seed=3, iterations=4)
    again, _ = generate_audio(tmp_path, "siren", count=2, seed=3, iterations=4)
    other, _ = generate_audio(tmp_path, "dog", count=2, seed=3, iterations=4)
    assert y.shape == (2, SPEC.n_samples) and sr == 22050 and np.isfinite(y).all()
    assert (y == again).all() and not np.allclose(y, other) and not np.allclose(y[0], y[1])
    with pytest.raises(UserError, match=r"--label cat.*dog, siren"):
        generate_audio(tmp_path, "cat")
    with pytest.raises(UserError, match="no trained generator"):
        generate_audio(tmp_path / "nothing", "dog")
    assert save_and_play(y[0], sr, tmp_path / "s.wav") is not None and (tmp_path / "s.wav").is_file()


@pytest.mark.parametrize("level", [-1.0, -0.9, 0.4])  # the first is silence
@pytest.mark.parametrize(("net", "shape"), [(gan2d, (64, 48)), (linear_gan, (129, 40))])
def test_a_generator_begins_at_the_level_of_the_data(net: ModuleType, shape: tuple[int, int], level: float) -> None:
    torch.manual_seed(0)
    generator = net.Generator(1, latent=16, shape=shape)
    gan2d.initialise_level(generator, level)
    x = generator(torch.randn(8, 16), torch.zeros(8, dtype=torch.long))
    assert x.mean().item() == pytest.approx(level, abs=0.25)
