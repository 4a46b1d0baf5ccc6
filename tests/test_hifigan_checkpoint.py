"""Every kind of HiFi-GAN checkpoint gives the same network, and unusable ones are refused with a remedy."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hifigan_checkpoints import (
    SETUP,
    TINY,
    jik876,
    normed,
    nvidia_bytes,
    nvidia_clone,
    one_file,
    safetensors,
    tiny_network,
)
from local_server import Server, serving

from generation.models.hifigan import HifiGan
from generation.vocoders import hifigan_checkpoint
from generation.vocoders.hifigan_checkpoint import load_generator
from generation.vocoders.vocoder import make_vocoder
from shared.errors import UserError
from shared.features.spec import PRESETS

SPEC = PRESETS["cgan"]


@pytest.fixture(scope="module")
def tiny() -> HifiGan:
    return tiny_network()


@pytest.mark.parametrize("write", [jik876, one_file, safetensors, nvidia_clone])
def test_every_checkpoint_gives_the_same_network(write, tiny: HifiGan, tmp_path: Path) -> None:
    x = torch.randn(2, 80, 5, generator=torch.Generator().manual_seed(1))
    y = load_generator(write(tiny, tmp_path / "model"))(x)
    assert y.shape == (2, 1, 5 * 256)
    torch.testing.assert_close(y, tiny(x), rtol=1e-4, atol=1e-6)


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
    """An object that makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("data", [b"", b"<!DOCTYPE html>", b"PK\x03\x04", b"\x80\x02."])
def test_other_files_are_refused(data: bytes, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"x{suffix}"
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"is no checkpoint, or a damaged one.*https://.* --hifigan-path FILE"):
        make_vocoder("hifigan", SPEC, hifigan_path=file)


def test_code_is_refused_and_never_run(tiny: HifiGan, tmp_path: Path) -> None:
    folder = jik876(tiny, tmp_path / "model")
    torch.save({"generator": normed(tiny), "extra": Code(tmp_path / "was-run")}, folder / "g_02500000")
    with pytest.raises(UserError, match=r"holds pickled code \(posix.mkdir\), which is never run.*--hifigan-path FILE"):
        make_vocoder("hifigan", SPEC, hifigan_path=folder)
    assert not (tmp_path / "was-run").exists()


def test_a_missing_part_is_named(tiny: HifiGan, tmp_path: Path) -> None:
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
    for text, why in (("{", "is damaged, not JSON"), ("[]", "not a HiFi-GAN configuration")):
        (folder / "config.json").write_text(text)
        with pytest.raises(UserError, match=why):
            load_generator(folder / "g_02500000")
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"holds no configuration, and there is no config.json beside it"):
        load_generator(folder / "g_02500000")
    with pytest.raises(UserError, match=r"--vocoder is griffin-lim; give --vocoder hifigan"):
        make_vocoder("griffin-lim", SPEC, hifigan_path=folder)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A server instead of NVIDIA's, and an empty folder instead of torch.hub's."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("NO_PROXY", "*")
    with serving() as server:
        monkeypatch.setattr(hifigan_checkpoint, "URL", f"{server.url}/hifigan.pt")
        yield server


def test_the_published_model_is_downloaded_once(hub: Server, tiny: HifiGan, tmp_path: Path) -> None:
    hub.files["/hifigan.pt"] = nvidia_bytes(tiny)
    x = torch.zeros(1, 80, 5)
    for path in (None, None, tmp_path / "clone"):  # NVIDIA's code keeps its checkpoint outside the clone
        (tmp_path / "clone").mkdir(exist_ok=True)
        (tmp_path / "clone" / "hubconf.py").touch()
        torch.testing.assert_close(load_generator(path)(x), tiny(x), rtol=1e-4, atol=1e-6)
    assert len(hub.log) == 1


def test_failed_downloads_name_a_remedy(hub: Server, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_unwritable_cache_is_named_with_a_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot be written.*--hifigan-path FILE"):
        make_vocoder("hifigan", SPEC)
