"""HiFi-GAN: the mels are its authors', every kind of checkpoint gives one network, what it cannot use is refused."""

import dataclasses
import io
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from local_server import Server, serving
from safetensors.torch import save_file
from torch import Tensor

from generation.models.gan2d import Generator
from generation.models.hifigan import HifiGan
from generation.sampling import Sampler, generate_audio
from generation.scaling import Scaler
from generation.vocoders import hifigan_checkpoint
from generation.vocoders.hifigan_checkpoint import MEL, load_generator
from generation.vocoders.vocoder import make_vocoder
from shared.audio import load_audio
from shared.errors import UserError
from shared.features.spec import PRESETS
from shared.features.transforms import extract, mel_filterbank

SPEC = PRESETS["cgan"]
TINY = {
    "resblock": "1",
    "upsample_rates": [8, 8, 4],
    "upsample_kernel_sizes": [16, 16, 8],
    "upsample_initial_channel": 16,
    "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 3], [1, 2]],
}
SETUP = {"sampling_rate": 22050, "filter_length": 1024, "num_mels": 80, "hop_length": 256, "win_length": 1024}


@pytest.fixture(scope="module")
def tiny() -> HifiGan:
    torch.manual_seed(0)
    return HifiGan(n_mels=80, **TINY).requires_grad_(False)


def normed(network: HifiGan, direction: str = "weight_v", length: str = "weight_g") -> dict[str, Tensor]:
    """The weights as training with weight normalisation keeps them: a direction of any length, and the length."""
    state = {}
    for name, value in network.state_dict().items():
        if name.endswith("weight"):
            state[name.removesuffix("weight") + direction] = 3 * value
            state[name.removesuffix("weight") + length] = value.flatten(1).norm(dim=1).view(-1, 1, 1)
        else:
            state[name] = value
    return state


def jik876(network: HifiGan, folder: Path, **config: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(TINY | MEL | config))
    torch.save({"generator": normed(network)}, folder / "g_02500000")
    torch.save({"mpd": {}, "steps": 1}, folder / "do_02500000")
    return folder


def one_file(network: HifiGan, folder: Path) -> Path:
    file = jik876(network, folder) / "generator.pth"
    torch.save(normed(network, "parametrizations.weight.original1", "parametrizations.weight.original0"), file)
    return file


def safetensors(network: HifiGan, folder: Path) -> Path:
    (jik876(network, folder) / "g_02500000").unlink()
    save_file(network.state_dict(), folder / "model.safetensors")
    return folder


def nvidia_bytes(network: HifiGan) -> bytes:
    """NVIDIA's layout: configuration inside, blocks by stage, a process's prefix, convolutions of two dimensions."""
    state = {}
    for name, value in normed(network).items():
        parts = name.split(".")
        if parts[0] == "resblocks":
            parts[1:2] = [str(n) for n in divmod(int(parts[1]), 2)]
        state[".".join(["module", *parts])] = value[..., None] if value.ndim == 3 else value
    buffer = io.BytesIO()
    torch.save({"generator": state, "config": TINY, "train_setup": SETUP, "train_state": {"epoch": 1}}, buffer)
    return buffer.getvalue()


def nvidia_clone(network: HifiGan, folder: Path) -> Path:
    weights = folder / "PyTorch" / "SpeechSynthesis" / "HiFiGAN" / "pretrained_models"
    weights.mkdir(parents=True)
    (folder / "hubconf.py").write_text("raise AssertionError('code of a clone was run')")
    (weights / "hifigan_gen_checkpoint_10000_ft.pt").write_bytes(nvidia_bytes(network))
    (weights / "nvidia_fastpitch_210824.pt").touch()
    return folder


@pytest.mark.parametrize("write", [jik876, one_file, safetensors, nvidia_clone])
def test_every_checkpoint_gives_the_same_network(write, tiny: HifiGan, tmp_path: Path) -> None:
    x = torch.randn(2, 80, 5, generator=torch.Generator().manual_seed(1))
    y = load_generator(write(tiny, tmp_path / "model"))(x)
    assert y.shape == (2, 1, 5 * 256)
    torch.testing.assert_close(y, tiny(x), rtol=1e-4, atol=1e-6)


def authors_mels(y: np.ndarray) -> Tensor:
    """mel_spectrogram of meldataset.py in jik876/hifi-gan, of y (N,): (80, N // 256)."""
    mel = torch.from_numpy(mel_filterbank(dataclasses.replace(SPEC, n_mels=80, fmax=8000.0)))
    padded = torch.nn.functional.pad(torch.from_numpy(y)[None, None], (384, 384), mode="reflect")[0, 0]
    S = torch.stft(padded, 1024, hop_length=256, window=torch.hann_window(1024), center=False, return_complex=True)
    return torch.log((mel @ torch.sqrt(S.abs() ** 2 + 1e-9)).clamp(min=1e-5))


