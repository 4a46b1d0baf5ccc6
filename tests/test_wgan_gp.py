"""The conditional WGAN-GP: four experiments with two kinds of networks, penalty, ratio of updates, resumption."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from torch import nn

from generation.models.conditioning import Condition, linear
from generation.models.wgan_gp import ConvGenerator, DenseCritic, DenseGenerator
from generation.objectives.wgan_gp import UNSCALED, WganGpObjective, draw_phases, gradient_penalty, make_nets
from generation.recipes import EXPERIMENTS, WganOptions
from generation.sampling import Sampler
from generation.vocoders.vocoder import make_vocoder
from shared.errors import UserError
from shared.features.batches import Batches
from shared.features.cache import FeatureCache
from shared.features.spec import PRESETS, FeatureSpec
from shared.runs.loop import fit, make_accelerator
from shared.runs.run import Run, describe

SMALL = {"bins": 16, "frames": 16, "duration": 0.12}
SPECS = {name: dataclasses.replace(PRESETS[name], **SMALL) for name in ("amplitude", "digits")}
CONFIG = describe({"epochs": 3}, {"root": "d", "clips": 8, "fingerprint": "f"})
TRAIN, SAMPLE = "generation/train_wgan_gp.py", "generation/sample.py"
every_experiment = pytest.mark.parametrize("experiment", EXPERIMENTS)
both_nets = pytest.mark.parametrize("net", ["dense", "conv"])


@pytest.fixture(scope="module")
def features(sounds: Path) -> dict[str, Batches]:
    clips = sorted(sounds.glob("train/train/*/*"))[::5]
    made = {name: FeatureCache(spec).build(clips, progress=False).features for name, spec in SPECS.items()}
    labels = [i % 2 for i in range(len(clips))]
    return {name: Batches(x, labels, batch_size=3, seed=0, shuffle=True) for name, x in made.items()}


def spec_of(experiment: int) -> FeatureSpec:
    return SPECS[EXPERIMENTS[experiment].features]


def objective(experiment: int, *, net: str = "dense", **how: object) -> WganGpObjective:
    torch.manual_seed(0)
    nets = make_nets(WganOptions(experiment=experiment, net=net), spec_of(experiment), 2)
    return WganGpObjective(*nets, make_accelerator("cpu", "float32"), **how)


def batch(batches: Batches, step: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = batches.get(0, step)
    return torch.from_numpy(x), torch.from_numpy(y)


@both_nets
@every_experiment
@pytest.mark.parametrize("n_classes", [1, 50])
def test_outputs_have_the_right_shape(net: str, experiment: int, n_classes: int) -> None:
    options = WganOptions(experiment=experiment, net=net, latent=7)
    spec = dataclasses.replace(spec_of(experiment), frames=32)
    generator, critic = make_nets(options, spec, n_classes)
    y, phase = torch.arange(3) % n_classes, torch.rand(3, 1, 16, 32)
    condition = (y, phase) if experiment in (3, 4) else (y,)
    x = generator(torch.randn(3, 7), *condition)
    assert x.shape == (3, 2 if experiment == 2 else 1, 16, 32) and x.abs().max() <= 1
    assert critic(x, *condition).shape == (3,)
    again = type(generator)(**generator.arguments)
    assert [p.shape for p in again.parameters()] == [p.shape for p in generator.parameters()]


def test_the_networks_have_the_documented_layers() -> None:
    def widths(net: nn.Module) -> list[tuple[int, int]]:
        return [(m.in_features, m.out_features) for m in net.modules() if isinstance(m, nn.Linear)]

    with torch.device("meta"):
        generator, critic = make_nets(WganOptions(experiment=1), PRESETS["amplitude"], 5)
        regularised, wider = make_nets(WganOptions(experiment=4), PRESETS["digits"], 5)
    assert widths(generator) == [(100, 128), (128, 256), (256, 512), (512, 128 * 128)]
    assert isinstance(generator.layers[-2], nn.Tanh)
    assert widths(critic.condition) == widths(critic.pixels) == [(128 * 128, 512)]
    assert widths(critic.layers) == [(512, 512), (512, 512), (512, 1)]
    assert [m.p for m in critic.modules() if isinstance(m, nn.Dropout)] == [0.4] * 3
    assert widths(regularised.condition) == [(128 * 128, 256), (256, 128), (128, 128)]
    assert widths(wider)[-1] == (1024, 1)
    optimiser = objective(1).adam_c.optimizer
    assert optimiser.defaults["lr"] == 2e-4 and optimiser.defaults["betas"] == (0.5, 0.999)


@both_nets
@pytest.mark.parametrize("experiment", [3, 4])
def test_noise_label_and_phase_all_have_an_effect(net: str, experiment: int) -> None:
    torch.manual_seed(0)
    nets = [part.eval() for part in make_nets(WganOptions(experiment=experiment, net=net), SPECS["digits"], 2)]
    given, others = ([torch.randn(8, 100), torch.full((8,), label), torch.rand(8, 1, 16, 16)] for label in (0, 1))
    for part, first in zip(nets, ((), (torch.rand(8, 1, 16, 16),)), strict=True):
        inputs = [*first, *given[1:]] if first else given
        changed = [torch.rand(8, 1, 16, 16), *others[1:]] if first else others
        for i, other in enumerate(changed):
            assert not torch.allclose(part(*inputs), part(*inputs[:i], other, *inputs[i + 1 :]), atol=1e-6)


def test_the_dense_critic_learns_labels_as_fast_as_pixels() -> None:
    """Otherwise the pixels outweigh the labels, and a generator ignores its label."""
    torch.manual_seed(0)
    critic = DenseCritic(10, shape=(64, 64))
    adam = torch.optim.Adam(critic.parameters(), lr=2e-4, betas=(0.5, 0.999))
    x, y = torch.rand(64, 1, 64, 64) - 0.5, torch.arange(64) % 10
    pixels, labels = critic.pixels(x), critic.condition(y)
    for _ in range(5):
        adam.zero_grad()
        critic(x, y).mean().backward()
        adam.step()
    moved_pixels, moved_labels = (critic.pixels(x) - pixels).norm(), (critic.condition(y) - labels).norm()
    assert 0.2 < moved_labels / moved_pixels < 20


def test_adding_a_condition_equals_concatenating_it() -> None:
    condition = Condition(3, 5, phase=linear((2, 4), 5))
    y, phase = torch.tensor([2, 0]), torch.rand(2, 1, 2, 4)
    weight = torch.cat([condition.label.weight.T, condition.phase[1].weight], dim=1)
    both = torch.cat([nn.functional.one_hot(y, 3).float(), phase.flatten(1)], dim=1)
    torch.testing.assert_close(condition(y, phase), nn.functional.linear(both, weight, condition.phase[1].bias))


@pytest.mark.parametrize("slope", [0.0, 1.0, 3.0])
def test_the_penalty_of_a_linear_critic_follows_from_its_weights(slope: float) -> None:
    """Its gradient equals its weights everywhere, so the penalty is (|w| - 1)^2."""
    w = torch.randn(2 * 4 * 4)
    w *= slope / w.norm()
    penalty = gradient_penalty(lambda x: x.flatten(1) @ w, torch.randn(6, 2, 4, 4), torch.randn(6, 2, 4, 4))
    assert penalty.item() == pytest.approx((slope - 1) ** 2, abs=1e-5)


def test_the_penalty_is_taken_uniformly_between_the_pairs() -> None:
    seen = []

    def critic(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.detach())
        return x.square().flatten(1).sum(dim=1)

    torch.manual_seed(0)
    gradient_penalty(critic, torch.ones(4000, 1, 2, 2), torch.zeros(4000, 1, 2, 2))
    t = seen[0].flatten(1)
    assert (t == t[:, :1]).all()  # one point per pair
    uniform = (torch.arange(4000) + 0.5) / 4000
    assert (t[:, 0].sort().values - uniform).abs().max() < 1.63 / 4000**0.5  # Kolmogorov-Smirnov at 1%


@both_nets
@every_experiment
def test_every_fifth_step_moves_the_generator(experiment: int, net: str, features: dict[str, Batches]) -> None:
    gan = objective(experiment, net=net)
    names = ("generator", "critic")
    moved = []
    for i in range(6):
        before = {name: [p.clone() for p in getattr(gan, name).parameters()] for name in names}
        metrics = gan.step(*batch(features[EXPERIMENTS[experiment].features], i % 2))
        assert set(metrics) == {"critic/loss", "critic/penalty", "critic/distance"}
        assert all(torch.isfinite(value) for value in metrics.values())
        pairs = {name: zip(before[name], getattr(gan, name).parameters(), strict=True) for name in names}
        moved.append({name: any(not torch.equal(a, b) for a, b in pairs[name]) for name in names})
    assert [step["generator"] for step in moved] == [False] * 4 + [True, False]
    assert all(step["critic"] for step in moved)
    assert all(p.requires_grad for p in gan.critic.parameters())


def test_the_generators_loss_is_the_mean_over_its_own_updates(features: dict[str, Batches]) -> None:
    gan = objective(1, critic_steps=2)
    losses = []
    update = gan._update_generator
    gan._update_generator = lambda *condition: losses.append(update(*condition)) or losses[-1]
    for _ in range(5):
        gan.step(*batch(features["amplitude"]))
    mean = {"generator/loss": pytest.approx(np.mean(losses))}
    assert len(losses) == 2 and gan.end_epoch(0, {}) == mean
    assert gan.end_epoch(1, {}) == mean  # an epoch without an update


def test_the_critic_learns(features: dict[str, Batches]) -> None:
    """If the generator is fixed, the distance grows and the gradient approaches length one."""
    gan = objective(3, critic_steps=1000, learning_rate=1e-3)
    history = [gan.step(*batch(features["digits"])) for _ in range(40)]
    first, last = (
        {k: np.mean([m[k].item() for m in part]) for k in history[0]} for part in (history[:5], history[-5:])
    )
    assert last["critic/distance"] > first["critic/distance"] + 1
    assert last["critic/penalty"] < first["critic/penalty"]


@every_experiment
def test_a_killed_run_resumes_to_the_same_losses(tmp_path: Path, experiment: int, features: dict[str, Batches]) -> None:
    """Weights, optimisers, random numbers and step count are restored; epochs of 3 steps end between updates."""
    batches, device = features[EXPERIMENTS[experiment].features], torch.device("cpu")

    def trained(folder: str, *stops: int) -> list[dict[str, float]]:
        for epochs in stops:
            gan, run = objective(experiment, critic_steps=2), Run(tmp_path / folder, CONFIG)
            fit(gan, batches, run, epochs=epochs, device=device, on_epoch=lambda _: {"drawn/n": torch.rand(5).numel()})
            run.close()
        return [{k: v for k, v in line.items() if "time" not in k} for line in run.history()]

    assert len(batches) == 3
    whole, killed = trained("whole", 3), trained("killed", 1, 3)
    assert len(whole) == 3 and whole == killed


def test_phases_are_real_and_of_their_class(features: dict[str, Batches]) -> None:
    batches = features["digits"]
    phases = draw_phases(batches, 2, seed=1)
    assert phases.shape == (2, 4, 16, 16) and phases.abs().max() <= 1
    x = batches.features[np.arange(8)][:, 1]
    for k in range(2):
        drawn = {image.tobytes() for image in phases[k].numpy()}
        assert drawn == {image.tobytes() for image in x[k::2]}  # all four, in some order
    uneven = Batches(batches.features, [0] * 7 + [1], batch_size=4)
    assert (draw_phases(uneven, 2, seed=1)[1] == torch.from_numpy(x[7])).all()
    assert torch.equal(phases, draw_phases(batches, 2, seed=1)) and not torch.equal(
        phases, draw_phases(batches, 2, seed=2)
    )


@both_nets
@every_experiment
def test_a_saved_generator_samples_the_same(
    tmp_path: Path, experiment: int, net: str, features: dict[str, Batches]
) -> None:
    gan, spec = objective(experiment, net=net, critic_steps=2), spec_of(experiment)
    for i in range(2):
        gan.step(*batch(features[EXPERIMENTS[experiment].features], i))
    phases = draw_phases(features["digits"], 2, seed=0) if experiment > 2 else None
    sampler = Sampler(gan.generator, UNSCALED, make_vocoder("auto", spec), ["dog", "siren"], phases)
    sampler.save(tmp_path)
    S = sampler.arrays(["siren"] * 4, seed=3)
    again = Sampler.load(tmp_path, device="cpu").arrays(["siren"] * 4, seed=3)
    assert S.shape == (4, *spec.shape) and torch.equal(S, again) and S.abs().max() <= 1
    if phases is not None:  # each sound has a real phase of its class
        assert all(any(torch.equal(row, image) for image in phases[1]) for row in S[:, 1])
    y = sampler.vocoder(S)
    assert y.shape == (4, spec.n_samples) and torch.isfinite(y).all() and y.abs().max() > 0.01


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"features": "cgan"}, "--features cgan: --experiment 1 needs amplitude"),
        ({"experiment": 3, "features": "amplitude"}, "--features amplitude: --experiment 3 needs digits"),
        ({"precision": "bfloat16"}, "--precision bfloat16: a gradient penalty needs float32"),
        ({"segment_seconds": 2.0}, "--segment-seconds 2.0: 128 frames at 16000 Hz hold 1.02"),
        ({"dropout": 1.0}, "--dropout 1.0: must be at least 0 and below 1"),
        ({"critic_steps": 0}, "--critic-steps 0: must be 1 or more"),
    ],
)
def test_options_that_contradict_are_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        WganOptions(**given).check()


@every_experiment
def test_the_experiment_chooses_the_features(experiment: int) -> None:
    options = WganOptions(experiment=experiment)
    options.check()
    assert options.spec == PRESETS["amplitude" if experiment == 1 else "digits"]
    assert (options.epochs, options.batch_size, options.penalty, options.critic_steps) == (150, 64, 10.0, 5)


def test_a_shape_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(UserError, match=r"\(128, 126\).*divisible by 16"):
        ConvGenerator(5, shape=(128, 126))
    assert DenseGenerator(5, shape=(5, 3))(torch.randn(2, 100), torch.tensor([0, 4])).shape == (2, 1, 5, 3)
    assert DenseCritic(5, shape=(5, 3))(torch.rand(2, 1, 5, 3), torch.tensor([0, 4])).shape == (2,)


@pytest.fixture
def train_and_sample(tmp_path: Path, run_script) -> Callable[..., list[Path]]:
    """Train for one epoch and sample; return one wav of each."""

    def run(experiment: int, label: str, *arguments: object) -> list[Path]:
        run = tmp_path / "run"
        steps = ["--epochs", 1, "--critic-steps", 1, "--griffin-lim-iterations", 2]
        run_script(TRAIN, "--experiment", experiment, "--out-dir", run, *steps, *arguments)
        metrics = json.loads((run / "metrics.json").read_text())
        assert metrics["experiment"] == experiment and np.isfinite(metrics["generator/loss"])
        run_script(SAMPLE, "--model-dir", run, "--label", label, "--count", 1, "--out-dir", tmp_path / "s")
        return [run / "gan_generated_audio" / f"{label}_ep1.wav", tmp_path / "s" / f"{label}_00.wav"]

    return run


@pytest.mark.slow
def test_experiment_3_is_trained_on_spoken_digits_and_sampled(real_data: Path, train_and_sample) -> None:
    data = ["--data-dir", real_data / "spoken-digits", "--fraction", 0.04]
    for path in train_and_sample(3, "7", *data):
        y, sr = sf.read(path)
        assert len(y) == sr == 16000 and np.abs(y).max() > 0.01
