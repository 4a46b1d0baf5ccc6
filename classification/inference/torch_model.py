"""A trained PyTorch model as a function from spectrograms to probabilities or features. Never imports TensorFlow."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from classification.models.architecture import Network
from classification.models.torch_cnn import CNN
from classification.rundir import TORCH_MODEL
from shared.runs.loop import pick_device


def load(
    run_dir: Path, network: Network, *, device: str = "auto", features: bool = False
) -> Callable[[np.ndarray], np.ndarray]:
    """The best model of a run as a function: x (B, M, T) -> probabilities (B, K).

    With ``features`` it returns the inputs of the last layer, concatenated over the members: x -> features (B, D).
    """
    where = pick_device(device)
    net = CNN(**network.arguments)
    net.load_state_dict(load_file(run_dir / TORCH_MODEL))
    net = net.eval().to(where, memory_format=torch.channels_last)

    @torch.inference_mode()
    def forward(x: np.ndarray) -> np.ndarray:
        given = torch.from_numpy(x).to(where)
        return (net.features(given) if features else net.log_probabilities(given).exp()).cpu().numpy()

    return forward