def errors(path: Path, model: Path) -> tuple[float, float]:
    """Mean absolute error in nats of the mels from the cache's array: of the clip half a hop later, and of the clip."""
    mels = make_vocoder("hifigan", SPEC, hifigan_path=model).mels(torch.from_numpy(extract(path, SPEC))[None])[0]
    assert mels.shape == (80, SPEC.clip_frames) and mels.min() >= np.log(np.float32(1e-5))
    y = load_audio(path, sr=SPEC.sr, duration=SPEC.duration)
    later, same = authors_mels(np.pad(y, (128, 0))), authors_mels(y)
    return tuple(float((mels[:, : m.shape[1]] - m).abs().mean()) for m in (later, same))


def test_mels_are_the_authors(tiny: HifiGan, sounds: Path, tmp_path: Path) -> None:
    model = jik876(tiny, tmp_path)
    later, same = zip(*(errors(path, model) for path in sorted(sounds.glob("train/train/*/*"))[::8]), strict=True)
    assert np.mean(later) < 0.1 and np.mean(later) < np.mean(same)


def test_mels_of_real_clips_are_the_authors(tiny: HifiGan, real_data: Path, tmp_path: Path) -> None:
    model = jik876(tiny, tmp_path)
    paths = sorted((real_data / "frequency-quest" / "train" / "train").glob("*/*.flac"))[::40]
    later, same = zip(*(errors(path, model) for path in paths), strict=True)
    assert np.mean(later) < 0.07 and np.mean(later) < 0.5 * np.mean(same)


def test_a_frame_is_heard_at_its_time(tiny: HifiGan, tmp_path: Path) -> None:
    """Kernels that are symmetric in time answer to a change of one frame symmetrically around hop * frame."""
    symmetric = HifiGan(n_mels=80, **TINY)
    weights = {k: (v + v.flip(-1)) / 2 if v.ndim == 3 else v for k, v in tiny.state_dict().items()}
    symmetric.load_state_dict(weights)
    vocoder = make_vocoder("hifigan", SPEC, hifigan_path=jik876(symmetric, tmp_path))
    S = torch.full((2, *SPEC.shape), 0.5)
    S[1, :, 100] = 2.0
    before, after = vocoder(S).double()
    change = (after - before) ** 2
    assert change.sum() > 0
    assert abs((change * torch.arange(len(change))).sum() / change.sum() - 100 * 256) < 2


def test_contract(tiny: HifiGan, sounds: Path, tmp_path: Path) -> None:
    S = torch.from_numpy(np.stack([extract(p, SPEC) for p in sorted(sounds.glob("train/train/*/*"))[:2]]))
    vocoder, before = make_vocoder("hifigan", SPEC, hifigan_path=jik876(tiny, tmp_path)), torch.get_rng_state()
    first, second = vocoder(S), vocoder(S)
    assert first.shape == (2, SPEC.n_samples) and first.isfinite().all() and not first.requires_grad
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(vocoder(S[:1]), first[:1], rtol=1e-4, atol=1e-6)
    assert first[:, [0, -1]].abs().max() < 1e-6  # no click at the ends
    assert (vocoder.mels(torch.zeros(1, *SPEC.shape)) == torch.tensor(1e-5).log()).all()
    with pytest.raises(UserError, match=r"\(1, 80, 512\)"):
        vocoder(torch.zeros(1, 80, 512))


