"""A trained PyTorch model as a function from spectrograms to probabilities or features. Never imports TensorFlow."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from classification.models.torch_cnn import CNN
from classification.rundir import TORCH_MODEL, network_of
from shared.runs.loop import pick_device


def load(run_dir: Path, *, device: str = "auto") -> Callable[[np.ndarray], np.ndarray]:
    """The best model of a run as a function: x (B, M, T) -> probabilities (B, K)."""
    return _function(run_dir, device, lambda net, x: net.log_probabilities(x).exp())


def load_features(run_dir: Path, *, device: str = "auto") -> Callable[[np.ndarray], np.ndarray]:
    """The best model of a run without its last layer: x (B, M, T) -> features (B, D), its members' side by side."""
    return _function(run_dir, device, CNN.features)


def _function(
    run_dir: Path, device: str, compute: Callable[[CNN, Tensor], Tensor]
) -> Callable[[np.ndarray], np.ndarray]:
    where = pick_device(device)
    net = CNN(**network_of(run_dir).arguments)
    net.load_state_dict(load_file(run_dir / TORCH_MODEL))
    net = net.eval().to(where, memory_format=torch.channels_last)

    @torch.inference_mode()
    def function(x: np.ndarray) -> np.ndarray:
        return compute(net, torch.from_numpy(x).to(where)).cpu().numpy()

    return function
