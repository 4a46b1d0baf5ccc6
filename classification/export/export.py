"""Export a finished run for other runtimes: frequency-quest export --model-dir RUN --formats onnx tflite

"onnx" and "tflite" take a waveform. The other formats map log-mels x (B, M, T) to probabilities (B, K); export.json
describes how to compute x from a sound. It lists the classes, too, so that no file needs this project.
"""

import contextlib
import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import tyro

from classification.export.model_card import read_card, write_card
from classification.inference.options import SLACK
from classification.recipes import FormatName
from classification.rundir import CARD, EXPORT, KERAS_MODEL, LABELS, TORCH_MODEL, network_from, read_run
from shared.errors import UserError, not_installed, run_entry
from shared.features.spec import FLOOR, TOP_DB, FeatureSpec
from shared.files import read_json, replacing, write_json

WAVEFORM, INPUT = "waveform", "log_mel"  # names of the models' inputs
OUTPUT, EMBEDDING = "probabilities", "embedding"  # and of their outputs
OPSET = 18  # the oldest that torch's exporter writes, so that most runtimes can read it
UNITS = {
    "db": f"dB relative to the clip's loudest bin, {-TOP_DB:g} to 0; a silent clip is {-TOP_DB:g} everywhere",
    "unit": f"dB relative to the clip's loudest bin, {-TOP_DB:g} to 0, scaled to [-1, 1]; a silent clip is all -1",
    "log1p": "ln(1 + power)",
    "ln": "ln(max(magnitude, 1e-5))",
}


class Format(NamedTuple):
    """A format: its file in the run folder, the framework that writes it, its input, and a note."""

    file: str
    framework: Literal["torch", "tensorflow"] | None
    takes: str
    note: str


FORMATS = {
    "onnx": Format("model.onnx", "torch", WAVEFORM, f"takes waveforms of any length; opset {OPSET}; any batch"),
    "tflite": Format("model.tflite", "tensorflow", WAVEFORM, "takes the waveform of a window; batch 1 unless resized"),
    "onnx-spectrogram": Format("model_spectrogram.onnx", "torch", INPUT, f"opset {OPSET}; any batch"),
    "tflite-spectrogram": Format("model_spectrogram.tflite", "tensorflow", INPUT, "float32; batch 1 unless resized"),
    "tflite-int8": Format(
        "model_int8.tflite",
        "tensorflow",
        INPUT,
        "takes spectrograms; 8-bit weights and feature maps, float32 in and out; batch 1 unless resized",
    ),
    "safetensors": Format("model.safetensors", None, INPUT, "weights of classification/models/torch_cnn.py"),
}
# the packages that the formats of each framework need
PACKAGES = {"torch": ("torch", "onnx", "onnxscript"), "tensorflow": ("tensorflow", "keras"), None: ()}


