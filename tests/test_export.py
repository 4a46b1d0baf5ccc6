"""Every exported file, loaded by its own runtime, predicts the same as the run's model."""

import ast
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import librosa
import numpy
import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch
from exported import CLASSES, RUNTIMES, run_onnx, run_onnx_spectrogram, run_tflite, run_tflite_spectrogram, untrained
from onnxruntime import InferenceSession

from classification.export import exporters
from classification.export.export import FORMATS, export, librosa_call
from classification.export.front_end_torch import FrontEnd
from classification.inference.classifier import Classifier
from classification.inference.torch_model import load
from classification.recipes import RECIPES
from classification.rundir import network_of
from shared.audio import load_audio
from shared.errors import UserError
from shared.features.spec import PRESETS, FeatureSpec, preset
from shared.features.transforms import TRANSFORMS, extract
from shared.files import read_json, write_json

SPECTRAL = [name for name in RECIPES if name not in ("transfer", "blend")]
CLIPS = 150  # of each class
# Another test covers TFLite of PyTorch runs with every recipe; both frameworks quantise the same weights.
EXPORTED = {"torch": ["onnx", "onnx-spectrogram", "safetensors"], "keras": list(FORMATS)}
EXAMPLE = Path(__file__).parents[1] / "docs" / "predict_onnx.py"
# Runs in its own process, without torch. With no clipping of feature maps, balancing must not change the output.
KERAS_SIDE = """
import sys
from pathlib import Path
import keras, numpy as np
from classification.export import conversion
from classification.export import exporters
from classification.export import quantise
from classification.rundir import network_of
quantise.CEILING = 100.0
for run in map(Path, sys.argv[1:]):
    exporters.write_tflite(run, run)
    exporters.write_tflite_spectrogram(run, run)
    model, x = conversion.torch_to_keras(run), np.load(run / "x.npy")
    quantise.balance(model, network_of(run), x)
    np.save(run / "balanced.npy", keras.ops.convert_to_numpy(model(x[..., None], training=False)))
"""


@pytest.mark.parametrize("recipe", SPECTRAL)
def test_torch_formats_predict_the_same_for_every_recipe(recipe: str, tmp_path: Path) -> None:
    run = untrained(tmp_path, recipe)
    x, described = np.load(run / "x.npy"), read_json(run / "export.json")
    exporters.write_onnx_spectrogram(run, run)
    exporters.write_safetensors(run, run)
    p = load(run, network_of(run), device="cpu")(x)
    for name in ("onnx-spectrogram", "safetensors"):
        np.testing.assert_allclose(RUNTIMES[name](run / FORMATS[name].file, x), p, atol=1e-5)
    session = InferenceSession(run / "model_spectrogram.onnx")
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["classes"]) == CLASSES and json.loads(metadata["features"]) == described["features"]
    batch, bands, frames = session.get_inputs()[0].shape
    assert batch == "batch" and [bands, frames if frames != "frames" else x.shape[2]] == described["input"]["shape"][1:]
    assert (frames == "frames") == (described["architecture"]["shape"][1] is None)
    if frames == "frames":  # accepts any number of frames
        np.testing.assert_allclose(
            run_onnx_spectrogram(run / "model_spectrogram.onnx", x[:1, :, :19]),
            load(run, network_of(run))(x[:1, :, :19]),
            atol=1e-5,
        )


@pytest.mark.parametrize("recipe", SPECTRAL)
def test_a_waveform_model_averages_the_windows_of_predict(recipe: str, tmp_path: Path) -> None:
    run = untrained(tmp_path, recipe)
    exporters.write_onnx(run, run)
    classifier, rng = Classifier.load(run, device="cpu"), np.random.default_rng(0)
    size, sr = classifier.spec.n_samples, classifier.spec.sr
    for length in (10, size, int(1.04 * size), int(1.06 * size), 2 * size, 5 * size + 123):
        y = np.float32(rng.normal(size=length) * np.geomspace(1e-3, 0.3, length))
        p, embedding = run_onnx(run / "model.onnx", np.stack([y, 0 * y]))
        for row, sound in enumerate((y, 0 * y)):
            np.testing.assert_allclose(p[row], classifier.predict(sound, sr).probabilities, atol=1e-4)
        _, windows = classifier._windows(y, classifier.hop_samples(None))
        np.testing.assert_allclose(embedding[0], classifier.embed(windows)[0].mean(axis=0), atol=1e-2)
        assert embedding.shape[1] == read_json(run / "export.json")["embedding"]["shape"][1]


@pytest.mark.parametrize("name", [name for name, spec in PRESETS.items() if len(spec.shape) == 2])
def test_a_model_computes_the_spectrogram_of_the_cache(name: str) -> None:
    spec = preset(name)
    y = np.random.default_rng(0).normal(size=spec.n_samples) * np.geomspace(1e-3, 0.3, spec.n_samples)
    for sound in np.float32([y, 0 * y]):
        expected = TRANSFORMS[spec.kind](sound, spec)
        np.testing.assert_allclose(FrontEnd(spec)(torch.from_numpy(sound)[None])[0], expected, atol=2e-3)


