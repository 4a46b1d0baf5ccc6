"""Backbones: models of other projects, in ONNX or TFLite, that embed a clip's waveform (docs/backbones.md).

A backbone takes mono float or integer samples of a fixed or free number and gives embeddings or scores, each once a
window or once a time step. A clip is cut into half-overlapping windows, the last of which ends with the clip; the mean
and the maximum over all its windows and time steps are its embedding. Each process loads a backbone once and computes
on one thread.
"""

import dataclasses
import functools
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from shared.audio import fix_length, window_starts
from shared.errors import UserError, not_installed
from shared.features.spec import Backbone, FeatureSpec
from shared.files import content_hash, is_file, quiet_stderr, text_hash

PROBE = 2.0  # seconds of noise that a model of free length is tried with
SHORTEST = 1.0  # seconds that a model of free length is given at least
_ONNX_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64"}
_ONNX_TYPES |= {f"tensor({name})": name for name in ("int8", "int16", "int32")}


@dataclasses.dataclass(frozen=True, eq=False)
class Runtime:
    """A model as its runtime sees it.

    Attributes:
        shape: its input's sizes; None is free. The last one counts samples.
        dtype: its input's type.
        scale, zero: a sample is the integer (value - zero) * scale; only for integers.
        call: the input -> its outputs by name.
    """

    shape: tuple[int | None, ...]
    dtype: np.dtype
    scale: float
    zero: int
    call: Callable[[np.ndarray], Mapping[str, np.ndarray]]

    def given(self, y: np.ndarray) -> np.ndarray:
        """Samples y (N,) as the model takes them."""
        if self.dtype.kind == "i":
            limits = np.iinfo(self.dtype)
            y = np.clip(np.round(y / self.scale) + self.zero, limits.min, limits.max)
        return y.astype(self.dtype).reshape(*[1] * (len(self.shape) - 1), -1)


class Model:
    """A loaded backbone: samples y (N,) -> embeddings (steps, D) of one window.

    Attributes:
        window: samples of a window; None if the model takes any number.
        size: D.

    Raises:
        UserError: it does not take a waveform, or its output is not finite. The message names ``name``.
    """

    def __init__(self, runtime: Runtime, name: str, *, sr: int) -> None:
        self.runtime, self.name = runtime, name
        self.window = runtime.shape[-1]
        noise = np.random.default_rng(0).uniform(-0.1, 0.1, self.window or round(PROBE * sr)).astype(np.float32)
        outputs = self._outputs(noise)
        self.output = choose_output(outputs)
        if self.output is None:
            raise UserError(f"{name}: has no output of numbers; give a model that gives embeddings or scores")
        self.size = outputs[self.output].shape[-1]
        self(noise)

    def __call__(self, y: np.ndarray) -> np.ndarray:
        steps = np.asarray(self._outputs(y)[self.output], dtype=np.float32).reshape(-1, self.size)
        if not (len(steps) and np.isfinite(steps).all()):
            raise UserError(f"{self.name}: its output {self.output} is not finite; use another model or --backbone-sr")
        return steps

    def _outputs(self, y: np.ndarray) -> Mapping[str, np.ndarray]:
        try:
            return self.runtime.call(self.runtime.given(y))
        except Exception as error:  # the runtimes raise many types
            problem = f"cannot take a waveform of {len(y)} samples ({_first_line(error)})"
            raise UserError(f"{self.name}: {problem}; export it for waveforms, or use another --backbone-sr") from error


def choose_output(outputs: Mapping[str, np.ndarray]) -> str | None:
    """The name of the output to take: the widest of those named embedding, else the widest of all.

    The last axis counts; of equally wide ones the first is taken. None if there is no output of numbers.
    """
    numbers = {name: x for name, x in outputs.items() if x.ndim and x.size and x.dtype.kind in "fiu"}
    named = {name: x for name, x in numbers.items() if "embedding" in name.lower()}
    return max(named or numbers, key=lambda name: numbers[name].shape[-1], default=None)


def spec_of(path: Path, sr: int, *, duration: float) -> FeatureSpec:
    """The FeatureSpec of this backbone's embeddings of clips of ``duration`` seconds.

    Args:
        path: the model, .onnx or .tflite.
        sr: sampling rate in Hz of the waveform that it takes.

    Raises:
        UserError: no such file, no model, or one that takes something else; or its runtime is not installed.
    """
    path = Path(path).absolute()
    content = _content(path)
    backbone = Backbone(content=content, size=_load(str(path), content, sr).size, path=str(path))
    return FeatureSpec(kind="embedding", sr=sr, duration=duration, backbone=backbone)


def load(spec: FeatureSpec) -> Model:
    """The backbone of a spec, whose file is read again to see that it is still the same; a process loads it once.

    Raises:
        UserError: its file is gone, or is another model.
    """
    _check_same(spec.backbone.path, spec.backbone.content)
    return _load(spec.backbone.path, spec.backbone.content, spec.sr)


