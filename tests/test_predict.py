"""Classifier, its timeline and predict.py: the prediction of a sound does not depend on how it is given."""

import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from matplotlib.image import imread

from classification import predict
from classification.inference.classifier import Classifier, Prediction
from classification.inference.options import PredictOptions
from classification.inference.sounds import list_sounds, predict_sounds
from classification.inference.timeline import overview
from shared.audio import load_audio
from shared.errors import AudioError, UserError
from shared.features.spec import PRESETS
from shared.features.transforms import extract

PREDICT = "classification/predict.py"
SPEC = PRESETS["classifier"]


def louder_half(x: np.ndarray) -> np.ndarray:
    """A stand-in model that compares the levels of the lower and the upper half of the mel bands."""
    level = np.stack([x[:, :64].mean(axis=(1, 2)), x[:, 64:].mean(axis=(1, 2))], axis=1) / 10
    p = np.exp(level - level.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def tone(hz: float, seconds: float, sr: int = 22050) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * hz * np.arange(round(sr * seconds)) / sr)).astype(np.float32)


@pytest.fixture
def classifier() -> Classifier:
    return Classifier(louder_half, ["low", "high"], SPEC, most_frequent="low")


@pytest.fixture(scope="module")
def run(sounds: Path, tmp_path_factory: pytest.TempPathFactory, run_script) -> Path:
    """A finished PyTorch run."""
    folder = tmp_path_factory.mktemp("runs") / "torch"
    arguments = ["--framework", "torch", "--data-dir", sounds, "--out-dir", folder, "--epochs", 1]
    run_script("classification/train.py", *arguments)
    return folder


def test_a_prediction_ranks_the_classes() -> None:
    prediction = Prediction(["a", "b", "c"], np.array([0.2, 0.5, 0.3], dtype=np.float32), top_k=2)
    assert prediction.label == "b" and prediction.probability == pytest.approx(0.5)
    assert [label for label, _ in prediction.top] == ["b", "c"] and "b 50.0%" in str(prediction)
    assert len(Prediction(["a", "b"], np.array([0.5, 0.5]), top_k=9).top) == 2


def test_a_file_and_its_samples_are_the_same_sound(classifier: Classifier, sounds: Path, tmp_path: Path) -> None:
    clip = sorted(sounds.glob("train/train/*/*"))[0]
    y, sr = sf.read(clip, dtype="float32")
    expected = louder_half(extract(clip, SPEC)[None])[0]
    silence = np.zeros_like(y)
    for given in ((clip,), (str(clip),), (y, sr), (y[None], sr), (np.stack([2 * y, silence]), sr)):
        np.testing.assert_allclose(classifier.predict(*given).probabilities, expected, atol=1e-4)
    as_integers = classifier.predict((y * 32767).astype(np.int16), sr)
    np.testing.assert_allclose(as_integers.probabilities, expected, atol=2e-2)
    sf.write(tmp_path / "a.wav", tone(300, 4, sr=44100), 44100)
    resampled = classifier.predict(tone(300, 4, sr=44100), 44100).probabilities
    np.testing.assert_allclose(classifier.predict(tmp_path / "a.wav").probabilities, resampled, atol=1e-3)


def test_short_and_silent_sounds_are_padded(classifier: Classifier) -> None:
    for y in (tone(300, 0.05), np.zeros(10), np.zeros(4 * 22050), np.ones(1)):
        prediction = classifier.predict(y, 22050)
        assert prediction.windows == 1 and prediction.probabilities.sum() == pytest.approx(1)
    assert classifier.predict(tone(300, 0.5), 22050).label == "low"
    assert classifier.predict(tone(6000, 0.5), 22050).label == "high"


