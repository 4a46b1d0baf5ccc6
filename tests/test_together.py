"""Clips of one recording are judged as one, strangers each by itself, and both where the training clips say so."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from scipy.signal import lfilter

import classification.inference.together
from classification.inference.classifier import Classifier
from classification.inference.sounds import list_sounds, predict_sounds
from classification.inference.submission import Wanted, predict_ids
from classification.inference.together import TRUST, Together
from shared.features.cache import FeatureCache
from shared.features.spec import PRESETS
from shared.files import read_json, write_json
from shared.runs.compare import compare

SPEC = PRESETS["strong"]
RECORDINGS, CLIPS = 180, 4


@pytest.fixture(scope="module")
def textures() -> tuple[np.ndarray, np.ndarray]:
    """Noise (N, 64, 90) in dB, of a colour that the clips of a recording share, and each clip's recording."""
    rng = np.random.default_rng(0)
    bands = rng.normal(0, 10, (RECORDINGS, 64))
    recordings = rng.permutation(np.repeat(np.arange(RECORDINGS), CLIPS))
    return bands[recordings, :, None] + 20 * np.log10(rng.rayleigh(size=(len(recordings), 64, 90))), recordings


def guesses(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Probabilities (N, 3) of a classifier that is right two times in three, clip by clip."""
    p = rng.dirichlet([1, 1, 1], len(y)) + 0.35 * np.eye(3)[y]
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def learned(textures) -> tuple[Together, np.ndarray, np.ndarray]:
    """What 90 recordings teach, and the clips of as many others with their recordings."""
    x, recordings = textures
    heard = recordings < RECORDINGS // 2
    return Together.learn(x[heard], recordings[heard] % 3), x[~heard], recordings[~heard]


def right(p: np.ndarray, y: np.ndarray) -> float:
    return (p.argmax(axis=1) == y).mean()


def test_clips_of_a_recording_help_each_other(learned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together, x, recordings = learned
    y = recordings % 3
    p = guesses(y, np.random.default_rng(1))
    q = together.judge(p, x)
    assert q.shape == p.shape and q.dtype == p.dtype
    np.testing.assert_allclose(q.sum(axis=1), 1, atol=1e-5)
    assert right(q, y) > right(p, y) + 0.1
    together.save(tmp_path)
    np.testing.assert_array_equal(Together.load(tmp_path).judge(p, x), q)
    monkeypatch.setattr(classification.inference.together, "CHUNK", 7)
    np.testing.assert_allclose(together.judge(p, x), q, atol=1e-6)
    order = np.argsort(recordings, kind="stable")  # as names put them: in parts, recordings stay whole
    p, x, y = p[order], x[order], y[order]
    monkeypatch.setattr(classification.inference.together, "MOST_CLIPS", len(p) // 2)
    in_parts = together.judge(p, x)
    np.testing.assert_allclose(in_parts[: len(p) // 2], together.judge(p[: len(p) // 2], x[: len(p) // 2]), atol=1e-6)
    assert right(in_parts, y) > right(p, y) + 0.1


def test_strangers_are_judged_alone(learned) -> None:
    together, x, recordings = learned
    _, one_each = np.unique(recordings, return_index=True)
    p = guesses(recordings[one_each] % 3, np.random.default_rng(2))
    assert right(together.judge(p, x[one_each]), p.argmax(axis=1)) > 0.9
    np.testing.assert_allclose(together.judge(p[:1], x[:1]), p[:1], atol=1e-6)
    assert together.judge(p[:0], x[:0]).shape == (0, 3)


def test_training_clips_tell_whether_likeness_means_a_class(textures, tmp_path: Path) -> None:
    x, recordings = textures
    assert Together.learn(x, recordings % 3).trust > TRUST
    assert Together.learn(x, np.random.default_rng(3).integers(0, 3, len(x))).trust < 0.5  # as a speaker says any digit
    assert Together.learn(x[:19], recordings[:19]) is None and Together.load(tmp_path) is None
    silence = np.full((40, 64, 90), -80.0)
    assert Together.learn(silence, np.arange(40) % 2).trust in (0.0, pytest.approx(0.5, abs=0.02))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twice 48 clips of eight recordings that no name tells: half wobble, but one in three does the opposite."""
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
    """A stand-in model: does the level go up and down?"""
    p = np.where(x.mean(axis=1).std(axis=1) > 3, 0.7, 0.3)
    return np.stack([1 - p, p], axis=1).astype(np.float32)


@pytest.mark.parametrize("judged", ["alone", "together"])
def test_a_test_folder_is_judged_together(folders: list[Path], judged: str, capsys: pytest.CaptureFixture) -> None:
    classes, cache = ["steady", "wobbling"], FeatureCache(SPEC)
    heard, unheard = (sorted(folder.iterdir()) for folder in folders)
    names = [path.name for path in unheard]
    x = cache.build(heard, n_jobs=1).features
    together = Together.learn(x, ["wobbling" in path.name for path in heard]) if judged == "together" else None
    table, failed = predict_ids(
        Wanted(names), folders[1], wobbling, cache, classes=classes, fallback="", together=together, n_jobs=1
    )
    accuracy = np.mean([label in name for name, label in zip(table.ID, table.Class, strict=True)])
    assert not failed and (accuracy > 0.9 if together else accuracy == pytest.approx(2 / 3))
    options = {"top_k": 1, "hop": None, "timelines": None, "every": False, "n_jobs": 1, "together": together}
    outcome = predict_sounds(Classifier(wobbling, classes, SPEC), list_sounds(folders[1]), cache=cache, **options)
    assert [result.prediction.label for result in outcome.results] == table.Class.tolist()
    assert ("--no-together" in capsys.readouterr().out) == (judged == "together")


def test_runs_are_compared_as_judged_or_clip_by_clip(tmp_path: Path) -> None:
    for name, predicted in (("a", ["x", "x", "y", "y"]), ("b", ["x", "y", "y", "x"])):
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "metrics.json", {"reported_on": "test"})
        table = {"path": list("1234"), "label": list("xxyy"), "group": list("1234"), "split": "test"}
        pd.DataFrame(table | {"predicted": predicted, "alone": list("xyyx")}).to_csv(
            tmp_path / name / "predictions.csv", index=False
        )
    assert compare(tmp_path / "a", tmp_path / "b")["accuracy"]["difference"] == pytest.approx(0.5)
    assert compare(tmp_path / "a", tmp_path / "b", alone=True)["accuracy"]["difference"] == 0.0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, run_script) -> tuple[Path, Path]:
    """A run of the default recipe on two classes that a recording's colour tells, and its data."""
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
def test_a_run_says_how_its_clips_were_judged(trained, run_script, tmp_path: Path) -> None:
    run, data = trained
    for folder in (run, run / "fold-0", run / "refit"):
        assert Together.load(folder).trust > TRUST
    metrics, table = read_json(run / "metrics.json"), pd.read_csv(run / "predictions.csv")
    assert metrics["together"] and metrics["test/accuracy"] == pytest.approx((table.label == table.predicted).mean())
    assert metrics["test/alone_accuracy"] == pytest.approx((table.label == table.alone).mean())
    card = (run / "MODEL_CARD.md").read_text()
    assert "judged together" in card and "accuracy of each clip by itself" in card
    said = run_script("classification/predict.py", "--model-dir", run, "--input", data / "test/test").stdout
    assert "named after what sounds like them" in said
    table = pd.read_csv(run / "submission.csv").assign(recording=lambda t: t.ID.str[5])
    assert (table.groupby("recording").Class.nunique() == 1).all()
    run_script("classification/convert.py", "--model-dir", run, "--out-dir", tmp_path / "keras")
    assert Together.load(tmp_path / "keras").trust == Together.load(run).trust


@pytest.mark.slow
def test_clips_are_judged_alone_on_demand(trained, run_script, tmp_path: Path) -> None:
    run, data = trained
    options = ["--model-dir", run, "--input", data / "test/test", "--no-together"]
    assert "sounds like them" not in run_script("classification/predict.py", *options).stdout
    options = ["--framework", "torch", "--epochs", 1, "--members", 1, "--widths", 4, "--no-together", "--no-refit"]
    run_script("classification/train.py", "--data-dir", data, "--out-dir", tmp_path / "run", *options)
    assert Together.load(tmp_path / "run") is None
    metrics = read_json(tmp_path / "run" / "metrics.json")
    assert not metrics["together"] and metrics["test/accuracy"] == metrics["test/alone_accuracy"]
