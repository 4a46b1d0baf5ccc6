"""Training of a classifier in PyTorch: fit(inputs, run). It does not import TensorFlow."""

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import Tensor

from classification.models.architecture import Network
from classification.models.torch_cnn import CNN
from classification.models.weights import initial_weight, tensor_names
from classification.recipes import Optimiser
from classification.rundir import TORCH_MODEL
from classification.training.inputs import Inputs
from shared.features.batches import Batches
from shared.files import replacing
from shared.runs import ranks
from shared.runs.loop import fit as run_loop
from shared.runs.loop import make_accelerator, prepare
from shared.runs.run import Run


class ClassifierObjective:
    """Cross-entropy with AdamW. Schedule, best model and early stopping follow the same rules as in Keras.

    Args:
        val: the clips that select the best model and drive the plateau schedule; None keeps the last epoch's model.
        best_file: where the best model is written.
        steps: batches of the whole training, for a cosine schedule.
    """

    def __init__(
        self,
        net: CNN,
        val: Batches | None,
        optimiser: Optimiser,
        accelerator: Accelerator,
        best_file: Path,
        *,
        steps: int = 1,
    ) -> None:
        net = net.to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(  # with Keras's epsilon
            net.parameters(), lr=optimiser.learning_rate, eps=1e-7, weight_decay=optimiser.weight_decay
        )
        self.net, self.optimizer = prepare(accelerator, net, optimizer)
        self.accelerator, self.val, self.best_file = accelerator, val, best_file
        self.plateau, self.stop_patience = optimiser.schedule == "plateau", optimiser.stop_patience
        if self.plateau:
            self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
                self.optimizer.optimizer,
                factor=optimiser.plateau_factor,
                patience=optimiser.plateau_patience - 1,  # PyTorch lowers the rate one bad epoch later than Keras
                threshold=1e-4,
                threshold_mode="abs",
                min_lr=optimiser.min_learning_rate,
            )
        else:
            rate = partial(cosine, steps=steps, warmup=optimiser.warmup)
            self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer.optimizer, rate)
        self.best = {"accuracy": -1.0, "loss": float("inf"), "waited": 0}

    @property
    def stop_reason(self) -> str:
        stalled = self.plateau and self.best["waited"] >= self.stop_patience
        return f"val/loss has not improved for {self.stop_patience} epochs" if stalled else ""

    def step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """One update on x (B, M, T) and soft labels y (B, K)."""
        self.net.train()
        share = ranks.Share(len(x))
        x, y = share(x, y)
        with share.own_draws():
            logits = self.net(x)
        loss = _cross_entropy(logits, y).mean()
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        share.average(self.net.parameters())
        self.optimizer.step()
        if not self.plateau:
            self.scheduler.step()
        return {"train/loss": loss, "train/accuracy": _correct(logits, y).mean()}

    def end_epoch(self, epoch: int, metrics: Mapping[str, float]) -> dict[str, float]:
        figures = {"optim/learning_rate": self.optimizer.param_groups[0]["lr"]}
        if self.val is not None:
            loss, accuracy = self._validate()
            figures = {"val/loss": loss, "val/accuracy": accuracy} | figures
        if ranks.is_first() and (not self.plateau or accuracy > self.best["accuracy"]):
            weights = self.accelerator.unwrap_model(self.net).state_dict()
            with replacing(self.best_file) as temporary:  # safetensors has no channels_last format
                save_file({name: v.contiguous() for name, v in weights.items()}, temporary)
        if self.plateau:
            self.scheduler.step(loss)
            waited = 0 if loss < self.best["loss"] else self.best["waited"] + 1
            accuracy, loss = max(accuracy, self.best["accuracy"]), min(loss, self.best["loss"])
            self.best = {"accuracy": accuracy, "loss": loss, "waited": waited}
        return figures

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        self.net.eval()
        loss = correct = 0.0
        for step, (x, y) in enumerate(self.val()):
            if ranks.own_turn(step):
                logits = self.net(torch.from_numpy(x).to(self.accelerator.device)).cpu()
                loss += _cross_entropy(logits, torch.from_numpy(y)).sum().item() / logits.shape[1]
                correct += _correct(logits, torch.from_numpy(y)).sum().item() / logits.shape[1]
        loss, correct = ranks.total([loss, correct])
        return loss / self.val.clips, correct / self.val.clips

    def state_dict(self) -> dict[str, Any]:
        return {
            "net": self.accelerator.unwrap_model(self.net).state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "best": self.best,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.accelerator.unwrap_model(self.net).load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.best = dict(state["best"])


def _cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Loss of each ensemble member: logits (B, R, K), y (B, K) -> (B, R)."""
    return -(y[:, None] * logits.float().log_softmax(dim=2)).sum(dim=2)


def _correct(logits: Tensor, y: Tensor) -> Tensor:
    """1 where an ensemble member predicts the class of the largest label, else 0: (B, R)."""
    return (logits.argmax(dim=2) == y.argmax(dim=1, keepdim=True)).float()


def cosine(step: int, *, steps: int, warmup: float) -> float:
    """The learning rate at a step, as a share of the highest: it rises linearly during the warm-up, then falls to 0.

    Cosine annealing (Loshchilov & Hutter 2017, SGDR) without restarts; counts steps like Keras's CosineDecay.

    Args:
        warmup: share of the steps.
    """
    warm = int(warmup * steps)
    if step < warm:
        return step / warm
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm))))


def fit(inputs: Inputs, run: Run) -> dict[str, float]:
    """Train or resume until the last epoch, or until val/loss stalls. The best model is then in the run folder.

    Returns:
        further entries of metrics.json.
    """
    options, train = inputs.options, inputs.splits["train"]
    torch.manual_seed(options.seed)
    accelerator = make_accelerator(options.device, options.precision, deterministic=options.deterministic)
    net = CNN(**inputs.network.arguments, statistics=inputs.statistics())
    set_initial_weights(net, inputs.network, seed=options.seed)
    steps, best_file = options.epochs * len(train), run.dir / TORCH_MODEL
    objective = ClassifierObjective(
        net, inputs.splits.get("val"), options.optimiser, accelerator, best_file, steps=steps
    )
    run_loop(objective, train, run, epochs=options.epochs, device=accelerator.device)
    # Counted like Keras: with batch-norm statistics, without PyTorch's batch counters and the input's normalisation.
    parameters = sum(v.numel() for name, v in net.members.state_dict().items() if "num_batches" not in name)
    return {"model/parameters": parameters}


def set_initial_weights(net: CNN, network: Network, *, seed: int) -> None:
    """Give the network the initial weights of this seed; the Keras network gets the same."""
    rng, tensors = np.random.default_rng(seed), net.state_dict()
    for _, names in tensor_names(network):
        for name in names:
            tensors[name].copy_(torch.from_numpy(initial_weight(name, tensors[name].shape, network, rng)))