def export(
    run_dir: Path, formats: Sequence[FormatName], *, config: Mapping[str, Any], classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Write the model of a finished run in other formats, and export.json, into its folder.

    Each framework runs in its own process on the CPU; its output is shown only if it fails.

    Args:
        config: content of the run's config.json.
        classes: names of the K classes, by ordinal.

    Returns:
        For each format, also those of earlier exports: its file, bytes and note.

    Raises:
        UserError: an unknown format, a missing package or model, or a failing converter. The files of earlier exports
            then stay unchanged.
    """
    trained_by = config["options"]["framework"]
    if backbone := FeatureSpec(**config["features"]).used_backbone:
        raise UserError(f"--model-dir {run_dir}: takes the embeddings of {backbone.path}, which no export contains")
    model = run_dir / {"torch": TORCH_MODEL, "keras": KERAS_MODEL}[trained_by]
    if not model.is_file():
        raise UserError(f"--model-dir {run_dir}: {model.name} is missing; train it again (--overwrite)")
    _check(formats, trained_by)
    described = describe(config, classes)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        write_json(scratch / "config.json", config)
        write_json(scratch / LABELS, {"classes": classes})
        write_json(scratch / EXPORT, described)
        steps: dict[str | None, list[str]] = {"tensorflow": [], "torch": [], None: []}
        for name in formats:
            steps[FORMATS[name].framework].append(name)
        if trained_by == "torch":
            shutil.copyfile(model, scratch / TORCH_MODEL)
        else:
            steps["tensorflow"].insert(0, "weights")
        for names in filter(None, steps.values()):
            _in_own_process(scratch, run_dir, names)
        for name in formats:
            with replacing(run_dir / FORMATS[name].file) as temporary:
                shutil.copyfile(scratch / FORMATS[name].file, temporary)
    earlier = read_json(run_dir / EXPORT)["files"] if (run_dir / EXPORT).is_file() else {}
    files = {
        name: {"file": kind.file, "bytes": (run_dir / kind.file).stat().st_size, "note": kind.note}
        for name, kind in FORMATS.items()
        if name in formats or (name in earlier and (run_dir / kind.file).is_file())
    }
    write_json(run_dir / EXPORT, described | {"files": files})
    return files


def _check(formats: Sequence[str], trained_by: str) -> None:
    for name in formats:
        if name not in FORMATS:
            raise UserError(f"cannot export {name}: unknown format; choose from {', '.join(FORMATS)}")
        needed = PACKAGES[FORMATS[name].framework] + (PACKAGES["tensorflow"] if trained_by == "keras" else ())
        missing = [package for package in needed if importlib.util.find_spec(package) is None]
        if missing:
            raise UserError(f"cannot export {name}: {not_installed(missing[0])}")


def _in_own_process(scratch: Path, run_dir: Path, names: Sequence[str]) -> None:
    """Run steps of classification/export/exporters.py, which write their files into ``scratch``."""
    command = [sys.executable, "-m", "classification.export.exporters", str(scratch), str(run_dir), *names]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
    if done.returncode == 0:
        return
    if done.returncode == 130:  # Ctrl-C reaches the child process, too
        raise KeyboardInterrupt
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    reason = lines[-1].removeprefix("error: ")[:300] if lines and done.returncode > 0 else f"exit {done.returncode}"
    what = ", ".join(name for name in names if name in FORMATS) or "its weights"
    raise UserError(f"cannot export {what} of {run_dir}: {reason}")


def describe(config: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """How to use the exported model: the content of export.json without the list of files."""
    spec, network = FeatureSpec(**config["features"]), network_from(config, len(classes))
    bands, frames = spec.shape
    least = 1 << len(network.architecture.widths)  # each block halves the frames
    other_frames = "none" if network.shape[1] else f"onnx and safetensors take {least} or more; tflite {frames}"
    return {
        "model": "sound classifier of the Frequency Quest pipeline",
        "framework": config["options"]["framework"],
        "recipe": config["options"]["recipe"],
        "classes": classes,
        "waveform": {
            "name": WAVEFORM,
            "dtype": "float32",
            "shape": ["batch", "samples"],
            "sr": spec.sr,
            "sound": f"mono, {spec.sr} Hz, in [-1, 1]",
            "tflite": f"one window of {spec.n_samples} samples, a shorter sound padded with zeros at its end",
            "onnx": f"any length: windows of {spec.n_samples} samples, one every {max(1, spec.n_samples // 2)} and one "
            f"that ends with the sound, are averaged; up to {SLACK} windows are one window, cut at its end",
        },
        "input": {
            "name": INPUT,
            "dtype": "float32",
            "shape": ["batch", bands, frames],
            "axes": ["batch", "band, low to high", "frame"],
            "unit": UNITS[spec.scaling],
            "other_frames": other_frames,
        },
        "output": {"name": OUTPUT, "dtype": "float32", "shape": ["batch", len(classes)]},
        "embedding": {"name": EMBEDDING, "dtype": "float32", "shape": ["batch", network.embedding]},
        "features": dataclasses.asdict(spec),
        "samples": spec.n_samples,
        "sound": f"mono, {spec.sr} Hz, cut or padded with zeros at its end to {spec.n_samples} samples",
        "librosa": librosa_call(spec),
        "architecture": network.arguments,
    }


def librosa_call(spec: FeatureSpec) -> str:
    """A librosa and numpy expression for the spectrogram of samples ``y`` (N,); it does not hold for a silent clip."""
    pad_mode, htk, norm = ("reflect", True, None) if spec.convention == "torchaudio" else ("constant", False, "slaney")
    window = f"y=y, n_fft={spec.n_fft}, hop_length={spec.hop_length}, {pad_mode=}"
    if spec.kind == "stft":
        S = f"numpy.abs(librosa.stft({window})[:{spec.bins}]) ** {spec.power}"
    else:
        S = (
            f"librosa.feature.melspectrogram({window}, sr={spec.sr}, n_mels={spec.n_mels}, fmin={spec.fmin}, "
            f"fmax={spec.fmax}, power={spec.power}, {htk=}, {norm=})"
        )
    if spec.kind == "mfcc":
        S = f"librosa.feature.mfcc(S=librosa.power_to_db({S}), n_mfcc={spec.n_mfcc})"
    if spec.frames:
        S = f"librosa.util.fix_length({S}, size={spec.frames})"
    db = f"librosa.power_to_db({S}, ref=numpy.max)"
    scaled = {
        "db": db,
        "unit": f"{db} / 40 + 1",
        "log1p": f"numpy.log1p({S})",
        "ln": f"numpy.log(numpy.maximum({S}, {FLOOR}))",
    }[spec.scaling]
    return S if spec.kind == "mfcc" else scaled


@dataclasses.dataclass(kw_only=True)
class ExportOptions:
    """Write the model of a finished classifier in the formats of other runtimes."""

    model_dir: Path
    """Finished run folder of classification/train.py; the files are written into it."""
    formats: tuple[FormatName, ...] = tuple(FORMATS)
    """Formats to write."""


def main() -> None:
    options = tyro.cli(ExportOptions)
    run_dir = options.model_dir
    config, labels = read_run(run_dir)
    listed = export(run_dir, options.formats, config=config, classes=labels["classes"])
    if (run_dir / CARD).is_file():
        with contextlib.suppress(UserError):  # the card of an older version stays unchanged
            write_card(run_dir, read_card(run_dir))
    for name in options.formats:
        print(f"{run_dir / listed[name]['file']}: {listed[name]['bytes'] / 2**20:.2f} MiB")
    print(f"{run_dir / EXPORT}: how to compute their input from a sound")


if __name__ == "__main__":
    run_entry(main)