def test_the_example_predicts_like_the_project(tmp_path: Path) -> None:
    run = untrained(tmp_path, "plain")
    exporters.write_onnx(run, run)
    spec, rng = Classifier.load(run, device="cpu").spec, np.random.default_rng(0)
    sf.write(tmp_path / "long.wav", rng.normal(size=(3 * spec.n_samples, 2)) * 0.1, spec.sr)
    sf.write(tmp_path / "other.wav", rng.normal(size=8000), 8000)
    command = [sys.executable, EXAMPLE, run / "model.onnx", tmp_path / "long.wav", tmp_path / "other.wav"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    path, *answers = done.stdout.split()
    expected = Classifier.load(run, device="cpu").predict(path).top
    assert answers[::2] == [label for label, _ in expected[:3]]
    np.testing.assert_allclose([float(p) for p in answers[1::2]], [p for _, p in expected[:3]], atol=1e-3)
    assert "other.wav: has 8000 Hz; resample it to 22050 Hz" in done.stderr
    imported = {node.names[0].name for node in ast.walk(ast.parse(EXAMPLE.read_text())) if isinstance(node, ast.Import)}
    assert imported == {"json", "sys", "numpy", "onnxruntime", "soundfile"}


@pytest.mark.parametrize("name", [name for name, spec in PRESETS.items() if len(spec.shape) == 2])
def test_the_librosa_call_in_the_description_gives_the_models_input(name: str) -> None:
    spec = preset(name)
    y = np.random.default_rng(0).normal(size=spec.n_samples).astype(np.float32) * np.linspace(0, 1, spec.n_samples)
    described = eval(librosa_call(spec), {"librosa": librosa, "numpy": numpy, "y": y.astype(np.float32)})
    np.testing.assert_allclose(described, TRANSFORMS[spec.kind](y, spec), atol=0.02)


def test_what_cannot_be_exported_gives_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = untrained(tmp_path / "run", "plain")
    about = {"config": read_json(run / "config.json"), "classes": CLASSES}
    with pytest.raises(UserError, match=r"cannot export onxn: unknown format; choose from onnx, tflite"):
        export(run, ["onxn"], **about)
    with monkeypatch.context() as patched, pytest.raises(UserError, match="cannot export onnx: onnxscript is not inst"):
        patched.setattr("importlib.util.find_spec", lambda name: None if name == "onnxscript" else name)
        export(run, ["onnx"], **about)
    (run / "model.safetensors").write_text("of an earlier export")
    (run / "best_model.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(UserError, match=r"cannot export safetensors of .*: .*Error") as raised:
        export(run, ["safetensors"], **about)
    assert "\n" not in str(raised.value) and (run / "model.safetensors").read_text() == "of an earlier export"
    (run / "best_model.safetensors").unlink()
    with pytest.raises(UserError, match=r"best_model\.safetensors is missing"):
        export(run, ["safetensors"], **about)


@pytest.mark.slow
@pytest.mark.long
def test_keras_formats_predict_the_same_for_every_recipe(tmp_path: Path, run_script) -> None:
    runs = [untrained(tmp_path / recipe, recipe) for recipe in SPECTRAL]
    run_script("-c", KERAS_SIDE, *runs)
    for run in runs:
        x = np.load(run / "x.npy")
        p = load(run, network_of(run), device="cpu")(x)
        np.testing.assert_allclose(run_tflite_spectrogram(run / "model_spectrogram.tflite", x), p, atol=1e-4)
        classifier = Classifier.load(run, device="cpu")
        sr, size = classifier.spec.sr, classifier.spec.n_samples
        y = np.float32(np.random.default_rng(0).normal(size=size) * np.geomspace(1e-3, 0.3, size))
        answers, embedding = run_tflite(run / "model.tflite", np.stack([y, 0 * y]))
        expected = [classifier.predict(sound, sr).probabilities for sound in (y, 0 * y)]
        np.testing.assert_allclose(answers, expected, atol=1e-4)
        assert embedding.shape[1] == read_json(run / "export.json")["embedding"]["shape"][1]
        np.testing.assert_allclose(np.load(run / "balanced.npy"), p, atol=1e-4)


def make_sounds(folder: Path, *, clips: int = CLIPS, sr: int = 22050, seconds: float = 0.5) -> Path:
    """Short sounds in noise, in four classes, each sound its own recording: quick to learn, not without errors."""
    rng, t = np.random.default_rng(0), np.arange(round(sr * seconds)) / sr
    for k, label in enumerate(CLASSES):
        (folder / label).mkdir(parents=True)
        for i in range(clips):
            low, high = rng.uniform(150, 400), rng.uniform(600, 3000)
            y = {
                "chirp": np.sin(2 * np.pi * high * (t + rng.uniform(0.3, 1) * t**2)),
                "clicks": (np.sin(2 * np.pi * rng.uniform(5, 15) * t) > 0.99) * rng.normal(size=len(t)),
                "hum": sum(np.sin(2 * np.pi * low * h * t) / h for h in range(1, 6)),
                "whistle": np.sin(2 * np.pi * high * t),
            }[label]
            y = y / y.std() + 10 ** (rng.uniform(-10, 13) / 20) * rng.normal(size=len(t))
            sf.write(folder / label / f"{1000 * k + i}-{k}-0-0.wav", 0.1 * y, sr)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, run_script) -> dict[str, Path]:
    """A trained PyTorch run and the Keras run converted from it, with their exports."""
    folder = tmp_path_factory.mktemp("export")
    runs = {"torch": folder / "torch", "keras": folder / "keras"}
    options = ("--test-share", 0.5, "--no-refit", "--widths", 8, 16, 32, "--members", 1, "--epochs", 14, "--mixup", 0)
    options += ("--no-together",)  # an exported model predicts one clip at a time
    data = ("--framework", "torch", "--data-dir", make_sounds(folder / "sounds"))
    run_script("classification/train.py", "--out-dir", runs["torch"], *data, *options)
    run_script("classification/convert.py", "--model-dir", runs["torch"], "--out-dir", runs["keras"])
    commands = [("--model-dir", runs[framework], "--formats", *names) for framework, names in EXPORTED.items()]
    with ThreadPoolExecutor(2) as pool:
        done = pool.map(lambda command: run_script("-m", "classification.export.export", *command), commands)
    for said, names in zip(done, EXPORTED.values(), strict=True):
        assert len(said.stdout.splitlines()) == len(names) + 1 and said.stderr == ""
    return runs


def load_window(path: str, spec: FeatureSpec) -> np.ndarray:
    return load_audio(path, sr=spec.sr, duration=spec.duration)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("framework", "name"), [(key, name) for key, names in EXPORTED.items() for name in names])