def test_windows_cover_a_long_recording(classifier: Classifier) -> None:
    y = np.concatenate([tone(300, 9), tone(6000, 8.3)])
    timeline = classifier.predict_windows(y, 22050)
    np.testing.assert_allclose(timeline.starts, [0, 2, 4, 6, 8, 10, 12, 13.3], atol=1e-4)  # the last ends with y
    np.testing.assert_allclose(timeline.ends - timeline.starts, 4, atol=1e-4)
    assert timeline.labels == ["low"] * 4 + ["high"] * 4 or timeline.labels == ["low"] * 5 + ["high"] * 3
    assert timeline.edges[0] == 0 and timeline.edges[-1] == pytest.approx(17.3) and (np.diff(timeline.edges) > 0).all()
    for start, p in zip(timeline.starts, timeline.probabilities, strict=True):
        window = y[round(start * 22050) :][: SPEC.n_samples]
        np.testing.assert_allclose(classifier.predict(window, 22050).probabilities, p, atol=1e-5)
    whole = classifier.predict(y, 22050)
    assert whole.windows == 8
    np.testing.assert_allclose(whole.probabilities, timeline.probabilities.mean(axis=0), atol=1e-6)
    assert len(classifier.predict_windows(y, 22050, hop=4.0)) == 5
    assert len(classifier.predict_windows(tone(300, 4.1), 22050)) == 1  # the extra 0.1 s may be an mp3's padding


def test_a_batch_is_predicted_like_its_sounds_one_by_one(classifier: Classifier) -> None:
    sounds = [tone(300, 1), tone(6000, 150), tone(900, 4)]  # the long one has more windows than a batch
    together = classifier.predict_batch(sounds, 22050, top_k=1)
    for y, prediction in zip(sounds, together, strict=True):
        np.testing.assert_allclose(prediction.probabilities, classifier.predict(y, 22050).probabilities, atol=1e-6)
        assert len(prediction.top) == 1
    assert classifier.predict_batch([], 22050) == []
    with pytest.raises(AudioError, match=r"sound 1: .*NaN"):
        classifier.predict_batch([tone(300, 1), np.array([0.0, np.nan])], 22050)


@pytest.mark.parametrize(
    ("given", "options", "error", "says"),
    [
        (np.zeros(9), {}, UserError, "sr is missing"),
        (np.zeros(9), {"sr": 0}, AudioError, "0 Hz"),
        (np.zeros(0), {"sr": 8000}, AudioError, "no samples"),
        (np.zeros((9, 2)), {"sr": 8000}, AudioError, r"\(9, 2\).*transpose"),
        (np.zeros((2, 2, 9)), {"sr": 8000}, AudioError, "shape"),
        (np.zeros(9, dtype=np.uint8), {"sr": 8000}, AudioError, "uint8"),
        (np.full(9, np.inf), {"sr": 8000}, AudioError, "infinite"),
        (np.zeros(9), {"sr": 8000, "top_k": 0}, UserError, "--top-k 0"),
        ("no/such/file.wav", {}, AudioError, "cannot be decoded"),
    ],
)
def test_unusable_samples_raise_the_reason(classifier: Classifier, given, options, error, says: str) -> None:
    with pytest.raises(error, match=says):
        classifier.predict(given, **options)


@pytest.mark.parametrize("hop", [0, -1, 4.5, float("nan")])
def test_impossible_hops_are_refused(classifier: Classifier, hop: float) -> None:
    with pytest.raises(UserError, match="--hop"):
        classifier.predict_windows(tone(300, 9), 22050, hop=hop)


def test_the_timeline_is_saved(classifier: Classifier, tmp_path: Path) -> None:
    timeline = classifier.predict_windows(np.concatenate([tone(300, 9), tone(6000, 9)]), 22050)
    timeline.save(tmp_path / "a.csv", tmp_path / "a.png", title="a.wav")
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert list(rows[0]) == ["start", "end", "label", "probability", "p_low", "p_high"] and len(rows) == len(timeline)
    assert [row["label"] for row in rows] == timeline.labels and rows[-1]["end"] == "18"
    assert all(float(row["p_low"]) + float(row["p_high"]) == pytest.approx(1, abs=1e-4) for row in rows)
    image = imread(tmp_path / "a.png")
    assert image.shape[1] > image.shape[0] > 300 and image[..., :3].std() > 0.1