def test_a_trained_generator_is_heard_through_it(tiny: HifiGan, tmp_path: Path) -> None:
    scaler = Scaler("dataset", 0.0, 3.0)
    Sampler(Generator(2), scaler, make_vocoder("griffin-lim", SPEC), ["dog", "siren"]).save(tmp_path)
    how = {"vocoder": "hifigan", "hifigan_path": jik876(tiny, tmp_path / "model")}
    y, sr = generate_audio(tmp_path, "siren", device="cpu", **how)
    assert y.shape == (1, SPEC.n_samples) and sr == SPEC.sr and y.std() > 0


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"sr": 16000}, "22050.*16000"),
        ({"hop_length": 512, "frames": None}, "256.*512"),
        ({"n_fft": 2048}, "1024.*2048"),
        ({"scaling": "db"}, "log1p.*db"),
    ],
)
def test_other_spectrograms_are_refused(other: dict, named: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=named):  # before the weights are looked for
        make_vocoder("hifigan", dataclasses.replace(SPEC, **other), hifigan_path=tmp_path / "absent")


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"num_mels": 100, "fmax": None}, "num_mels 100, not 80; fmax None, not 8000"),
        ({"sampling_rate": 24000}, "sampling_rate 24000, not 22050"),
        ({"upsample_rates": [8, 8, 2]}, r"\[8, 8, 2\] make 128 samples a frame"),
        ({"upsample_rates": [8, 8]}, "configuration is not HiFi-GAN's"),
        ({"resblock": "3"}, "configuration is not HiFi-GAN's"),
        ({"upsample_initial_channel": 32}, r"conv_pre.weight is \(16, 80, 7\), by the configuration \(32, 80, 7\)"),
        ({"resblock": "2"}, "resblocks.0.convs.0.weight is absent"),
    ],
)
def test_other_configurations_are_refused(config: dict, named: str, tiny: HifiGan, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^--hifigan-path .*{named}.*download it elsewhere.* --hifigan-path FILE"):
        make_vocoder("hifigan", SPEC, hifigan_path=jik876(tiny, tmp_path, **config))


def test_the_mels_of_nvidias_checkpoint_are_checked(tiny: HifiGan, tmp_path: Path) -> None:
    setup = SETUP | {"sampling_rate": 44100, "hop_length": 512, "mel_fmax": 16000.0}
    torch.save({"generator": normed(tiny), "config": TINY, "train_setup": setup}, tmp_path / "x.pt")
    with pytest.raises(UserError, match=r"44100, not 22050; hop_size 512, not 256; fmax 16000.0, not 8000"):
        load_generator(tmp_path / "x.pt")


class Code:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("data", [b"", b"<!DOCTYPE html>", b"PK\x03\x04", b"\x80\x02."])
def test_files_that_are_no_checkpoint(data: bytes, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"x{suffix}"
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"no checkpoint, or a damaged one.*https://.* --hifigan-path FILE"):
        make_vocoder("hifigan", SPEC, hifigan_path=file)


def test_code_is_refused_and_never_run(tiny: HifiGan, tmp_path: Path) -> None:
    folder = jik876(tiny, tmp_path / "model")
    torch.save({"generator": normed(tiny), "extra": Code(tmp_path / "was-run")}, folder / "g_02500000")
    with pytest.raises(UserError, match=r"holds pickled code \(posix.mkdir\), which is never run.*--hifigan-path FILE"):
        make_vocoder("hifigan", SPEC, hifigan_path=folder)
    assert not (tmp_path / "was-run").exists()


def test_what_is_missing_is_named(tiny: HifiGan, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent: no such file or folder.*--hifigan-path FILE"):
        load_generator(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no checkpoint in it"):
        load_generator(tmp_path / "empty")
    folder = jik876(tiny, tmp_path / "model")
    torch.save({}, folder / "g_02600000")
    with pytest.raises(UserError, match=r"2 checkpoints in it; give one, such as .*g_02600000"):
        load_generator(folder)
    with pytest.raises(UserError, match=r"conv_pre.weight is absent"):
        load_generator(folder / "g_02600000")
    torch.save([1], folder / "g_02600000")
    with pytest.raises(UserError, match="holds a list"):
        load_generator(folder / "g_02600000")
    for text, why in (("{", "is not JSON"), ("[]", "not a HiFi-GAN configuration")):
        (folder / "config.json").write_text(text)
        with pytest.raises(UserError, match=why):
            load_generator(folder / "g_02500000")
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"no configuration in it, and no config.json beside it"):
        load_generator(folder / "g_02500000")
    with pytest.raises(UserError, match=r"--vocoder is griffin-lim; give --vocoder hifigan"):
        make_vocoder("griffin-lim", SPEC, hifigan_path=folder)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A server in the place of NVIDIA's, and an empty folder in that of torch.hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NO_PROXY", "*")
    with serving() as server:
        monkeypatch.setattr(hifigan_checkpoint, "URL", f"{server.url}/hifigan.pt")
        yield server


def test_the_published_model_is_downloaded_once(hub: Server, tiny: HifiGan, tmp_path: Path) -> None:
    hub.files["/hifigan.pt"] = nvidia_bytes(tiny)
    x = torch.zeros(1, 80, 5)
    for path in (None, None, tmp_path / "clone"):  # NVIDIA's code keeps its checkpoint outside of the clone
        (tmp_path / "clone").mkdir(exist_ok=True)
        (tmp_path / "clone" / "hubconf.py").touch()
        torch.testing.assert_close(load_generator(path)(x), tiny(x), rtol=1e-4, atol=1e-6)
    assert len(hub.log) == 1


def test_failed_downloads_name_the_way_without(hub: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"hifigan.pt: the server answers 404.*--hifigan-path FILE"):
        make_vocoder("hifigan", SPEC)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        with monkeypatch.context() as patch:
            patch.setattr(hifigan_checkpoint, "URL", f"http://127.0.0.1:{closed.getsockname()[1]}/hifigan.pt")
            with pytest.raises(UserError, match=r"hifigan.pt: no connection.*--hifigan-path FILE"):
                make_vocoder("hifigan", SPEC)
    hub.files["/hifigan.pt"] = b"<!DOCTYPE html>log in first"
    with pytest.raises(UserError, match=r"^--vocoder hifigan: .*damaged one; delete it; .*--hifigan-path FILE"):
        make_vocoder("hifigan", SPEC)


def test_unwritable_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot be written.*--hifigan-path FILE"):
        make_vocoder("hifigan", SPEC)