def test_exported_files_predict_like_the_run(framework: str, name: str, trained: dict[str, Path]) -> None:
    """On the held-out clips, compared with the probabilities that the run wrote."""
    run, table = trained[framework], pd.read_csv(trained["torch"] / "predictions.csv").query("split == 'test'")
    spec = FeatureSpec(**read_json(run / "config.json")["features"])
    compute = extract if FORMATS[name].takes == "log_mel" else load_window
    x = np.stack([compute(path, spec) for path in table.path])
    p, y = table.filter(like="p_").to_numpy(), table.label.map(CLASSES.index).to_numpy()
    listed = read_json(run / "export.json")["files"][name]
    assert listed["bytes"] == (run / listed["file"]).stat().st_size > 0
    exported = RUNTIMES[name](run / listed["file"], x)
    if name != "tflite-int8":
        np.testing.assert_allclose(exported, p, atol=1e-3)
        return
    accuracy, of_exported = (p.argmax(axis=1) == y).mean(), (exported.argmax(axis=1) == y).mean()
    assert len(y) >= 2 * CLIPS - 4 and accuracy > 0.8  # high enough that quantisation could lower it
    assert of_exported >= accuracy - 0.02
    assert 1e-4 < np.abs(exported - p).mean() < 0.02
    assert listed["bytes"] < 0.6 * (run / "model_spectrogram.tflite").stat().st_size


@pytest.mark.slow
@pytest.mark.long
def test_quantisation_ranges_are_measured_on_training_clips_alone(trained: dict[str, Path], tmp_path: Path) -> None:
    from classification.export.quantise import calibration_clips

    evaluated = len(pd.read_csv(trained["torch"] / "predictions.csv"))
    for run in trained.values():  # the Keras run refers to the run it was converted from
        assert len(calibration_clips(run, limit=10_000)) == 4 * CLIPS - evaluated
        assert len(calibration_clips(run, limit=7)) == 7
    orphan = tmp_path / "orphan"
    for name in ("config.json", "labels.json"):
        write_json(orphan / name, read_json(trained["keras"] / name))
    write_json(orphan / "metrics.json", {"converted_from": str(tmp_path / "gone")})
    with pytest.raises(UserError, match="which is gone"):
        calibration_clips(orphan)


@pytest.mark.slow
def test_bad_options_are_refused_without_a_framework(tmp_path: Path, run_script) -> None:
    hidden = ("tests/without.py", "torch,tensorflow,keras,onnx,onnxscript,pandas", "classification/export/export.py")
    assert "--formats" in run_script(*hidden, "--help").stdout
    (line,) = run_script(*hidden, "--model-dir", tmp_path, code=2).stderr.splitlines()
    assert line.startswith(f"error: --model-dir {tmp_path}")
    run = untrained(tmp_path / "run", "plain")
    (line,) = run_script(*hidden, "--model-dir", run, "--formats", "onnx", code=2).stderr.splitlines()
    assert line == "error: cannot export onnx: torch is not installed; pip install 'frequency-quest[torch]'"
