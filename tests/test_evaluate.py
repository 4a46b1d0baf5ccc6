"""generation/evaluate.py: real sounds come near the floor, worse ones further off; what cannot be judged is said."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from safetensors.numpy import load_file

from classification.inference.classifier import Classifier
from generation import evaluate
from generation.evaluation import clips as parts
from generation.evaluation.clips import Embedded
from generation.evaluation.figures import METRICS
from generation.evaluation.notes import notes_on
from generation.rundir import CLIPS, write_clips, write_origin
from shared.audio import load_audio, write_wav
from shared.data.datasets import load_dataset
from shared.data.demo_data import make_demo_data
from shared.errors import UserError
from shared.features.spec import PRESETS
from shared.features.transforms import extract
from shared.files import safe_name, write_json

EVALUATE, TRAIN, CONVERT = "generation/evaluate.py", "classification/train.py", "classification/convert.py"
TINY = ("--recipe", "plain", "--widths", 8, 16, "--dense", 16, "--epochs", 20, "--learning-rate", 0.01)
SPEC = PRESETS["classifier"]


@pytest.fixture(scope="module")
def run(sounds: Path, tmp_path_factory: pytest.TempPathFactory, run_script) -> Path:
    """A small classifier of the quicker framework, which knows the sounds it was trained on."""
    folder = tmp_path_factory.mktemp("runs") / "torch"
    run_script(TRAIN, "--framework", "torch", "--data-dir", sounds, "--out-dir", folder, *TINY)
    return folder


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    """Sounds like the reference's, of other recordings: (label, file)."""
    folder = tmp_path_factory.mktemp("others") / "data"
    make_demo_data(folder, seed=5, recordings=4, slices=2, test_recordings=1, test_slices=1)
    return [(path.parent.name, path) for path in sorted(folder.glob("train/train/*/*"))]


