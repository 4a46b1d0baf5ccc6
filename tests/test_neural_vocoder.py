"""The neural vocoder: its networks, its training and exact resumption, its use, and the specs that it refuses."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from read_events import hparams, read_events
from round_trip import RoundTripOptions, compare

from generation.models.gan2d import Generator
from generation.models.stft_discriminator import MultiResolution
from generation.models.vocos import Vocos, fixed_noise
from generation.objectives.spectral import multi_resolution_stft
from generation.objectives.vocoder import VocoderObjective, degrade
from generation.rundir import mark_trained_on
from generation.sampling import Sampler, generate_audio
from generation.scaling import Scaler
from generation.stft import LogMel
from generation.vocoder_options import VocoderTrainingOptions
from generation.vocoder_training import random_crops, train
from generation.vocoders.vocoder import make_vocoder
from shared.audio import load_audio
from shared.data.datasets import load_dataset
from shared.errors import UserError
from shared.features.spec import PRESETS
from shared.features.transforms import extract, log_mel, mel_filterbank
from shared.report.run_view import find_runs
from shared.runs.loop import make_accelerator

SPEC = PRESETS["flow"]
QUICK = {"crop_seconds": 0.2, "width": 8, "blocks": 1, "batch_size": 16, "precision": "float32", "n_jobs": 1}
QUICK |= {"fraction": 0.5, "device": "cpu"}


def network(**sizes: int) -> Vocos:
    torch.manual_seed(0)
    return Vocos(**{"width": 16, "blocks": 2} | sizes, filterbank=torch.from_numpy(mel_filterbank(SPEC)))


def objective(**how: object) -> VocoderObjective:
    net = network()
    return VocoderObjective(net, MultiResolution(channels=2), LogMel(SPEC), make_accelerator("cpu", "float32"), **how)


@pytest.fixture(scope="module")
def trained(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocoder that was trained for two epochs, with a folder beside the data and some recordings held out."""
    run = tmp_path_factory.mktemp("vocoder") / "run"
    more = {"extra_dir": (sounds / "test",), "holdout_share": 0.25, "adversarial_from": 1}
    train(VocoderTrainingOptions(data_dir=sounds, out_dir=run, epochs=2, **QUICK | more))
    return run


@pytest.fixture(scope="module")
def clip(sounds: Path) -> np.ndarray:
    return load_audio(next(sounds.glob("train/train/siren/*")), sr=SPEC.sr, duration=SPEC.duration)


def test_mels_equal_those_of_the_cache(clip: np.ndarray) -> None:
    expected = log_mel(clip, dataclasses.replace(SPEC, frames=None))
    torch.testing.assert_close(
        LogMel(SPEC)(torch.from_numpy(clip)[None])[0], torch.from_numpy(expected), rtol=0, atol=2e-3
    )


