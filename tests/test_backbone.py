"""Backbones: what they are given, which output is taken, how it is pooled and cached, and which models are refused."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from backbones import WIDTH, save_onnx
from onnx import TensorProto

from shared.audio import load_audio
from shared.errors import UserError
from shared.features import backbone
from shared.features.cache import FeatureCache
from shared.features.spec import PRESETS, FeatureSpec

SR = 8000


def pooled(*windows: np.ndarray) -> np.ndarray:
    steps = np.concatenate(windows).reshape(-1, WIDTH)
    return np.concatenate([steps.mean(axis=0), steps.max(axis=0)])[:, None]


def noise(n: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, n).astype(np.float32)


def test_a_fixed_window_is_moved_over_the_clip_without_its_padding(tmp_path: Path) -> None:
    spec = backbone.spec_of(save_onnx(tmp_path / "m.onnx", shape=(1, 4000)), SR, duration=2.0)
    assert spec.shape == (2 * WIDTH, 1) and spec.n_samples == 16000
    y = noise(16000)
    y[9000:] = 0
    expected = pooled(y[:4000], y[2000:6000], y[4000:8000], y[5000:9000])
    np.testing.assert_allclose(backbone.embedding(y, spec), expected, rtol=1e-5)
    y[3000:] = 0
    np.testing.assert_allclose(backbone.embedding(y, spec), pooled(y[:4000]), rtol=1e-5)
    assert np.array_equal(backbone.embedding(np.zeros_like(y), spec), np.zeros((2 * WIDTH, 1)))


@pytest.mark.parametrize("shape", [("samples",), (1, "samples"), ("batch", 1, "samples")])
def test_a_free_length_takes_the_clip_at_once(tmp_path: Path, shape: tuple) -> None:
    spec = backbone.spec_of(save_onnx(tmp_path / "m.onnx", shape=shape), SR, duration=2.0)
    y = noise(16000)
    y[12000:] = 0
    np.testing.assert_allclose(backbone.embedding(y, spec), pooled(y[:12000]), rtol=1e-5)
    y[100:] = 0
    np.testing.assert_allclose(backbone.embedding(y, spec), pooled(y[:SR]), rtol=1e-5)


def test_integers_are_full_scale(tmp_path: Path) -> None:
    spec = backbone.spec_of(save_onnx(tmp_path / "m.onnx", dtype=TensorProto.INT16), SR, duration=1.0)
    y = np.clip(4 * noise(8000), -1.5, 1.5)  # beyond full scale
    expected = pooled(np.clip(np.round(y * 32767), -32768, 32767))
    np.testing.assert_allclose(backbone.embedding(y, spec), expected, rtol=1e-4)


def test_quantised_models_take_and_give_steps_of_their_scale() -> None:
    runtime = backbone.Runtime((1, 3), np.dtype("int8"), *backbone._quantised(np.dtype("int8"), (0.01, 3)), None)
    assert runtime.given(np.array([0.0, 0.5, -2.0])).tolist() == [[3, 53, -128]]
    given = np.array([[3, 53]], dtype=np.int8)
    np.testing.assert_allclose(backbone._real(given, {"quantization": (0.01, 3)}), [[0.0, 0.5]])
    assert backbone._real(given, {"quantization": (0.0, 0)}) is given


@pytest.mark.parametrize(
    ("shapes", "chosen"),
    [
        ({"scores": (1, 527), "Embedding": (1, 64)}, "Embedding"),
        ({"embeddings_low": (1, 8), "embeddings": (3, 64), "scores": (1, 527)}, "embeddings"),
        ({"a": (6, 521), "b": (6, 1024), "c": (48, 64)}, "b"),
        ({"a": (1, 10), "b": (1, 10)}, "a"),
        ({"count": ()}, None),
    ],
)
def test_the_embedding_is_preferred_then_the_widest_output(shapes: dict, chosen: str | None) -> None:
    assert backbone.choose_output({name: np.zeros(shape) for name, shape in shapes.items()}) == chosen


def test_the_cache_knows_a_model_by_its_content_and_rate(sounds: Path, tmp_path: Path) -> None:
    clips = sorted(sounds.glob("train/train/siren/*"))
    spec = backbone.spec_of(save_onnx(tmp_path / "m.onnx", shape=(1, 4000)), SR, duration=4.0)
    built = FeatureCache(spec).build(clips, n_jobs=2, progress=False)
    y = load_audio(clips[3], sr=SR, duration=4.0)
    np.testing.assert_allclose(built.features[[3]][0], backbone.embedding(y, spec), rtol=1e-6)
    save_onnx(tmp_path / "other.onnx", shape=(1, 4000), gain=2.0)
    moved = (tmp_path / "m.onnx").rename(tmp_path / "moved.onnx")
    same = backbone.spec_of(moved, SR, duration=4.0)
    others = [backbone.spec_of(moved, 16000, duration=4.0)]
    others.append(backbone.spec_of(tmp_path / "other.onnx", SR, duration=4.0))
    assert same == spec and FeatureCache(same).dir == FeatureCache(spec).dir
    (tmp_path / "moved.onnx.data").write_bytes(b"weights that PyTorch's exporter wrote beside the model")
    others.append(backbone.spec_of(moved, SR, duration=4.0))
    assert len({FeatureCache(each).dir for each in (spec, *others)}) == 4
    assert FeatureSpec(**dataclasses.asdict(spec)) == spec  # as in config.json


def test_other_specs_keep_their_key() -> None:
    for spec in PRESETS.values():
        assert spec.key == {k: v for k, v in dataclasses.asdict(spec).items() if k not in ("backbone", "parts")}


def test_a_model_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, load = [], backbone._onnx
    monkeypatch.setattr(backbone, "_onnx", lambda path: loaded.append(path) or load(path))
    spec = backbone.spec_of(save_onnx(tmp_path / "m.onnx"), SR, duration=1.0)
    for _ in range(3):
        backbone.embedding(noise(8000), spec)
    assert len(loaded) == 1


def refusal(path: Path, sr: int = SR) -> str:
    with pytest.raises(UserError) as refused:
        backbone.embedding(noise(sr), backbone.spec_of(path, sr, duration=1.0))
    assert str(refused.value).startswith("--backbone-path") and "\n" not in str(refused.value)
    return str(refused.value)


def test_models_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "missing.onnx")
    assert "must be an .onnx or a .tflite file" in refusal(tmp_path / "model.pt")
    for name in ("text.onnx", "text.tflite"):
        (tmp_path / name).write_text("no model")
        assert "cannot be loaded" in refusal(tmp_path / name)
    model = tmp_path / "model.onnx"
    assert "takes an input of shape (1, 64, 100)" in refusal(save_onnx(model, shape=(1, 64, 100)))
    assert "takes several inputs" in refusal(save_onnx(model, inputs=2))
    assert "cannot take a waveform of 16002 samples" in refusal(save_onnx(model), sr=8001)
    assert "embedding is not finite" in refusal(save_onnx(model, gain=float("nan")))
    assert "embedding is not finite" in refusal(save_onnx(model, gain=float("inf")))


def test_another_model_in_its_place_is_refused(tmp_path: Path) -> None:
    spec = backbone.spec_of(save_onnx(tmp_path / "m.onnx"), SR, duration=1.0)
    save_onnx(tmp_path / "m.onnx", gain=2.0)
    with pytest.raises(UserError, match="is not the model that the run was trained with"):
        backbone.load(spec)


@pytest.mark.parametrize(("suffix", "package"), [(".onnx", "onnxruntime"), (".tflite", "ai_edge_litert")])
def test_a_missing_runtime_is_named(tmp_path: Path, suffix: str, package: str, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.interpreter", None)
    (tmp_path / f"model{suffix}").write_text("a model")
    said = f"--backbone-path: {package} is not installed; pip install 'frequency-quest[backbones]'"
    assert said in refusal(tmp_path / f"model{suffix}")


TFLITE = """
import sys
import tensorflow as tf

