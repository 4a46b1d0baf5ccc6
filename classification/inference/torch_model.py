"""A trained PyTorch model as a function from spectrograms to probabilities or features. Never imports TensorFlow."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from classification.models.architecture import Network
from classification.models.torch_cnn import CNN
from classification.rundir import TORCH_MODEL
from shared.runs.loop import pick_device


def load(
    run_dir: Path, network: Network, *, device: str = "auto", features: bool = False
) -> Callable[[np.ndarray], Any]:
    """The best model of a run as a function: x (B, M, T) -> probabilities (B, K).

    With ``features`` it also returns the inputs of the last layer, concatenated over the members: x -> features (B, D),
    probabilities (B, K).
    """
    where = pick_device(device)
    net = CNN(**network.arguments)
    net.load_state_dict(load_file(run_dir / TORCH_MODEL))
    net = net.eval().to(where, memory_format=torch.channels_last)

    @torch.inference_mode()
    def forward(x: np.ndarray) -> Any:
        hidden = net.hidden(torch.from_numpy(x).to(where))
        p = net.last(hidden).exp().cpu().numpy()
        return (torch.cat(hidden, dim=1).cpu().numpy(), p) if features else p

    return forward