@pytest.mark.parametrize("length", [22050, 8192, 5000])
def test_outputs_have_the_right_shape(length: int) -> None:
    S = LogMel(SPEC)(torch.randn(2, length))
    assert S.shape == (2, 80, 1 + length // 256)
    assert network()(S, fixed_noise(16, S), length=length).shape == (2, length)
    logits, maps = MultiResolution(channels=2)(torch.randn(2, length))
    assert len(logits) == len(maps) == 3 and all(x.shape[:2] == (2, 1) for x in logits)


def test_an_untrained_network_gives_the_first_guess(clip: np.ndarray) -> None:
    """It is Griffin-Lim's sound, nearer to the clip's mels than without iterations."""
    mel, y = LogMel(SPEC), torch.from_numpy(clip)[None]
    S = mel(y)
    unfit, restored = (network(iterations=n)(S, fixed_noise(16, S), length=len(clip)) for n in (0, 6))
    assert (mel(restored) - S).abs().mean() < 0.9 * (mel(unfit) - S).abs().mean() < 0.4
    assert multi_resolution_stft(y, y) == 0 < multi_resolution_stft(restored, y) < multi_resolution_stft(0 * y, y)


def test_damage_hits_the_chosen_share_only() -> None:
    torch.manual_seed(0)
    S = torch.randn(64, 80, 40)
    torch.testing.assert_close(degrade(S, share=0.0), S)
    damaged = (degrade(S, share=0.5) - S).abs().mean((1, 2)) > 1e-3
    assert 16 < damaged.sum() < 48
    assert degrade(S, share=1.0).diff(dim=2).abs().mean() < 0.7 * S.diff(dim=2).abs().mean()


def test_crops_leave_out_the_padding_of_short_clips() -> None:
    x = np.zeros((3, 100), "f4")
    x[0, :30], x[1], x[2, :5] = 1, np.arange(1, 101), 1
    for seed in range(20):
        crops, _ = random_crops(10)(x, np.zeros(3), np.random.default_rng(seed))
        assert crops.shape == (3, 10) and (crops[0] == 1).all() and (np.diff(crops[1]) == 1).all() and crops[2, 0] == 1


def test_the_losses_fall_on_one_clip(clip: np.ndarray) -> None:
    x = torch.from_numpy(clip[None, :8192])
    made = objective(degraded=0.0, learning_rate=2e-3, heldout=x)
    before = made.end_epoch(0, {})
    first, *_, last = [made.step(x, torch.zeros(1)) for _ in range(25)]
    after = made.end_epoch(1, {})
    for name in ("log_mel", "stft"):
        assert last[f"train/{name}"] < 0.9 * first[f"train/{name}"]
        assert after[f"heldout/{name}"] < before[f"heldout/{name}"]


def test_discriminators_take_part_from_their_epoch_on() -> None:
    made, x = objective(adversarial_from=1), 0.1 * torch.randn(2, 4096)
    layers = [layer.weight for layer in made.discriminator.modules() if isinstance(layer, torch.nn.Conv2d)]
    before = [weight.detach().clone() for weight in layers]
    assert "discriminator/loss" not in made.step(x, torch.zeros(2))
    made.end_epoch(0, {})
    metrics = made.step(x, torch.zeros(2))
    assert all(torch.isfinite(value) for value in metrics.values()) and metrics["discriminator/loss"] > 0
    assert not any(map(torch.equal, before, layers))
    assert all(value.requires_grad for value in made.discriminator.parameters())


def test_a_run_is_complete_and_holds_recordings_out(trained: Path, sounds: Path) -> None:
    files = ("config.json", "history.jsonl", "metrics.json", "clips.csv", "vocoder.json", "vocoder.safetensors")
    assert all((trained / name).stat().st_size for name in (*files, "plots/curves.png"))
    assert len(list((trained / "reconstructions").glob("*_neural.wav"))) == 8
    assert "vocoder" in find_runs(trained.parent)[0].kind
    table = mark_trained_on(load_dataset(sounds), trained, asked=False)[0]
    assert table.trained_on.sum() >= 20 and table.held_out.sum() >= 8


def test_tensorboard_gets_its_sounds_and_spectrograms(trained: Path) -> None:
    events, sounds = read_events(trained), sorted((trained / "reconstructions").glob("*.wav"))
    assert sounds and set(events.Tags()["audio"]) == {f"reconstructions/{path.stem}" for path in sounds}
    assert set(events.Tags()["images"]) == {f"spectrograms/{path.stem}" for path in sounds}
    assert hparams(events)["width"] == 8


def test_a_resumed_run_ends_with_the_same_bytes(sounds: Path, tmp_path: Path) -> None:
    def run(name: str, *stops: int) -> bytes:
        for epochs in stops:
            options = VocoderTrainingOptions(
                data_dir=sounds, out_dir=tmp_path / name, epochs=epochs, adversarial_from=1
            )
            train(dataclasses.replace(options, **QUICK))
        return (tmp_path / name / "vocoder.safetensors").read_bytes()

    assert run("whole", 3) == run("stopped", 1, 2, 3)


def test_a_trained_vocoder_turns_mels_into_sound(trained: Path, clip: np.ndarray, sounds: Path) -> None:
    vocoder = make_vocoder("neural", SPEC, vocoder_dir=trained)
    S = torch.from_numpy(np.stack([log_mel(clip, SPEC), extract(next(sounds.glob("train/train/dog_bark/*")), SPEC)]))
    y = vocoder(S)
    assert y.shape == (2, SPEC.n_samples) and torch.equal(y, vocoder(S)) and abs(y[0, 0]) < 1e-3
    torch.testing.assert_close(vocoder(S[:1]), y[:1], rtol=1e-4, atol=1e-4)
    assert np.abs(log_mel(y[0].numpy(), SPEC) - log_mel(clip, SPEC)).mean() < 0.5
    assert vocoder(torch.full((1, *SPEC.shape), SPEC.silence)).abs().max() < 1e-3


@pytest.mark.parametrize("frames", [100, 345, 512])
def test_a_clip_may_have_another_length(frames: int, trained: Path) -> None:
    spec = dataclasses.replace(SPEC, frames=frames, duration=2.0)
    assert make_vocoder("neural", spec, vocoder_dir=trained)(torch.zeros(1, *spec.shape)).shape == (1, 44100)


def test_what_it_cannot_invert_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--vocoder-dir .*: was trained for n_mels 80, not n_mels 64; use"):
        make_vocoder("neural", dataclasses.replace(SPEC, n_mels=64), vocoder_dir=trained)
    with pytest.raises(UserError, match=r"scaling ln, not .*scaling log1p"):
        make_vocoder("neural", PRESETS["cgan"], vocoder_dir=trained)
    with pytest.raises(UserError, match="inverts log_mel"):
        make_vocoder("neural", PRESETS["linear"], vocoder_dir=trained)
    with pytest.raises(UserError, match="needs --vocoder-dir"):
        make_vocoder("neural", SPEC)
    with pytest.raises(UserError, match="no trained vocoder"):
        make_vocoder("neural", SPEC, vocoder_dir=tmp_path)
    with pytest.raises(UserError, match="give --vocoder neural with it"):
        make_vocoder("griffin-lim", SPEC, vocoder_dir=trained)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"features": "cgan"}, "--features cgan: .*use flow"),
        ({"crop_seconds": 5.0}, "--crop-seconds 5.0: must be between"),
        ({"degraded_share": 2.0}, "--degraded-share 2.0"),
        ({"extra_dir": (Path("absent"),)}, "--extra-dir absent: no such folder"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        VocoderTrainingOptions(**options).check()


def test_a_generator_may_use_it(trained: Path, tmp_path: Path) -> None:
    spec = dataclasses.replace(SPEC, frames=352)  # a multiple of 16, which this GAN needs
    generator = Generator(2, latent=4, shape=spec.shape)
    Sampler(generator, Scaler("dataset", -11.5, 2.0), make_vocoder("griffin-lim", spec), ["dog", "siren"]).save(
        tmp_path
    )
    y, sr = generate_audio(tmp_path, "siren", vocoder="neural", vocoder_dir=trained)
    assert y.shape == (1, SPEC.n_samples) and sr == SPEC.sr and np.isfinite(y).all()


def test_the_comparison_names_every_vocoder(trained: Path, sounds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare(RoundTripOptions(data_dir=sounds, vocoder_dir=trained, clips=2, iterations=(0, 1)))
    said = capsys.readouterr().out
    assert all(f"{name}: log-mel error" in said for name in ("griffin-lim, 0 iterations", "1 iterations", "neural"))