@pytest.fixture
def judged(run: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run the entry in this process: what it wrote."""

    def judge(samples: Path, *options: object, reference: Path = sounds, classifier: Path = run) -> dict[str, Any]:
        arguments = [
            "--samples",
            samples,
            "--reference",
            reference,
            "--classifier",
            classifier,
            "--n-jobs",
            1,
            *options,
        ]
        monkeypatch.setattr("sys.argv", ["evaluate.py", *map(str, arguments)])
        evaluate.main()
        output = options[1] if "--output" in options else samples / "evaluation.json"
        return json.loads(output.read_text())

    return judge


def write_samples(folder: Path, clips: list[tuple[str, Path]], *, noise: float = 0.0) -> Path:
    """<label>_<n>.wav with noise of so many times the clip's level, as generation/sample.py names its sounds."""
    rng = np.random.default_rng(0)
    for i, (label, path) in enumerate(clips):
        y = load_audio(path, sr=22050)
        write_wav(folder / f"{label}_{i:02d}.wav", y + noise * y.std() * rng.standard_normal(len(y)), 22050)
    return folder


def stub(classes: tuple[str, ...] = ("chirp", "hum")) -> Classifier:
    """A classifier without a framework: its features are the mean levels of 16 stripes of bands."""

    def features(x: np.ndarray) -> np.ndarray:
        return x.reshape(len(x), 16, -1).mean(axis=2)

    return Classifier(lambda x: np.full((len(x), 2), 0.5), classes, SPEC, load_features=lambda: features)


def embedded(manifest: pd.DataFrame) -> Embedded:
    rng = np.random.default_rng(0)
    return Embedded(
        manifest, rng.standard_normal((len(manifest), 4)), np.full((len(manifest), 2), 0.5), ["chirp", "hum"]
    )


def test_better_sounds_are_judged_better(judged, others, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = judged(write_samples(tmp_path / "good", others))
    bad = judged(write_samples(tmp_path / "bad", others, noise=3.0))
    for name in ("frechet", "frechet_infinity", "frechet_by_label", "kernel_distance"):
        row = good["metrics"][name]
        assert row["better"] == "lower" and max(row["floor"], row["samples"]) < row["ceiling"]
    for name, sign in (("frechet", 1), ("kernel_distance", 1), ("coverage", -1)):
        assert sign * good["metrics"][name]["samples"] < sign * bad["metrics"][name]["samples"]
    assert good["clips"] == {"samples": 40, "train": 20, "heard": 40, "floor": 20, "features": 16}
    assert {label: row["clips"] for label, row in good["by_label"]["samples"].items()} == dict.fromkeys(
        ("dog_bark", "drilling", "engine_idling", "siren", "street_music"), 8
    )
    said = capsys.readouterr().out
    assert all(title in said and row["better"] in said for title, row in zip_titles(good))
    assert "the floor has 20 clips, the samples 40" in said and "flatters" in said and "FEWER" not in said


def zip_titles(evaluation: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(title, evaluation["metrics"][name]) for name, (title, _) in METRICS.items()]


def test_copies_are_found(judged, sounds: Path, others, tmp_path: Path) -> None:
    (tmp_path / "copies").mkdir()
    for i, path in enumerate(sorted(sounds.glob("train/train/*/*"))):
        shutil.copy(path, tmp_path / "copies" / f"{path.parent.name}_{i}{path.suffix}")
    copied, new = judged(tmp_path / "copies"), judged(write_samples(tmp_path / "new", others))
    share = copied["metrics"]["copies"]
    assert share["samples"] == 1.0 and share["floor"] < 0.2 and share["samples"] > new["metrics"]["copies"]["samples"]
    assert copied["closest"][0]["distance"] < 1e-4 < new["closest"][0]["distance"]
    assert Path(copied["closest"][0]["sample"]).parent == tmp_path / "copies"


def test_every_clip_that_was_trained_on_is_searched_for_copies(judged, sounds: Path, tmp_path: Path) -> None:
    last = {sorted(p.name for p in folder.iterdir())[-1].split("-")[0] for folder in sounds.glob("train/train/*")}
    dataset = load_dataset(sounds)
    generator = tmp_path / "gan"
    write_json(generator / "generator.json", {})
    write_clips(generator, dataset, [p for p in dataset.manifest.path if p.name.split("-")[0] not in last])
    samples = tmp_path / "samples"
    samples.mkdir()
    for i, path in enumerate(dataset.manifest.path):
        shutil.copy(path, samples / f"{path.parent.name}_{i}{path.suffix}")
    write_origin(samples, generator, sorted(dataset.manifest.label.unique()))
    found = judged(samples)
    assert found["has_floor"] and found["generator"] == str(generator)
    assert (found["clips"]["heard"], found["clips"]["floor"], found["clips"]["train"]) == (30, 10, 30)
    assert found["metrics"]["copies"]["samples"] >= 0.75  # all 30 that it heard, and none of them by halves
    assert not [note for note in found["notes"] if "copies are searched for" in note]


def test_without_unheard_recordings_there_is_no_floor(
    judged, sounds: Path, others, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = load_dataset(sounds)
    write_json(tmp_path / "gan" / "generator.json", {})
    write_clips(tmp_path / "gan", dataset, dataset.manifest.path)
    found = judged(
        write_samples(tmp_path / "s", others), "--output", tmp_path / "o.json", "--generator", tmp_path / "gan"
    )
    assert not found["has_floor"] and found["clips"]["floor"] == 0 and found["clips"]["heard"] == 40
    assert all(row["floor"] is None for row in found["metrics"].values())
    assert found["metrics"]["copies"]["samples"] is None and found["metrics"]["frechet"]["samples"] > 0
    assert any("there is no floor" in note and "--holdout-share" in note for note in found["notes"])
    assert "there is no floor" in capsys.readouterr().out
    (tmp_path / "gan" / CLIPS).unlink()  # as runs of an older version are
    older = judged(tmp_path / "s", "--output", tmp_path / "p.json", "--generator", tmp_path / "gan")
    assert older["has_floor"] and any("does not say what it was trained on" in note for note in older["notes"])
    with pytest.raises(UserError, match=r"--generator .*: no trained generator"):
        judged(tmp_path / "s", "--generator", sounds)


def test_labels_are_found_again_in_file_names(tmp_path: Path) -> None:
    labels = ["dog/bark", "a: b", "plain_1"]
    for label in labels:
        write_wav(tmp_path / f"{safe_name(label)}_07.wav", np.zeros(100), 22050)
    assert sorted(parts.list_samples(tmp_path, labels).label) == sorted(labels)


def test_unlabelled_sounds(judged, others, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Music, say: no label on either side, longer than the classifier's window; the rest of the figures stand."""
    for folder, clips in (("new", others[:12]), ("music", others[12:])):
        (tmp_path / folder).mkdir()
        for i in range(0, len(clips), 2):
            y = np.concatenate([load_audio(path, sr=22050) for _, path in clips[i : i + 2]] * 2)
            write_wav(tmp_path / folder / f"piece {i}.wav", y, 22050)
    evaluation = judged(tmp_path / "new", "--output", tmp_path / "o.json", reference=tmp_path / "music")
    rows = evaluation["metrics"]
    assert [rows["accuracy"][column] for column in ("samples", "floor", "ceiling")] == [None, None, None]
    known = {name: row for name, row in rows.items() if name != "accuracy"}
    assert all(isinstance(row[column], float) for row in known.values() for column in ("samples", "floor", "ceiling"))
    assert not (tmp_path / "new" / "evaluation.json").exists()
    said = capsys.readouterr().out
    assert "share no label" in said and "knows no class (no label)" in said and "into windows of" in said
    assert "flatters" not in said  # another reference than the classifier's


def test_one_class_is_compared_with_its_own(judged, others, tmp_path: Path) -> None:
    evaluation = judged(write_samples(tmp_path / "s", [clip for clip in others if clip[0] == "siren"]))
    assert evaluation["clips"]["train"] == 4 and list(evaluation["by_label"]["floor"]) == ["siren"]
    assert any("FEWER CLIPS THAN FEATURES" in note for note in evaluation["notes"])
    assert evaluation["metrics"]["precision"]["samples"] is None  # needs more than five train clips


def test_names_tell_the_labels(tmp_path: Path) -> None:
    names = {"dog_bark_03": "dog_bark", "siren_ep12": "siren", "class_1_007": "class_1", "3_00": "3", "piece": ""}
    for name in names:
        write_wav(tmp_path / f"{name}.wav", np.zeros(100), 22050)
    found = parts.list_samples(tmp_path)
    assert {path.stem: label for path, label in zip(found.path, found.label, strict=True)} == names
    write_wav(tmp_path / "classes" / "hum" / "a.wav", np.zeros(100), 22050)
    assert parts.list_samples(tmp_path / "classes").label.tolist() == ["hum"]


def test_halves_keep_recordings_apart_and_the_floor_matches(sounds: Path) -> None:
    real = embedded(load_dataset(sounds).manifest.assign(heard=False, unheard=False))
    heard, train, held = parts.divide(real, seed=0)
    assert len(train) + len(held) == len(heard) and not set(train.manifest.group) & set(held.manifest.group)
    assert set(train.manifest.label) == set(held.manifest.label)
    wanted = {"dog_bark": 3, "siren": 1}
    samples = embedded(pd.DataFrame({"label": [label for label, n in wanted.items() for _ in range(n)]}))
    floor = parts.matching(held, samples, seed=0)
    assert floor.manifest.label.value_counts().to_dict() == wanted
    assert set(floor.manifest.path) <= set(held.manifest.path)
    unlabelled = embedded(pd.DataFrame({"label": [""] * 7}))
    assert len(parts.matching(held, unlabelled, seed=0)) == 7
    with pytest.raises(UserError, match="one recording"):
        parts.divide(embedded(real.manifest.assign(group="same")), seed=0)


def test_noise_is_as_long_and_as_loud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    t = np.arange(11025) / 22050
    write_wav(tmp_path / "a.wav", 0.3 * np.sin(2 * np.pi * 440 * t), 22050)
    seen = []
    monkeypatch.setitem(parts.TRANSFORMS, "log_mel", lambda y, spec: seen.append(y) or np.zeros(spec.shape))
    noise = parts.embed_noise(stub(), ["hum", "hum", "chirp"], [tmp_path / "a.wav"], seed=0)
    assert noise.manifest.label.tolist() == ["hum", "hum", "chirp"] and len(noise.features) == 3
    for y in seen:
        assert len(y) == SPEC.n_samples and not y[11025:].any()
        assert np.sqrt(np.mean(y[:11025] ** 2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)
    assert np.abs(np.corrcoef(seen)[0, 1]) < 0.05


def test_noise_has_the_band_of_the_sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_wav(tmp_path / "a.wav", 0.3 * np.sin(np.arange(4000)), 4000)
    seen = []
    monkeypatch.setitem(parts.TRANSFORMS, "log_mel", lambda y, spec: seen.append(y) or np.zeros(spec.shape))
    parts.embed_noise(stub(), ["hum"], [tmp_path / "a.wav"], seed=0)
    power = np.abs(np.fft.rfft(seen[0])) ** 2
    cut = len(power) * 4000 // SPEC.sr
    assert power[cut:].sum() < 0.01 * power.sum()


def test_a_lower_rate_than_the_reference_is_noted(tmp_path: Path) -> None:
    def at(sr: int) -> Embedded:
        write_wav(tmp_path / f"{sr}.wav", 0.3 * np.sin(np.arange(2 * sr)), sr)
        return embedded(pd.DataFrame({"path": [tmp_path / f"{sr}.wav"], "label": "hum", "group": "a", "offset": 0.0}))

    def notes(made: Embedded, real: Embedded) -> str:
        return " ".join(notes_on(made, real, real, classifier=stub(), common={"hum"}))

    low, high = at(3150), at(11025)
    assert "3150 Hz" in notes(low, high) and "3150 Hz" not in notes(low, low) + notes(high, low)


def test_features_are_what_the_last_layer_is_given(run: Path, sounds: Path) -> None:
    classifier, weights = Classifier.load(run, device="cpu"), load_file(run / "best_model.safetensors")
    x = [extract(path, classifier.spec) for path in sorted(sounds.glob("train/train/*/*"))[:6]]
    features = classifier.features(x)
    last = max(name for name in weights if ".head." in name and name.endswith("weight"))
    logits = features @ weights[last].T + weights[last.replace("weight", "bias")]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert features.shape == (6, 16) and np.ptp(features, axis=0).max() > 0
    np.testing.assert_allclose(p, classifier.probabilities(x), atol=1e-5)


def test_bad_input_is_one_line(judged, run: Path, sounds: Path, others, tmp_path: Path, run_script) -> None:
    samples = write_samples(tmp_path / "s", others[:3])
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "siren_0.wav").write_bytes(b"no sound")
    sf.write(tmp_path / "lone.wav", np.zeros(100), 22050)
    for arguments, message in (
        ({"samples": tmp_path / "missing"}, "^--samples .*missing: no such folder"),
        ({"samples": tmp_path / "empty"}, "^--samples .*empty: no labelled sounds"),
        ({"samples": tmp_path / "broken"}, "^--samples .*broken: none of 1 files is usable"),
        ({"reference": tmp_path / "empty"}, "^--reference .*empty: no labelled sounds"),
        ({"classifier": sounds}, "^--classifier .*: no finished classification run"),
    ):
        with pytest.raises(UserError, match=message):
            judged(**{"samples": samples} | arguments)
    for options, message in ((("--output", tmp_path), "is a folder"), (("--max-clips", 1), "must be 10 or more")):
        with pytest.raises(UserError, match=message):
            judged(samples, *options)
    failed = run_script(EVALUATE, "--samples", samples, "--reference", sounds, "--classifier", tmp_path, code=2)
    assert failed.stderr.startswith("error: --classifier") and failed.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_twins_judge_alike(sounds: Path, others, tmp_path: Path, run_script) -> None:
    """Each with the other framework not installed."""
    samples = write_samples(tmp_path / "s", others[::2])
    run_script(TRAIN, "--framework", "keras", "--data-dir", sounds, "--out-dir", tmp_path / "keras", *TINY)
    run_script(CONVERT, "--model-dir", tmp_path / "keras", "--out-dir", tmp_path / "torch")
    rows = []
    for framework, hidden in (("keras", "torch,torchaudio,accelerate"), ("torch", "tensorflow,keras")):
        output = tmp_path / f"{framework}.json"
        arguments = ["--samples", samples, "--reference", sounds, "--classifier", tmp_path / framework]
        run_script("tests/without.py", hidden, EVALUATE, *arguments, "--output", output)
        rows.append(json.loads(output.read_text())["metrics"])
    for name, row in rows[0].items():
        assert rows[1][name] == {
            k: pytest.approx(v, rel=1e-2, abs=1e-3) if k not in ("name", "better") else v for k, v in row.items()
        }
