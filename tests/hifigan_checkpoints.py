"""HiFi-GAN checkpoints of a tiny network in every layout that is read."""

import io
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from generation.models.hifigan import HifiGan
from generation.vocoders.hifigan_checkpoint import MEL

TINY = {
    "resblock": "1",
    "upsample_rates": [8, 8, 4],
    "upsample_kernel_sizes": [16, 16, 8],
    "upsample_initial_channel": 16,
    "resblock_kernel_sizes": [3, 5],
    "resblock_dilation_sizes": [[1, 3], [1, 2]],
}
SETUP = {"sampling_rate": 22050, "filter_length": 1024, "num_mels": 80, "hop_length": 256, "win_length": 1024}


def tiny_network() -> HifiGan:
    """A small network with fixed random weights."""
    torch.manual_seed(0)
    return HifiGan(n_mels=80, **TINY).requires_grad_(False)


def normed(network: HifiGan, direction: str = "weight_v", length: str = "weight_g") -> dict[str, Tensor]:
    """The weights as kept by weight normalisation in training: a direction of any length, and the length."""
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
    """NVIDIA's layout: configuration included, blocks by stage, prefixed names, two-dimensional convolutions."""
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