def embedding(y: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """The mean and the maximum over windows and time steps of the embeddings of y (N,): float32 (2 D, 1).

    The padding at the clip's end is left out.
    """
    model = _load(spec.backbone.path, spec.backbone.content, spec.sr)
    sound = np.trim_zeros(y, "b")
    if model.window is None:
        windows = [fix_length(sound, size=max(len(sound), min(len(y), round(SHORTEST * spec.sr))))]
    else:
        size = model.window
        starts = window_starts(len(sound), size=size, step=max(1, size // 2))
        windows = [fix_length(sound[i : i + size], size=size) for i in starts]
    steps = np.concatenate([model(window) for window in windows])
    return np.concatenate([steps.mean(axis=0), steps.max(axis=0)])[:, None]


@functools.lru_cache(maxsize=4)
def _load(path: str, content: str, sr: int) -> Model:
    name = f"--backbone-path {path}"
    _check_same(path, content)
    runtime = _tflite if path.lower().endswith(".tflite") else _onnx
    try:
        loaded = runtime(path)
    except UserError:
        raise
    except Exception as error:  # the runtimes raise many types
        raise UserError(f"{name}: cannot be loaded ({_first_line(error)}); give an ONNX or TFLite model") from error
    if loaded is None or any(size not in (None, 1) for size in loaded.shape[:-1]) or not loaded.shape:
        takes = "several inputs" if loaded is None else f"an input of shape {loaded.shape}"
        raise UserError(f"{name}: takes {takes}; it must take one waveform, (N,) or (1, N)")
    return Model(loaded, name, sr=sr)


def _check_same(path: str, content: str) -> None:
    if _content(Path(path)) != content:
        raise UserError(f"--backbone-path {path}: is not the model that the run was trained with; give that file")


def _content(path: Path) -> str:
    """The hash of a model's file, and of the weights that PyTorch's exporter may write beside it."""
    name = f"--backbone-path {path}"
    if path.suffix.lower() not in (".onnx", ".tflite"):
        raise UserError(f"{name}: must be an .onnx or a .tflite file")
    if not is_file(path):
        raise UserError(f"{name}: no such file; give the place of the model")
    beside = path.with_name(f"{path.name}.data")
    if not is_file(beside):
        return content_hash(path)
    return text_hash(content_hash(path) + content_hash(beside))


def _onnx(path: str) -> Runtime | None:
    """The model in ONNX Runtime; None if it has several inputs."""
    ort = _imported("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, too
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    if len(inputs := session.get_inputs()) != 1:
        return None
    shape = tuple(size if isinstance(size, int) else None for size in inputs[0].shape)
    dtype = np.dtype(_ONNX_TYPES[inputs[0].type])

    def call(x: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(names, map(np.asarray, session.run(None, {inputs[0].name: x})), strict=True))

    return Runtime(shape, dtype, *_quantised(dtype, (0.0, 0)), call)


def _tflite(path: str) -> Runtime | None:
    """The model in LiteRT; None if it has several inputs. A length of 1 counts as free: older converters write it."""
    litert = _imported("ai_edge_litert.interpreter")
    with quiet_stderr():
        interpreter = litert.Interpreter(model_path=path, num_threads=1)
    if len(inputs := interpreter.get_input_details()) != 1:
        return None
    given, outputs = inputs[0], _named_outputs(interpreter)
    sizes = given["shape_signature"] if len(given["shape_signature"]) else given["shape"]
    shape = tuple(None if size == -1 else int(size) for size in sizes)
    shape = (*shape[:-1], None if shape[-1] == 1 else shape[-1]) if shape else shape
    ready: list[tuple[int, ...]] = []  # the shape that memory is allocated for

    def call(x: np.ndarray) -> dict[str, np.ndarray]:
        if ready != [x.shape]:
            with quiet_stderr():
                interpreter.resize_tensor_input(given["index"], x.shape)
                interpreter.allocate_tensors()
            ready[:] = [x.shape]
        interpreter.set_tensor(given["index"], x)
        interpreter.invoke()
        return {name: _real(interpreter.get_tensor(o["index"]), o) for name, o in outputs.items()}

    dtype = np.dtype(given["dtype"])
    return Runtime(shape, dtype, *_quantised(dtype, given["quantization"]), call)


def _named_outputs(interpreter: Any) -> dict[str, dict[str, Any]]:
    """A TFLite model's outputs by the names of its signature, if it has one, else by those of its tensors."""
    details = {output["index"]: output for output in interpreter.get_output_details()}
    names = {output["index"]: output["name"] for output in details.values()}
    for signature in list(interpreter.get_signature_list())[:1]:
        named = interpreter.get_signature_runner(signature).get_output_details()
        names |= {o["index"]: name for name, o in named.items() if o["index"] in names}
    return {names[index]: output for index, output in details.items()}


def _quantised(dtype: np.dtype, how: tuple[float, int]) -> tuple[float, int]:
    """Scale and zero point of an integer input; one that names none takes full-scale integers."""
    scale, zero = how
    return (scale, zero) if scale or dtype.kind != "i" else (1 / np.iinfo(dtype).max, 0)


def _real(x: np.ndarray, output: Mapping[str, Any]) -> np.ndarray:
    """An output as real numbers."""
    scale, zero = output["quantization"]
    return (x.astype(np.float32) - zero) * np.float32(scale) if scale else x


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise UserError(f"--backbone-path: {not_installed(name)}") from None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
