"""A trained PyTorch model as a function from spectrograms to probabilities or features. Never imports TensorFlow."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from classification.models.torch_cnn import CNN
from classification.rundir import TORCH_MODEL, network_of
from shared.runs.loop import pick_device


def load_net(run_dir: Path) -> CNN:
    """The best model of a run, on the CPU, for inference."""
    net = CNN(**network_of(run_dir).arguments)
    net.load_state_dict(load_file(run_dir / TORCH_MODEL))
    return net.eval()


def load(run_dir: Path, *, device: str = "auto") -> Callable[[np.ndarray], np.ndarray]:
    """The best model of a run as a function: x (B, M, T) -> probabilities (B, K)."""
    where = pick_device(device)
    net = load_net(run_dir).to(where, memory_format=torch.channels_last)

    @torch.inference_mode()
    def predict(x: np.ndarray) -> np.ndarray:
        return net.log_probabilities(torch.from_numpy(x).to(where)).exp().cpu().numpy()

    return predict


def load_features(run_dir: Path, *, device: str = "auto") -> Callable[[np.ndarray], np.ndarray]:
    """The best model of a run but for its last layer: x (B, M, T) -> features (B, D), its members' side by side."""
    where = pick_device(device)
    net = load_net(run_dir).to(where, memory_format=torch.channels_last)

    @torch.inference_mode()
    def features(x: np.ndarray) -> np.ndarray:
        return net.features(torch.from_numpy(x).to(where)).cpu().numpy()

    return features