def test_the_overview_of_a_long_recording_is_small_and_in_place() -> None:
    y = np.concatenate([np.zeros(300 * 22050), tone(6000, 10), np.zeros(90 * 22050)]).astype(np.float32)
    S = overview(y, SPEC)
    assert S.shape[0] == SPEC.n_mels and 800 < S.shape[1] <= 1600 and S.max() == 0 and S.min() >= -80
    loud = np.flatnonzero(S.max(axis=0) > -10) / S.shape[1] * 400
    assert loud.min() == pytest.approx(300, abs=1) and loud.max() == pytest.approx(310, abs=1)
    assert (overview(np.zeros(22050, dtype=np.float32), SPEC) == -80).all()


def test_short_long_and_bad_files_are_predicted_or_skipped(classifier: Classifier, tmp_path: Path) -> None:
    for name, y in {
        "b.wav": tone(300, 1),
        "c.wav": tone(6000, 4.5),
        "d.wav": tone(300, 9),
        "d.flac": tone(6000, 9),
    }.items():
        sf.write(tmp_path / name, y, 22050)
    (tmp_path / "a.wav").write_text("no sound")

    def outcome(source: Path, **options):
        output = tmp_path / "t" / "predictions.csv"
        options = PredictOptions(model_dir=Path(), input=source, output=output, top_k=2, n_jobs=1, **options)
        return predict_sounds(classifier, list_sounds(source), options)

    results, skipped = outcome(tmp_path)
    labels = {r.sound.id: r.prediction.label for r in results}
    assert list(labels.items()) == [("b.wav", "low"), ("c.wav", "high"), ("d.flac", "high"), ("d.wav", "low")]
    assert [(sound.id, "decoded" in reason) for sound, reason in skipped] == [("a.wav", True)]
    names = {"d_2_timeline.csv", "d_2_timeline.png", "d_timeline.csv", "d_timeline.png"}
    assert {path.name for path in (tmp_path / "t").iterdir()} == names
    for r in results:
        alone = classifier.predict(r.sound.path).probabilities
        np.testing.assert_allclose(r.prediction.probabilities, alone, atol=1e-3)
    results, _ = outcome(tmp_path, hop=1.0, timeline=tmp_path / "e")
    assert len(results[3].windows) == 6
    assert len(list((tmp_path / "e").iterdir())) == 8
    with pytest.raises(UserError, match=r"a\.wav: cannot be decoded"):
        outcome(tmp_path / "a.wav")


@pytest.mark.slow
def test_a_run_is_loaded(run: Path, sounds: Path) -> None:
    classifier = Classifier.load(str(run), device="cpu")
    clip = sorted(sounds.glob("train/train/*/*"))[0]
    labels = json.loads((run / "labels.json").read_text())
    assert classifier.classes == labels["classes"] and classifier.framework == "torch"
    p = classifier.predict(clip).probabilities
    np.testing.assert_allclose(p, classifier.forward(extract(clip, classifier.spec)[None])[0], atol=1e-5)


@pytest.mark.slow
def test_a_run_of_an_older_version_predicts_as_before(run: Path, sounds: Path, tmp_path: Path) -> None:
    """Its config.json still has options that were removed, and lacks later ones: it was trained with their defaults."""
    shutil.copytree(run, tmp_path / "older")
    config = json.loads((run / "config.json").read_text())
    gone, later = {"gain": 0.0, "backend": "tensorflow", "alone": False}, ("kernel", "augment", "export")
    options = {name: value for name, value in config["options"].items() if name not in later} | gone
    (tmp_path / "older" / "config.json").write_text(json.dumps(config | {"options": options}))
    clip = sorted(sounds.glob("train/train/*/*"))[0]
    p, older = (Classifier.load(folder).predict(clip).probabilities for folder in (run, tmp_path / "older"))
    np.testing.assert_array_equal(p, older)


