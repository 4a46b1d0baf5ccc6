"""The PyTorch side of classification: fit(inputs, run) trains, load(run_dir) predicts. Never imports TensorFlow."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from classification.inputs import Inputs
from classification.models.torch_cnn import PlainCNN
from classification.recipes import TrainOptions
from shared.batches import Batches
from shared.files import read_json, replacing
from shared.loop import fit as run_loop
from shared.loop import make_accelerator, pick_device
from shared.runs import Run

MODEL_FILE = "best_model.safetensors"


class ClassifierObjective:
    """Cross-entropy with Adam; after each epoch the schedule, the best model and the stopping of the Keras twin."""

    def __init__(
        self, net: nn.Module, val: Batches, options: TrainOptions, accelerator: Accelerator, best_file: Path
    ) -> None:
        net = net.to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(net.parameters(), lr=options.learning_rate, eps=1e-7)  # Keras's epsilon
        self.net, self.optimizer = accelerator.prepare(net, optimizer)
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer.optimizer,
            factor=options.plateau_factor,
            patience=options.plateau_patience - 1,  # torch waits for more than patience epochs, Keras for as many
            threshold=1e-4,
            threshold_mode="abs",
            min_lr=options.min_learning_rate,
        )
        self.accelerator, self.val, self.best_file = accelerator, val, best_file
        self.stop_patience = options.stop_patience
        self.best = {"accuracy": -1.0, "loss": float("inf"), "waited": 0}

    @property
    def finished(self) -> bool:
        return self.best["waited"] >= self.stop_patience

    def step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        self.net.train()
        logits = self.net(x)
        loss = F.cross_entropy(logits, y)
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        self.optimizer.step()
        return {"train/loss": loss, "train/accuracy": (logits.argmax(dim=1) == y).float().mean()}

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> dict[str, float]:
        learning_rate = self.optimizer.param_groups[0]["lr"]
        loss, accuracy = self._validate()
        self.scheduler.step(loss)
        if accuracy > self.best["accuracy"]:
            self.best["accuracy"] = accuracy
            weights = self.accelerator.unwrap_model(self.net).state_dict()
            with replacing(self.best_file) as temporary:  # contiguous: safetensors knows no channels_last
                save_file({name: v.contiguous() for name, v in weights.items()}, temporary)
        improved = loss < self.best["loss"]
        self.best["loss"] = min(loss, self.best["loss"])
        self.best["waited"] = 0 if improved else self.best["waited"] + 1
        return {"val/loss": loss, "val/accuracy": accuracy, "optim/learning_rate": learning_rate}

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        self.net.eval()
        loss = correct = 0.0
        for x, y in self.val():
            logits = self.net(torch.from_numpy(x).to(self.accelerator.device)).cpu()
            y = torch.from_numpy(y)
            loss += F.cross_entropy(logits, y, reduction="sum").item()
            correct += (logits.argmax(dim=1) == y).sum().item()
        return loss / self.val.clips, correct / self.val.clips

    def state_dict(self) -> dict[str, Any]:
        return {
            "net": self.accelerator.unwrap_model(self.net).state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "best": dict(self.best),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.accelerator.unwrap_model(self.net).load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.best = dict(state["best"])


def fit(inputs: Inputs, run: Run) -> dict[str, float]:
    """Train, or go on training, until the epochs are done or val_loss stalls; the best model is in the run folder.

    Returns:
        model/parameters and what else metrics.json should say of the training.
    """
    options = inputs.options
    torch.manual_seed(options.seed)
    accelerator = make_accelerator(options.device, options.precision)
    net = PlainCNN(len(inputs.classes), dropout=options.dropout)
    objective = ClassifierObjective(net, inputs.splits["val"], options, accelerator, run.dir / MODEL_FILE)
    run_loop(objective, inputs.splits["train"], run, epochs=options.epochs, device=accelerator.device)
    # Keras counts the batch-norm statistics too; torch's step counters are no part of the model.
    parameters = sum(v.numel() for name, v in net.state_dict().items() if "num_batches" not in name)
    return {"model/parameters": parameters}


def load(run_dir: Path, *, device: str = "auto") -> Callable[[np.ndarray], np.ndarray]:
    """The best model of a run as a function: x (B, M, T) -> probabilities (B, K)."""
    where = pick_device(device)
    net = PlainCNN(len(read_json(run_dir / "labels.json")["classes"]))
    net.load_state_dict(load_file(run_dir / MODEL_FILE))
    net = net.to(where, memory_format=torch.channels_last).eval()

    @torch.inference_mode()
    def predict(x: np.ndarray) -> np.ndarray:
        return net(torch.from_numpy(x).to(where)).softmax(dim=1).cpu().numpy()

    return predict
