"""Exported files: an untrained run with which every recipe is exported, and the runtimes that read the files."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from onnxruntime import InferenceSession
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from classification.export.export import describe
from classification.inference.torch_model import load
from classification.models.architecture import BandStatistics
from classification.models.torch_cnn import CNN
from classification.recipes import RECIPES, TrainOptions
from classification.rundir import network_of
from classification.training.fit_torch import set_initial_weights
from shared.features.spec import preset
from shared.files import read_json, write_json
from shared.runs.options import assemble, flat
from shared.runs.run import plain

CLASSES = ["chirp", "clicks", "hum", "whistle"]


def untrained(folder: Path, recipe: str) -> Path:
    """A PyTorch run with random weights, zero and negative batch norm factors, and predictions that differ by clip."""
    chosen = {"widths": (4, 6, 8), "dense": (8,), "duration": 1.0, "members": min(2, RECIPES[recipe].get("members", 1))}
    chosen = flat(assemble(TrainOptions, RECIPES[recipe] | {"recipe": recipe, "framework": "torch"} | chosen))
    spec = dataclasses.replace(preset(chosen["features"]), duration=chosen["duration"])
    write_json(folder / "config.json", {"options": plain(chosen), "features": dataclasses.asdict(spec)})
    write_json(folder / "labels.json", {"classes": CLASSES, "most_frequent": "hum"})
    write_json(folder / "metrics.json", {})
    rng = np.random.default_rng(0)
    x = rng.uniform(-60, -20, (5, spec.shape[0], 1)) + rng.normal(0, 8, (5, *spec.shape))
    np.save(folder / "x.npy", x := x.astype(np.float32))
    torch.manual_seed(0)
    statistics = BandStatistics.of([x], centre=chosen["centre"]) if chosen["standardise"] else None
    network = network_of(folder)
    net = CNN(**network.arguments, statistics=statistics)
    set_initial_weights(net, network, seed=0)
    norms = [layer for layer in net.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        torch.nn.init.uniform_(norm.weight, -2, 3)
        torch.nn.init.normal_(norm.bias)
    norms[0].weight.data[0] = 0
    net(torch.from_numpy(x))  # sets the statistics of the norms to those of x
    logits = net.eval()(torch.from_numpy(x)).detach()  # (B, R, K)
    for r, member in enumerate(net.members):
        member.head[-1].weight.data /= logits[:, r].std(dim=0)[:, None]
        member.head[-1].bias.data -= (logits[:, r] / logits[:, r].std(dim=0)).mean(dim=0)
    save_file(net.state_dict(), folder / "best_model.safetensors")
    write_json(folder / "export.json", describe(read_json(folder / "config.json"), CLASSES))
    assert np.ptp(load(folder, network_of(folder), device="cpu")(x), axis=0).max() > 0.1
    return folder


def run_onnx_spectrogram(path: Path, x: np.ndarray) -> np.ndarray:
    (p,) = InferenceSession(path, providers=["CPUExecutionProvider"]).run(["probabilities"], {"log_mel": x})
    return p


def run_onnx(path: Path, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Waveforms (B, N) -> probabilities (B, K), embeddings (B, D)."""
    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["probabilities", "embedding"], {"waveform": y})


def run_tflite(path: Path, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same, one waveform after the other."""
    runner = Interpreter(str(path)).get_signature_runner()
    answers = [runner(waveform=row[None]) for row in y]
    return tuple(np.concatenate([answer[name] for answer in answers]) for name in ("probabilities", "embedding"))


def run_tflite_spectrogram(path: Path, x: np.ndarray) -> np.ndarray:
    """All clips at once: the batch is resized."""
    interpreter = Interpreter(str(path))
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["log_mel"], "outputs": ["probabilities"]}
    }
    (given,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert given["dtype"] == answer["dtype"] == np.float32 and given["shape"].tolist() == [1, *x.shape[1:]]
    interpreter.resize_tensor_input(given["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(answer["index"])


def run_safetensors(path: Path, x: np.ndarray) -> np.ndarray:
    """Needs only the file: its metadata describes the network."""
    with safe_open(path, "pt") as file:
        net = CNN(**json.loads(file.metadata()["architecture"])).eval()
    net.load_state_dict(load_file(path))
    return net.log_probabilities(torch.from_numpy(x)).exp().detach().numpy()


RUNTIMES: dict[str, Callable[[Path, np.ndarray], np.ndarray]] = {
    "onnx": lambda path, y: run_onnx(path, y)[0],
    "tflite": lambda path, y: run_tflite(path, y)[0],
    "onnx-spectrogram": run_onnx_spectrogram,
    "tflite-spectrogram": run_tflite_spectrogram,
    "tflite-int8": run_tflite_spectrogram,
    "safetensors": run_safetensors,
}