@pytest.mark.slow
def test_an_unusable_run_gives_one_clear_line(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--model-dir .*no finished classification run \(config\.json is missing\)"):
        Classifier.load(tmp_path)
    for name in ("config.json", "labels.json", "metrics.json"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    with pytest.raises(UserError, match="cannot be loaded"):
        Classifier.load(tmp_path)
    (tmp_path / "best_model.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="cannot be loaded"):
        Classifier.load(tmp_path)
    config = json.loads((run / "config.json").read_text())
    config["features"]["from_the_future"] = 1
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="of another version"):
        Classifier.load(tmp_path)


@pytest.mark.slow
def test_standard_output_is_only_json(run: Path, sounds: Path, run_script) -> None:
    """One clip, without the packages that only training, plots and the other framework need."""
    clip = sorted((sounds / "test" / "test").iterdir())[0]
    arguments = [PREDICT, "--model-dir", run, "--input", clip, "--json", "--top-k", 2]
    done = run_script("tests/without.py", "tensorflow,keras,matplotlib,pandas,sklearn", *arguments)
    said = json.loads(done.stdout)
    (only,) = said["predictions"]
    assert only["id"] == clip.name and only["label"] == only["top"][0]["label"] and len(only["top"]) == 2
    assert only["label"] in said["classes"] == list(only["probabilities"]) and said["skipped"] == []
    assert sum(only["probabilities"].values()) == pytest.approx(1, abs=1e-4)


@pytest.mark.slow
def test_a_csv_may_list_clips_and_a_long_recording(run: Path, sounds: Path, tmp_path: Path, run_script) -> None:
    clips = sorted((sounds / "test" / "test").iterdir())[:3]
    long = np.concatenate([load_audio(clip, sr=22050, duration=4) for clip in clips])
    sf.write(tmp_path / "street.flac", long, 22050)
    rows = [*map(str, clips), "street.flac", "missing.wav"]
    (tmp_path / "list.csv").write_text("path\n" + "\n".join(rows) + "\n")
    output = tmp_path / "out" / "predictions.csv"
    arguments = ["--model-dir", run, "--input", tmp_path / "list.csv", "--output", output, "--probabilities"]
    said = run_script(PREDICT, *arguments).stdout
    table = list(csv.DictReader(output.open()))
    columns = list(table[0])
    assert columns[:3] == ["ID", "Class", "probability"] and "probability_3" in columns and columns[-1].startswith("p_")
    assert [row["ID"] for row in table] == rows[:4]
    assert "skipped missing.wav: no such file" in said and "1 of 5 files skipped" in said
    assert (tmp_path / "out" / "street_timeline.png").stat().st_size > 10_000
    windows = list(csv.DictReader((tmp_path / "out" / "street_timeline.csv").open()))
    assert [float(row["start"]) for row in windows] == [0, 2, 4, 6, 8]


@pytest.mark.slow
def test_typos_give_one_clear_line(
    run: Path, sounds: Path, tmp_path: Path, run_script, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = sounds / "test" / "test"
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")
    failed = run_script(PREDICT, "--model-dir", run, "--input", bad, "--json", code=2)
    (line,) = failed.stderr.splitlines()
    assert line.startswith(f"error: --input {bad}: cannot be decoded") and failed.stdout == ""
    for arguments, says in (
        (["--model-dir", tmp_path, "--input", folder], "--model-dir .* no finished classification run"),
        (["--model-dir", run, "--input", folder / "no.wav"], "--input .*no such file or folder"),
        (["--model-dir", run, "--input", folder, "--top-k", "0"], "--top-k 0"),
        (["--model-dir", run, "--input", folder, "--n-jobs", "0"], "--n-jobs 0"),
        (["--model-dir", run, "--input", folder, "--hop", "9"], "--hop 9"),
        (["--model-dir", run, "--input", folder, "--output", tmp_path], "--output .* is a folder"),
        (["--model-dir", run, "--input", folder, "--timeline", bad], "--timeline .*bad.wav"),
        (["--model-dir", run, "--input", folder, "--output", bad / "a.csv"], "--output .*bad.wav"),
        (["--model-dir", run, "--input", folder, "--sample-submission", bad], "--sample-submission"),
        (
            ["--model-dir", run, "--input", folder, "--sample-submission", folder / "no"],
            "--sample-submission .*no such",
        ),
    ):
        monkeypatch.setattr(sys, "argv", [PREDICT, *map(str, arguments)])
        with pytest.raises(UserError, match=says):
            predict.main()
