"""Reads HiFi-GAN checkpoints of NVIDIA and jik876: only the weights; code in a checkpoint or a clone never runs."""

import inspect
import math
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from generation.models.hifigan import HifiGan
from shared.data.archives import fetch
from shared.errors import UserError
from shared.features.spec import FeatureSpec
from shared.files import read_json

# The file that nvidia_hifigan of NVIDIA/DeepLearningExamples:torchhub downloads (hifigan/entrypoints.py there)
URL = (
    "https://api.ngc.nvidia.com/v2/models/nvidia/dle/hifigan__pyt_ckpt_mode-finetune_ds-ljs22khz/"
    "versions/21.08.0_amp/files/hifigan_gen_checkpoint_10000_ft.pt"
)
BY_HAND = "download it elsewhere and give it as --hifigan-path FILE; or use --vocoder griffin-lim (no weights)"
REMEDY = f"the published model is {URL}; where there is no network, {BY_HAND}"

# The mels that these models were trained on. MEL has jik876's names (config.json); NVIDIA_NAMES maps NVIDIA's to them
PUBLISHED_SPEC = FeatureSpec(sr=22050, n_fft=1024, hop_length=256, n_mels=80, fmin=0, fmax=8000, power=1.0)
MEL = {
    "sampling_rate": PUBLISHED_SPEC.sr,
    "n_fft": PUBLISHED_SPEC.n_fft,
    "hop_size": PUBLISHED_SPEC.hop_length,
    "win_size": PUBLISHED_SPEC.n_fft,
    "num_mels": PUBLISHED_SPEC.n_mels,
    "fmin": PUBLISHED_SPEC.fmin,
    "fmax": PUBLISHED_SPEC.fmax,
}
NVIDIA_NAMES = {
    "filter_length": "n_fft",
    "hop_length": "hop_size",
    "win_length": "win_size",
    "mel_fmin": "fmin",
    "mel_fmax": "fmax",
}
ARCHITECTURE = [name for name in inspect.signature(HifiGan).parameters if name != "n_mels"]
SUFFIXES = (".pt", ".pth", ".safetensors")
UNSUFFIXED = r"g_\d{8}|generator(_v\d)?"  # file names of jik876


def load_generator(path: Path | None) -> HifiGan:
    """The generator of a checkpoint, on the CPU.

    Args:
        path: a checkpoint, or a folder with one below it: a clone of NVIDIA's repository, or config.json and weights.
            None takes NVIDIA's published one and downloads it once.

    Raises:
        UserError: no network, no checkpoint, code in it, or other mels than ``MEL``; the message names a remedy.
    """
    checkpoint = find(Path(path)) if path else download()
    try:
        content = read(checkpoint)
        config = read_config(checkpoint, content)
        check_mels(config)
        return build(config, content.get("generator", content))
    except UserError as error:
        where, how = ("--hifigan-path", "") if path else ("--vocoder hifigan:", "delete it; ")
        raise UserError(f"{where} {checkpoint}: {error}; {how}{REMEDY}") from error


def published() -> Path:
    """The path of the downloaded checkpoint, the same as that of NVIDIA's entry point."""
    return Path(torch.hub.get_dir()).parent / "checkpoints" / URL.rsplit("/", 1)[1]


def download() -> Path:
    """The published checkpoint, downloaded if it is not there yet.

    torch.hub.load would run NVIDIA's current code, although only the weights are needed.
    """
    path = published()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return fetch(URL, path, by_hand=BY_HAND)
    except OSError as error:
        raise UserError(f"--vocoder hifigan: {path} cannot be written ({error}); {REMEDY}") from error