@tf.function(input_signature=[tf.TensorSpec([None], tf.float32, name="waveform")])
def free(waveform):
    steps = tf.reshape(waveform, [-1, 4])
    return {"scores": tf.concat([steps, steps], axis=1), "embeddings": steps}

@tf.function(input_signature=[tf.TensorSpec([1, 4000], tf.float32, name="waveform")])
def fixed(waveform):
    return tf.reshape(waveform, [-1, 4])

for path, function in zip(sys.argv[1:], (free, fixed)):
    module = tf.Module()
    module.f = function
    convert = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], module)
    open(path, "wb").write(convert.convert())
"""


@pytest.mark.slow
def test_tflite_models_give_the_same_as_onnx(tmp_path: Path, run_script) -> None:
    """As YAMNet: a free length that is resized, and several outputs, which a signature may name."""
    paths = tmp_path / "free.tflite", tmp_path / "fixed.tflite"
    run_script("-c", TFLITE, *paths, CUDA_VISIBLE_DEVICES="-1")
    y = noise(16000)
    for path, window in zip(paths, (None, 4000), strict=True):
        spec = backbone.spec_of(path, SR, duration=2.0)
        model = backbone.load(spec)
        assert model.window == window and model.size == WIDTH
        shape = (1, window or "samples")
        twin = backbone.spec_of(save_onnx(path.with_suffix(".onnx"), shape=shape), SR, duration=2.0)
        for given in (y, y[:12000]):
            np.testing.assert_allclose(backbone.embedding(given, spec), backbone.embedding(given, twin), rtol=1e-5)
