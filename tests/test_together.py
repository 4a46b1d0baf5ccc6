"""Clips that sound like one recording are averaged, if the training clips support it; other clips are not."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from scipy.signal import lfilter

import classification.inference.together
from classification.inference.classifier import Classifier
from classification.inference.options import PredictOptions
from classification.inference.sounds import list_sounds, predict_sounds
from classification.inference.test_set import predict_test_set, wanted_ids
from classification.inference.together import TRUST, Together
from shared.errors import UserError
from shared.features.cache import FeatureCache
from shared.features.spec import PRESETS
from shared.files import read_json, write_json
from shared.runs.compare import compare

SPEC = PRESETS["strong"]
RECORDINGS, CLIPS = 180, 4


@pytest.fixture(scope="module")
def textures() -> tuple[np.ndarray, np.ndarray]:
    """Noise (N, 64, 90) in dB whose spectrum the clips of a recording share, and the recording of each clip."""
    rng = np.random.default_rng(0)
    bands = rng.normal(0, 10, (RECORDINGS, 64))
    recordings = rng.permutation(np.repeat(np.arange(RECORDINGS), CLIPS))
    return bands[recordings, :, None] + 20 * np.log10(rng.rayleigh(size=(len(recordings), 64, 90))), recordings


def guesses(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Probabilities (N, 3) of a classifier that is right for two in three clips."""
    p = rng.dirichlet([1, 1, 1], len(y)) + 0.35 * np.eye(3)[y]
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def learned(textures) -> tuple[Together, np.ndarray, np.ndarray]:
    """The result of learning from 90 recordings; the clips of 90 others, and their recordings."""
    x, recordings = textures
    trained_on = recordings < RECORDINGS // 2
    return Together.learn(x[trained_on], recordings[trained_on] % 3), x[~trained_on], recordings[~trained_on]


def accuracy(p: np.ndarray, y: np.ndarray) -> float:
    return (p.argmax(axis=1) == y).mean()


