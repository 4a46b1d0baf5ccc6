"""The flow generator: its linear part, its loss, the network that is kept, and what it makes of given sounds."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch

from generation.editing import Edit, weights
from generation.models.flow_net import FlowNet, Generator
from generation.objectives.flow import FlowObjective, draw_times
from generation.objectives.statistics import drawn_shares, statistics
from generation.sampling import Sampler
from generation.scaling import Scaler
from generation.vocoders.vocoder import make_vocoder
from shared.audio import load_audio
from shared.errors import UserError
from shared.features.batches import Batches
from shared.features.cache import FeatureCache
from shared.features.spec import FeatureSpec
from shared.runs.loop import make_accelerator

SPEC = FeatureSpec(sr=8000, duration=0.5, n_fft=256, hop_length=64, n_mels=16, power=1.0, scaling="ln", frames=60)
SMALL = {"shape": (16, 60), "width": 32, "depth": 2, "heads": 2, "channels": 16}
CLASSES = ["dog_bark", "drilling", "engine_idling", "siren", "street_music"]


@pytest.fixture(scope="module")
def batches(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Batches:
    paths = sorted(sounds.glob("train/train/*/*"))
    features = FeatureCache(SPEC, tmp_path_factory.mktemp("cache")).build(paths, n_jobs=1).features
    labels = [CLASSES.index(path.parent.name) for path in paths]
    return Batches(features, labels, batch_size=8, shuffle=True)


def clips(batches: Batches, scaler: Scaler) -> torch.Tensor:
    return torch.cat([scaler.forward(torch.from_numpy(x)) for x in batches.each_clip()])


def objective(batches: Batches, *, precision: str = "float32", seed: int = 0, **how) -> tuple[FlowObjective, Generator]:
    torch.manual_seed(seed)
    scaler = Scaler.of("bands", batches)
    generator = Generator(5, steps=8, guidance=2.0, **SMALL)
    generator.net.gaussian.set(*statistics(clips(batches, scaler), torch.from_numpy(drawn_shares(batches, 5))))
    return FlowObjective(generator, scaler, make_accelerator("cpu", precision), warm_up=5, **how), generator


def test_an_untrained_generator_has_the_texture_of_the_clips(batches: Batches) -> None:
    """The linear part alone makes noise with the clips' change from frame to frame, which networks learn late."""
    flow, generator = objective(batches)
    generator.steps, generator.guidance = 32, 1.0
    real = clips(batches, flow.scaler)
    z = torch.randn(40, generator.latent)
    with torch.no_grad():
        made = generator(z, torch.arange(40) % 5)[:, 0]
    real_change, made_change = (x.diff(dim=2).square().mean() for x in (real, made))
    assert made.shape == (40, 16, 60) and abs(made_change / real_change - 1) < 0.25