def find(path: Path) -> Path:
    """The one checkpoint at or below ``path``; for a clone of NVIDIA's code without one, the downloaded checkpoint."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise UserError(f"--hifigan-path {path}: no such file or folder; {REMEDY}")
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    found = [file for file in files if file.suffix in SUFFIXES or re.fullmatch(UNSUFFIXED, file.name)]
    found = [file for file in found if file.name.startswith("hifigan_gen")] or found
    if not found and (path / "hubconf.py").is_file() and published().is_file():
        return published()
    if not found:
        names = f"{', '.join(SUFFIXES)}, g_00000000 or generator_v1"
        raise UserError(f"--hifigan-path {path}: no checkpoint in it ({names}); {REMEDY}")
    if len(found) > 1:
        raise UserError(f"--hifigan-path {path}: {len(found)} checkpoints in it; give one, such as {found[-1]}")
    return found[0]


def read(checkpoint: Path) -> dict[str, Any]:
    """The contents of a checkpoint: plain types and tensors."""
    try:
        if checkpoint.suffix == ".safetensors":
            return load_file(checkpoint)
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many types for files of another kind
        code = re.search(r"GLOBAL (\S+)", str(error))
        what = f"holds pickled code ({code[1]}), which is never run" if code else "is no checkpoint, or a damaged one"
        raise UserError(what) from error
    if not isinstance(content, dict):
        raise UserError(f"holds a {type(content).__name__}, not a checkpoint")
    return content


def read_config(checkpoint: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Mels and architecture in jik876's names, from NVIDIA's checkpoint or from the config.json beside it."""
    if isinstance(content.get("config"), dict):
        setup = content.get("train_setup") or {}  # what it omits has the default of NVIDIA's train.py: MEL
        return MEL | {NVIDIA_NAMES.get(name, name): value for name, value in setup.items()} | content["config"]
    file = checkpoint.with_name("config.json")
    try:
        config = read_json(file)
    except OSError as error:
        raise UserError("it holds no configuration, and there is no config.json beside it") from error
    if not isinstance(config, dict):
        raise UserError(f"{file} is not a HiFi-GAN configuration")
    return config


def check_mels(config: dict[str, Any]) -> None:
    other = [f"{name} {config.get(name)}, not {value}" for name, value in MEL.items() if config.get(name) != value]
    if other:
        raise UserError(f"this HiFi-GAN was trained on other mels than this vocoder computes: {'; '.join(other)}")


def build(config: dict[str, Any], state: Any) -> HifiGan:
    """The generator of this configuration with these weights."""
    try:
        with torch.device("meta"):
            generator = HifiGan(n_mels=MEL["num_mels"], **{name: config[name] for name in ARCHITECTURE})
        samples = math.prod(config["upsample_rates"])
    except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise UserError(f"its configuration is not HiFi-GAN's ({type(error).__name__}: {error})") from error
    if samples != MEL["hop_size"]:
        raise UserError(f"upsample_rates {config['upsample_rates']} make {samples} samples a frame, not hop_size 256")
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError("holds no weights of a generator")
    weights = plain_weights(state, generator.parallel)
    expected = {name: tuple(value.shape) for name, value in generator.state_dict().items()}
    there = {name: tuple(value.shape) for name, value in weights.items()}
    for name in expected | there:
        if expected.get(name) != there.get(name):
            raise UserError(
                f"weights and configuration differ: {name} is {there.get(name, 'absent')}, "
                f"by the configuration {expected.get(name, 'absent')}"
            )
    generator.load_state_dict(weights, assign=True)
    return generator.eval().requires_grad_(False)


def plain_weights(state: dict[str, Tensor], parallel: int) -> dict[str, Tensor]:
    """Weights in jik876's names, with weight normalisation multiplied out.

    w = g v / |v|, Salimans and Kingma (2016), equation 2; the norm is over all dimensions but the first. NVIDIA numbers
    the ``parallel`` residual blocks by stage, and some of its weights have a last dimension of 1.
    """
    weights = {}
    for name, value in state.items():
        name = name.removeprefix("module.").replace("parametrizations.weight.original0", "weight_g")
        name = name.replace("parametrizations.weight.original1", "weight_v")
        name = re.sub(
            r"resblocks\.(\d+)\.(\d+)\.convs",
            lambda found: f"resblocks.{int(found[1]) * parallel + int(found[2])}.convs",
            name,
        )
        weights[name] = value.float().squeeze(-1) if value.ndim == 4 else value.float()
    for name in [name for name in weights if name.endswith("weight_v")]:
        v, g = weights.pop(name), weights.pop(name[:-1] + "g", torch.ones(()))
        weights[name.removesuffix("_v")] = g * v / v.flatten(1).norm(dim=1).view(-1, 1, 1)
    return weights