def test_clips_of_a_recording_help_each_other(learned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together, x, recordings = learned
    y = recordings % 3
    p = guesses(y, np.random.default_rng(1))
    q = together.average(p, x)
    assert q.shape == p.shape and q.dtype == p.dtype
    np.testing.assert_allclose(q.sum(axis=1), 1, atol=1e-5)
    assert accuracy(q, y) > accuracy(p, y) + 0.1
    together.save(tmp_path)
    np.testing.assert_array_equal(Together.load(tmp_path).average(p, x), q)
    monkeypatch.setattr(classification.inference.together, "CHUNK", 7)
    np.testing.assert_allclose(together.average(p, x), q, atol=1e-6)
    order = np.argsort(recordings, kind="stable")  # recordings are not divided between the parts
    p, x, y = p[order], x[order], y[order]
    monkeypatch.setattr(classification.inference.together, "MOST_CLIPS", len(p) // 2)
    in_parts = together.average(p, x)
    np.testing.assert_allclose(in_parts[: len(p) // 2], together.average(p[: len(p) // 2], x[: len(p) // 2]), atol=1e-6)
    assert accuracy(in_parts, y) > accuracy(p, y) + 0.1


def test_clips_of_other_recordings_change_little(learned) -> None:
    together, x, recordings = learned
    _, one_each = np.unique(recordings, return_index=True)
    p = guesses(recordings[one_each] % 3, np.random.default_rng(2))
    assert accuracy(together.average(p, x[one_each]), p.argmax(axis=1)) > 0.9
    np.testing.assert_allclose(together.average(p[:1], x[:1]), p[:1], atol=1e-6)
    assert together.average(p[:0], x[:0]).shape == (0, 3)


def test_training_clips_show_whether_similar_clips_share_a_class(textures, tmp_path: Path) -> None:
    x, recordings = textures
    assert Together.learn(x, recordings % 3).trust > TRUST
    assert Together.learn(x, np.random.default_rng(3).integers(0, 3, len(x))).trust < 0.5  # as for spoken digits
    assert Together.learn(x[:19], recordings[:19]) is None and Together.load(tmp_path) is None
    silence = np.full((40, 64, 90), -80.0)
    assert Together.learn(silence, np.arange(40) % 2).trust in (0.0, pytest.approx(0.5, abs=0.02))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two folders of eight recordings with six clips each: four of every second recording wobble, two of the others."""
    t = np.arange(SPEC.n_samples) / SPEC.sr
    folders = [tmp_path_factory.mktemp("clips") for _ in range(2)]
    for seed, folder in enumerate(folders):
        rng = np.random.default_rng(seed)
        colours = rng.uniform(-0.9, 0.9, (8, 8))
        for clip, place in enumerate(rng.permutation(48)):
            recording, k = divmod(clip, 6)
            wobbles = (recording % 2 == 1) != (k % 3 == 0)
            y = lfilter([1, *colours[recording]], 1, rng.standard_normal(len(t)))
            y *= 1 + 0.9 * np.sin(8 * np.pi * t) * wobbles
            name = f"clip_{place:02d}_{['steady', 'wobbling'][recording % 2]}.wav"
            sf.write(folder / name, 0.5 * y / np.abs(y).max(), SPEC.sr)
    return folders


def wobbling(x: np.ndarray) -> np.ndarray:
    """A stand-in model that detects whether the level goes up and down."""
    p = np.where(x.mean(axis=1).std(axis=1) > 3, 0.7, 0.3)
    return np.stack([1 - p, p], axis=1).astype(np.float32)


@pytest.fixture
def wobble(folders: list[Path]) -> tuple[Classifier, FeatureCache]:
    """A classifier that learned from the first folder which clips sound like one recording; and a feature cache."""
    trained_on, cache = sorted(folders[0].iterdir()), FeatureCache(SPEC)
    x = cache.build(trained_on, n_jobs=1).features
    together = Together.learn(x, ["wobbling" in path.name for path in trained_on])
    return Classifier(wobbling, ["steady", "wobbling"], SPEC, most_frequent="steady", together=together), cache


def test_a_test_set_has_both_kinds_of_probabilities(wobble: tuple, folders: list[Path]) -> None:
    classifier, cache = wobble
    wanted = wanted_ids(list(folders[1].iterdir()), None)
    table, failed = predict_test_set(wanted, folders[1], classifier, cache, n_jobs=1)
    by_itself, _ = predict_test_set(wanted, folders[1], classifier, cache, together=False, n_jobs=1)
    truth = [name.split("_")[2].removesuffix(".wav") for name in wanted.ID]
    assert not failed and (table.Class == truth).mean() > 0.9
    assert (by_itself.Class == truth).mean() == pytest.approx(2 / 3)
    assert [name for name in table if name.startswith("together_")] == ["together_steady", "together_wobbling"]
    assert not [name for name in by_itself if name.startswith("together_")]
    pd.testing.assert_frame_equal(table.filter(like="p_"), by_itself.filter(like="p_"))


def test_predict_averages_on_demand_only(wobble: tuple, folders: list[Path], capsys: pytest.CaptureFixture) -> None:
    """A file's prediction depends on the other files only where --together is given."""
    classifier, _ = wobble
    options = PredictOptions(model_dir=Path(), input=folders[1], top_k=1, n_jobs=1)
    sounds = list_sounds(folders[1])
    folder, _ = predict_sounds(classifier, sounds, options)
    for sound, result in list(zip(sounds, folder, strict=True))[::8]:
        ((alone,), _) = predict_sounds(classifier, [sound], options)
        np.testing.assert_allclose(alone.prediction.probabilities, result.prediction.probabilities, atol=1e-6)
    assert "--together" not in capsys.readouterr().out
    averaged, _ = predict_sounds(classifier, sounds, dataclasses.replace(options, together=True))
    changed = sum(a.prediction.label != b.prediction.label for a, b in zip(folder, averaged, strict=True))
    assert changed >= 12 and f"averaging changed {changed} of 48" in capsys.readouterr().out


def a_run_of(folder: Path, **columns: list[str]) -> Path:
    """A finished run that evaluated four clips, "x", "x", "y" and "y"."""
    write_json(folder / "metrics.json", {"reported_on": "test"})
    table = {"path": list("1234"), "label": list("xxyy"), "group": list("1234"), "split": "test"}
    pd.DataFrame(table | columns).to_csv(folder / "predictions.csv", index=False)
    return folder


def test_runs_are_compared_clip_by_clip(tmp_path: Path) -> None:
    """The run "older" is of an older version: its "predicted" is averaged, and its "alone" is clip by clip."""
    a = a_run_of(tmp_path / "a", predicted=list("xyyx"), together=list("xxyy"))
    b = a_run_of(tmp_path / "b", predicted=list("xyyx"), together=list("xyyx"))
    older = a_run_of(tmp_path / "older", predicted=list("xxyy"), alone=list("xyyx"))
    without = a_run_of(tmp_path / "without", predicted=list("xyyx"))
    assert compare(a, b)["accuracy"]["difference"] == compare(older, b)["accuracy"]["difference"] == 0
    assert compare(older, without)["accuracy"]["difference"] == 0
    for run in (a, older):
        assert compare(run, b, together=True)["accuracy"]["difference"] == pytest.approx(0.5)
    with pytest.raises(UserError, match=r"--together: .*without does not average clips; leave the option out"):
        compare(a, without, together=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, run_script) -> tuple[Path, Path]:
    """A run of the default recipe on two classes that differ in spectrum, and its data."""
    data, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for split, labels in (("train", ["low", "high"]), ("test", [""])):
        for label in labels:
            (data / split / split / label).mkdir(parents=True)
            for recording in range(8):
                tilt = {"low": 0.8, "high": -0.8}.get(label, 0.8 - 1.6 * (recording % 2))
                b = np.convolve([1, tilt], [1, *rng.uniform(-0.3, 0.3, 6)])
                for k in range(4):
                    y = lfilter(b, 1, rng.standard_normal(SPEC.sr))
                    name = f"{recording + 10 * len(label)}-0-0-{k}.wav" if label else f"clip_{recording}{k}.wav"
                    sf.write(data / split / split / label / name, 0.2 * y / y.std(), SPEC.sr, subtype="FLOAT")
    run = tmp_path_factory.mktemp("runs") / "torch"
    options = ["--framework", "torch", "--folds", 2, "--epochs", 2, "--members", 1, "--widths", 4, 8]
    run_script("classification/train.py", "--data-dir", data, "--out-dir", run, *options)
    return run, data


@pytest.mark.slow
def test_figures_are_clip_by_clip_and_the_submission_is_averaged(trained, run_script, tmp_path: Path) -> None:
    run, _ = trained
    for folder in (run, run / "fold-0", run / "refit"):
        assert Together.load(folder).trust > TRUST
    metrics, table = read_json(run / "metrics.json"), pd.read_csv(run / "predictions.csv")
    assert metrics["together"] and metrics["test/accuracy"] == pytest.approx((table.label == table.predicted).mean())
    assert metrics["test/together_accuracy"] == pytest.approx((table.label == table.together).mean())
    card = (run / "MODEL_CARD.md").read_text()
    assert card.index("| accuracy, clip by clip |") < card.index("| accuracy, clips that sound like one recording")
    run_script("shared/commands.py", "card", "--model-dir", run)
    assert (run / "MODEL_CARD.md").read_text() == card
    table = pd.read_csv(run / "submission.csv").assign(recording=lambda t: t.ID.str[5])
    assert (table.groupby("recording").Class.nunique() == 1).all()
    run_script("shared/commands.py", "submission", "--runs", run, "--output", tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text() == (run / "submission.csv").read_text()
    run_script("classification/convert.py", "--model-dir", run, "--out-dir", tmp_path / "keras")
    assert Together.load(tmp_path / "keras").trust == Together.load(run).trust


@pytest.mark.slow
def test_predict_repeats_the_submission_with_together(trained, run_script, tmp_path: Path) -> None:
    run, data = trained
    ids = pd.read_csv(run / "submission.csv")[["ID"]].assign(Class="")
    ids.to_csv(tmp_path / "sample.csv", index=False)
    options = ["--model-dir", run, "--input", data / "test/test", "--output", tmp_path / "out.csv"]
    said = run_script("classification/predict.py", *options, "--probabilities").stdout
    assert "--together" not in said
    table, written = pd.read_csv(tmp_path / "out.csv"), pd.read_csv(run / "test_probabilities.csv")
    pd.testing.assert_frame_equal(table.filter(like="p_"), written.filter(like="p_"), atol=1e-5)
    assert "averaging changed" in run_script("classification/predict.py", *options, "--together").stdout
    run_script("classification/predict.py", *options, "--together", "--sample-submission", tmp_path / "sample.csv")
    assert (tmp_path / "out.csv").read_text() == (run / "submission.csv").read_text()


@pytest.mark.slow
def test_a_run_without_averages_says_so(trained, run_script, tmp_path: Path) -> None:
    _, data = trained
    options = ["--framework", "torch", "--epochs", 1, "--members", 1, "--widths", 4, "--no-together", "--no-refit"]
    run_script("classification/train.py", "--data-dir", data, "--out-dir", tmp_path / "run", *options)
    assert Together.load(tmp_path / "run") is None
    metrics = read_json(tmp_path / "run" / "metrics.json")
    assert not metrics["together"] and "test/together_accuracy" not in metrics
    columns = pd.read_csv(tmp_path / "run" / "test_probabilities.csv").columns
    assert columns.tolist() == ["ID", "Class", "p_high", "p_low"]
    options = ["--model-dir", tmp_path / "run", "--input", data / "test/test", "--together"]
    (line,) = run_script("classification/predict.py", *options, code=2).stderr.splitlines()
    assert line.startswith("error: --together") and "omit it" in line