def test_a_few_steps_follow_the_path(batches: Batches) -> None:
    """Untrained, the path of each direction is known: from white noise to a draw with the direction's variance."""
    _, generator = objective(batches)
    z, y = torch.randn(8, generator.latent, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 5
    drawn, errors = generator.net.gaussian.draw(z.unflatten(1, generator.shape), y), []
    generator.guidance = 1.0
    for generator.steps in (16, 32):
        with torch.no_grad():
            errors.append(float((generator(z, y)[:, 0] - drawn).norm() / drawn.norm()))
    assert errors[1] < errors[0] / 2 and errors[1] < 0.05


def test_the_linear_estimate_is_noise_free_at_the_end_and_the_mean_at_the_start() -> None:
    net, x, y = FlowNet(5, **SMALL), torch.randn(3, 16, 60), torch.tensor([0, 1, 5])
    torch.testing.assert_close(net.gaussian.linear_estimate(x, torch.ones(3, 1, 1), y), x, atol=1e-3, rtol=0)
    assert net.gaussian.linear_estimate(x, torch.zeros(3, 1, 1), y).abs().max() < 1e-6


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_lowers_the_loss_below_the_linear_estimate(precision: str, batches: Batches) -> None:
    flow, _ = objective(batches, precision=precision, learning_rate=3e-3, average=0.9)
    flow.held_out = batches
    before = flow.held_out_loss()
    for epoch in range(12):
        for x, y in batches(epoch):
            metrics = flow.step(torch.from_numpy(x), torch.from_numpy(y))
    assert torch.isfinite(metrics["train/loss"]) and flow.held_out_loss() < before


def test_training_stops_when_the_held_out_loss_rises(batches: Batches) -> None:
    flow, _ = objective(batches, tolerance=0.05)
    flow.held_out, losses = batches, iter([0.5, 0.4, 0.41, 0.43])
    flow.held_out_loss = lambda: next(losses)
    reasons = []
    for epoch in range(4):
        assert flow.stop_reason == ""
        assert flow.end_epoch(epoch, {})["val/loss"] > 0
        reasons.append(flow.stop_reason)
    assert reasons[:3] == ["", "", ""] and "0.400 to 0.430" in reasons[3]


def test_the_generator_is_the_moving_average(batches: Batches) -> None:
    flow, generator = objective(batches, average=0.9)
    before = generator.net.last.weight.clone()
    for step in range(3):
        flow.step(*map(torch.from_numpy, batches.get(0, step)))
    assert flow.end_epoch(0, {}) == {}
    after, trained = generator.net.last.weight, flow.net.last.weight
    assert not torch.equal(before, after) and (after - trained).abs().max() > 0
    assert not any(p.requires_grad for p in generator.parameters())


def test_a_restored_objective_continues_with_the_same_losses(batches: Batches) -> None:
    def losses(flow: FlowObjective, epochs: range) -> list[float]:
        found = []
        for epoch in epochs:
            torch.manual_seed(epoch)
            found.append(flow.step(*map(torch.from_numpy, batches.get(epoch, 0)))["train/loss"].item())
            flow.held_out = batches
            found.append(flow.end_epoch(epoch, {})["val/loss"])
        return found

    whole, _ = objective(batches)
    expected = losses(whole, range(4))
    first, _ = objective(batches)
    begun = losses(first, range(2))
    second, generator = objective(batches, seed=9)
    second.load_state_dict(first.state_dict())
    assert begun + losses(second, range(2, 4)) == expected
    assert torch.equal(generator.net.last.weight, whole.average.last.weight)


def test_times_are_spread_over_the_batch() -> None:
    t = draw_times(64, torch.Generator().manual_seed(0))
    assert 0 < t.min() < 0.05 and 0.8 < t.max() < 1
    assert torch.equal(t, draw_times(64, torch.Generator().manual_seed(0)))


@pytest.fixture(scope="module")
def sampler(batches: Batches) -> Sampler:
    flow, generator = objective(batches, learning_rate=3e-3, average=0.9)
    for epoch in range(6):
        for x, y in batches(epoch):
            flow.step(torch.from_numpy(x), torch.from_numpy(y))
    flow.end_epoch(0, {})
    return Sampler(generator, flow.scaler, make_vocoder("griffin-lim", SPEC, iterations=2), CLASSES)


def test_guidance_and_class_change_the_sounds(sampler: Sampler) -> None:
    siren, dog = (sampler.arrays([label] * 2, seed=1) for label in ("siren", "dog_bark"))
    sampler.generator.guidance = 1.0
    plain_siren, plain_dog = (sampler.arrays([label] * 2, seed=1) for label in ("siren", "dog_bark"))
    sampler.generator.guidance = 2.0
    assert (siren - dog).abs().mean() > 1.2 * (plain_siren - plain_dog).abs().mean() > 0
    many = sampler.arrays(["siren"] * 20, seed=1)  # more than are made together
    torch.testing.assert_close(many[:2].shape, siren.shape)
    assert torch.isfinite(many).all() and len(many) == 20


def test_a_mixture_lies_between_its_classes(sampler: Sampler) -> None:
    mixture = weights("siren:1,dog_bark:3", CLASSES)
    torch.testing.assert_close(mixture, torch.tensor([0.75, 0, 0, 0.25, 0]))
    assert weights("siren", CLASSES) is None
    only = weights("siren:2", CLASSES).expand(2, -1)
    torch.testing.assert_close(
        sampler.arrays(["siren"] * 2, seed=3, y=only), sampler.arrays(["siren"] * 2, seed=3), atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("label", ["siren:x", "sirne:1", "siren:0", "siren:0.5,dog:0.5"])
def test_a_wrong_mixture_is_refused(label: str) -> None:
    with pytest.raises(UserError, match=f"--label {label}"):
        weights(label, CLASSES)


def test_a_variation_stays_near_its_sound_by_its_strength(sampler: Sampler, sounds: Path) -> None:
    path = next(sounds.glob("train/train/siren/*"))
    distances = []
    for strength in (0.0, 0.5, 1.0):
        edit = Edit.of(sampler, path, strength=strength, gap=None)
        S = sampler.arrays(["siren"] * 2, seed=0, given=edit.arguments(sampler))
        distances.append((sampler.scaler.forward(S) - edit.clean).abs().mean().item())
    assert distances[0] < 0.05 < distances[1] < distances[2]


def test_only_the_gap_is_filled(sampler: Sampler, sounds: Path) -> None:
    edit = Edit.of(sampler, next(sounds.glob("train/train/siren/*")), strength=1.0, gap=(0.2, 0.3))
    S = sampler.arrays(["siren"] * 2, seed=0, given=edit.arguments(sampler))
    change = (sampler.scaler.forward(S) - edit.clean).abs().mean((0, 1))
    assert change[:24].max() < 0.05 and change[28:36].min() > 0.05 and change[40:].max() < 0.05
    y = edit.insert(sampler.vocoder(S).numpy(), SPEC.sr)
    outside = np.r_[0 : round(0.18 * 8000), round(0.32 * 8000) : 4000]
    np.testing.assert_allclose(y[:, outside], np.broadcast_to(edit.y[outside], (2, len(outside))), atol=1e-6)
    with pytest.raises(UserError, match=r"--gap 0\.4 0\.9"):
        Edit.of(sampler, next(sounds.glob("train/train/siren/*")), strength=1.0, gap=(0.4, 0.9))


TINY = ("--segment-seconds", 0.9, "--width", 32, "--depth", 1, "--heads", 2, "--steps", 4, "--n-jobs", 1)


@pytest.fixture(scope="module")
def arguments(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    return ["--data-dir", sounds, "--out-dir", tmp_path_factory.mktemp("runs") / "flow", *TINY, "--batch-size", 16]


@pytest.fixture(scope="module")
def trained(arguments: list[object], run_script) -> tuple[Path, str]:
    """A run of three seconds, and what was printed."""
    said = run_script("generation/train_flow.py", *arguments, "--minutes", 0.05).stdout
    return arguments[arguments.index("--out-dir") + 1], said


@pytest.mark.slow
def test_minutes_become_epochs_that_stay(trained: tuple[Path, str], arguments: list[object], run_script) -> None:
    run, out = trained
    epochs = json.loads((run / "config.json").read_text())["options"]["epochs"]
    assert f"--minutes 0.05: {epochs} epochs" in out and epochs >= 1
    assert len((run / "history.jsonl").read_text().splitlines()) == epochs
    assert "already done" in run_script("generation/train_flow.py", *arguments, "--minutes", 0.05).stdout
    run_script("generation/train_flow.py", *arguments, "--epochs", epochs + 1)
    assert len((run / "history.jsonl").read_text().splitlines()) == epochs + 1


@pytest.mark.slow
def test_the_command_makes_mixtures_variations_and_the_best_of_several(
    trained: tuple[Path, str], sounds: Path, tiny_classifier: Path, tmp_path: Path, run_script, refused
) -> None:
    sample = ("generation/sample.py", "--model-dir", trained[0], "--count", 2, "--griffin-lim-iterations", 2)
    run_script(*sample, "--label", "siren:0.5,dog_bark:0.5", "--out-dir", tmp_path / "mixture")
    assert len(list((tmp_path / "mixture").glob("*.wav"))) == 2
    clip = next(sounds.glob("train/train/siren/*"))
    given = ("--label", "siren", "--variation-of", clip)
    run_script(*sample, *given, "--gap", 0.3, 0.6, "--guidance", 2, "--steps", 3, "--out-dir", tmp_path / "gap")
    y, sr = sf.read(tmp_path / "gap" / "siren_00.wav")
    original = load_audio(clip, sr=sr)
    np.testing.assert_allclose(y[: round(0.25 * sr)], original[: round(0.25 * sr)], atol=1e-3)
    best = ("--label", "siren", "--best-of", 3, "--best-of-classifier", tiny_classifier)
    run_script(*sample, *best, "--out-dir", tmp_path / "best")
    assert json.loads((tmp_path / "best" / "samples.json").read_text())["best_of"] == 3
    assert len(list((tmp_path / "best").glob("*.wav"))) == 2
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    for wrong, message in (
        (("--variation-of", tmp_path / "bad.wav"), "bad.wav: cannot be decoded"),
        (("--best-of", 3), "--best-of 3"),
        (("--gap", 0.1, 0.2), "--variation-of"),
        (("--label", "sirne"), "--label sirne"),
        (("--steps", 0), "--steps 0"),
    ):
        assert message in refused(*sample, *wrong, "--out-dir", tmp_path / "wrong", lines=None)
        assert not (tmp_path / "wrong").exists()
