"""generation/evaluate.py: noisier sounds score worse, copies are found, and notes explain missing figures."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from backbones import WIDTH, save_onnx
from safetensors.numpy import load_file, save_file

from classification.inference.classifier import Classifier
from generation import evaluate
from generation.evaluation.figures import METRICS
from generation.rundir import CLIPS, write_clips, write_origin
from shared.audio import load_audio, write_wav
from shared.data.datasets import load_dataset
from shared.data.demo_data import make_demo_data
from shared.errors import UserError
from shared.features.spec import PRESETS
from shared.features.transforms import extract
from shared.files import write_json

EVALUATE, TRAIN, CONVERT = "generation/evaluate.py", "classification/train.py", "classification/convert.py"
TINY = ("--recipe", "plain", "--widths", 8, 16, "--dense", 16, "--epochs", 20, "--learning-rate", 0.01)


@pytest.fixture(scope="module")
def run(sounds: Path, tmp_path_factory: pytest.TempPathFactory, run_script) -> Path:
    """A small classifier of the faster framework, trained on the reference."""
    folder = tmp_path_factory.mktemp("runs") / "torch"
    run_script(TRAIN, "--framework", "torch", "--data-dir", sounds, "--out-dir", folder, *TINY)
    return folder


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path]]:
    """Sounds like the reference's from other recordings: (label, file)."""
    folder = tmp_path_factory.mktemp("others") / "data"
    make_demo_data(folder, seed=5, recordings=4, slices=2, test_recordings=1, test_slices=1)
    return [(path.parent.name, path) for path in sorted(folder.glob("train/train/*/*"))]


@pytest.fixture
def evaluated(run: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Run the entry in this process and return what it wrote."""

    def run_evaluate(samples: Path, *options: object, reference: Path = sounds, classifier: Path | None = run) -> Any:
        given = ("--samples", samples, "--reference", reference, "--n-jobs", 1)
        given += ("--classifier", classifier) if classifier else ()
        monkeypatch.setattr("sys.argv", ["evaluate.py", *map(str, given + options)])
        evaluate.main()
        output = options[1] if "--output" in options else samples / "evaluation.json"
        return json.loads(output.read_text())

    return run_evaluate


def write_samples(folder: Path, clips: list[tuple[str, Path]], *, noise: float = 0.0) -> Path:
    """Write clips as <label>_<n>.wav, as generation/sample.py does, with added noise, relative to a clip's level."""
    rng = np.random.default_rng(0)
    for i, (label, path) in enumerate(clips):
        y = load_audio(path, sr=22050)
        write_wav(folder / f"{label}_{i:02d}.wav", y + noise * y.std() * rng.standard_normal(len(y)), 22050)
    return folder


def test_noisier_sounds_score_worse(evaluated, others, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = evaluated(write_samples(tmp_path / "good", others))
    bad = evaluated(write_samples(tmp_path / "bad", others, noise=3.0))
    for name in ("frechet", "frechet_infinity", "frechet_by_label", "kernel_distance"):
        row = good["metrics"][name]
        assert row["better"] == "lower" and max(row["floor"], row["samples"]) < row["ceiling"]
    for name, sign in (("frechet", 1), ("kernel_distance", 1), ("coverage", -1)):
        assert sign * good["metrics"][name]["samples"] < sign * bad["metrics"][name]["samples"]
    counts = {"samples": 40, "real": 20, "trained_on": 40, "floor": 20, "vocoded_training": 0, "vocoded_floor": 0}
    assert good["clips"] == counts and any("no real clips were passed through" in note for note in good["notes"])
    assert {label: row["clips"] for label, row in good["by_label"]["samples"].items()} == dict.fromkeys(
        ("dog_bark", "drilling", "engine_idling", "siren", "street_music"), 8
    )
    said = capsys.readouterr().out
    assert all(title in said and better in said for title, better in METRICS.values())
    assert said.splitlines()[0].split() == ["samples", "real", "held-out", "noise", "better"]
    change = good["frame_change"]["all"], bad["frame_change"]["all"]
    assert change[0]["samples"] == pytest.approx(change[0]["real"], rel=0.3) and change[0] != change[1]
    assert "only 20 real held-out clips for 40 samples" in said and "is too high" in said and "FEWER" not in said


def test_distances_in_the_space_of_a_backbone(evaluated, others, tmp_path: Path, capsys, refused) -> None:
    model = ("--backbone-path", save_onnx(tmp_path / "m.onnx", shape=(1, 4000)))
    good, bad = (
        evaluated(write_samples(tmp_path / f"noise-{noise}", others, noise=noise), *model, "--backbone-sr", 8000)
        for noise in (0.0, 10.0)
    )
    assert good["backbone"]["backbone"] == "m.onnx" and good["backbone"]["features"] == WIDTH
    for name in ("frechet", "kernel_distance"):
        assert set(good["backbone"][name]) == {"samples", "vocoded_training", "vocoded_floor", "floor", "ceiling"}
        assert good["backbone"][name]["vocoded_floor"] is None and good["backbone"][name]["floor"] is not None
    assert good["backbone"]["frechet"] != bad["backbone"]["frechet"]
    assert "In the space of m.onnx, means of 4 values" in capsys.readouterr().out
    given = ("--samples", tmp_path, "--reference", tmp_path, "--classifier", tmp_path)
    assert "--backbone-sr: is missing" in refused(EVALUATE, *given, *model)
    assert "--backbone-path: is missing" in refused(EVALUATE, *given, "--backbone-sr", 8000)


def test_copies_are_found(evaluated, sounds: Path, others, tmp_path: Path) -> None:
    (tmp_path / "copies").mkdir()
    for i, path in enumerate(sorted(sounds.glob("train/train/*/*"))):
        shutil.copy(path, tmp_path / "copies" / f"{path.parent.name}_{i}{path.suffix}")
    copied, new = (
        evaluated(folder)["copies"] for folder in (tmp_path / "copies", write_samples(tmp_path / "new", others))
    )
    assert copied["all"]["samples"] == {"clips": 40, "share": 1.0}
    assert copied["all"]["floor"]["share"] < 0.6 > new["all"]["samples"]["share"]
    assert set(copied["by_label"]) == {"dog_bark", "drilling", "engine_idling", "siren", "street_music"}
    assert copied["closest"][0]["similarity"] > 0.999 > new["closest"][0]["similarity"]
    assert Path(copied["closest"][0]["sample"]).parent == tmp_path / "copies"
    assert Path(copied["closest"][0]["sample"]).read_bytes() == Path(copied["closest"][0]["real"]).read_bytes()


def test_copies_are_looked_for_among_the_generators_training_clips(evaluated, sounds: Path, tmp_path: Path) -> None:
    last = {sorted(p.name for p in folder.iterdir())[-1].split("-")[0] for folder in sounds.glob("train/train/*")}
    dataset = load_dataset(sounds)
    generator = tmp_path / "gan"
    spec = dataclasses.replace(PRESETS["cgan"], duration=1.0, frames=None)
    write_json(generator / "generator.json", {"features": dataclasses.asdict(spec)})
    write_clips(generator, dataset, [p for p in dataset.manifest.path if Path(p).name.split("-")[0] not in last])
    samples = tmp_path / "samples"
    samples.mkdir()
    for i, path in enumerate(map(Path, dataset.manifest.path)):
        shutil.copy(path, samples / f"{path.parent.name}_{i}{path.suffix}")
    write_origin(samples, generator, sorted(dataset.manifest.label.unique()))
    found = evaluated(samples)
    assert found["has_floor"] and found["generator"] == str(generator)
    assert (found["clips"]["trained_on"], found["clips"]["floor"], found["clips"]["real"]) == (30, 10, 30)
    assert 0.75 <= found["copies"]["all"]["samples"]["share"] < 1  # 30 of the 40 samples are training clips
    assert not [note for note in found["notes"] if "all clips of the reference" in note]
    assert (found["clips"]["vocoded_training"], found["clips"]["vocoded_floor"]) == (30, 10)
    vocoded, untouched = ([row[key] for row in found["metrics"].values()] for key in ("vocoded_floor", "floor"))
    assert vocoded != untouched and isinstance(vocoded[0], float)
    accuracy, share = found["metrics"]["accuracy"], found["accuracy_share"]
    assert (
        share["all"] == pytest.approx(accuracy["samples"] / accuracy["vocoded_floor"]) and len(share["by_label"]) == 5
    )


def test_without_held_out_recordings_there_is_no_floor(
    evaluated, sounds: Path, others, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = load_dataset(sounds)
    write_json(tmp_path / "gan" / "generator.json", {})
    write_clips(tmp_path / "gan", dataset, dataset.manifest.path)
    found = evaluated(
        write_samples(tmp_path / "s", others), "--output", tmp_path / "o.json", "--generator", tmp_path / "gan"
    )
    assert not found["has_floor"] and found["clips"]["floor"] == 0 and found["clips"]["trained_on"] == 40
    assert all(row["floor"] is None for row in found["metrics"].values())
    assert found["copies"]["all"]["floor"] == {"clips": 0, "share": None}
    assert found["copies"]["all"]["samples"]["share"] < 1 and found["metrics"]["frechet"]["samples"] > 0
    assert any("no figures of real held-out clips" in note and "--holdout-share" in note for note in found["notes"])
    assert "no figures of real held-out clips" in capsys.readouterr().out
    (tmp_path / "gan" / CLIPS).write_text("path,label,recording,clip,heard\n")  # of an older version
    older = evaluated(tmp_path / "s", "--output", tmp_path / "p.json", "--generator", tmp_path / "gan")
    assert older["has_floor"] and any("does not say which clips it was trained on" in note for note in older["notes"])
    with pytest.raises(UserError, match=r"--generator .*: no trained generator"):
        evaluated(tmp_path / "s", "--generator", sounds)


def test_unlabelled_sounds_have_every_figure_but_the_accuracy(
    evaluated, others, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sounds are also longer than a window."""
    for folder, clips in (("new", others[:12]), ("music", others[12:])):
        (tmp_path / folder).mkdir()
        for i in range(0, len(clips), 2):
            y = np.concatenate([load_audio(path, sr=22050) for _, path in clips[i : i + 2]] * 2)
            write_wav(tmp_path / folder / f"piece {i}.wav", y, 22050)
    evaluation = evaluated(tmp_path / "new", "--output", tmp_path / "o.json", reference=tmp_path / "music")
    rows = evaluation["metrics"]
    assert [rows["accuracy"][column] for column in ("samples", "floor", "ceiling")] == [None, None, None]
    known = {name: row for name, row in rows.items() if name != "accuracy"}
    assert known["coverage_of_held_out"].pop("floor") is None  # they are the held-out clips
    assert all(
        isinstance(row.get(column, 0.0), float) for row in known.values() for column in ("samples", "floor", "ceiling")
    )
    assert not (tmp_path / "new" / "evaluation.json").exists()
    said = capsys.readouterr().out
    assert "share no label" in said and "does not have: (no label)" in said and "into windows of" in said
    assert "is too high" not in said  # the classifier was trained on other data


def test_samples_of_one_class_are_compared_with_that_class(evaluated, others, tmp_path: Path) -> None:
    evaluation = evaluated(write_samples(tmp_path / "s", [clip for clip in others if clip[0] == "siren"]))
    assert evaluation["clips"]["real"] == 4 and list(evaluation["by_label"]["floor"]) == ["siren"]
    assert any("FEWER CLIPS THAN FEATURES" in note for note in evaluation["notes"])
    assert evaluation["metrics"]["precision"]["samples"] is None  # needs more than five real clips


def test_features_are_the_last_layers_inputs(run: Path, sounds: Path) -> None:
    classifier, weights = Classifier.load(run, device="cpu"), load_file(run / "best_model.safetensors")
    x = [extract(path, classifier.spec) for path in sorted(sounds.glob("train/train/*/*"))[:6]]
    features, probabilities = classifier.embed(x)
    last = max(name for name in weights if ".head." in name and name.endswith("weight"))
    logits = features @ weights[last].T + weights[last.replace("weight", "bias")]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert features.shape == (6, 16) and np.ptp(features, axis=0).max() > 0
    np.testing.assert_allclose(p, probabilities, atol=1e-5)
    np.testing.assert_array_equal(probabilities, classifier.probabilities(x))


def test_bad_input_gives_one_clear_line(evaluated, run: Path, sounds: Path, others, tmp_path: Path, run_script) -> None:
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
            evaluated(**{"samples": samples} | arguments)
    for options, message in ((("--output", tmp_path), "is a folder"), (("--max-clips", 1), "must be 10 or more")):
        with pytest.raises(UserError, match=message):
            evaluated(samples, *options)
    failed = run_script(EVALUATE, "--samples", samples, "--reference", sounds, "--classifier", tmp_path, code=2)
    assert failed.stderr.startswith("error: --classifier") and failed.stderr.count("\n") == 1


def test_several_classifiers_have_their_own_figures_and_a_mean(
    evaluated, run: Path, others, sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is computed in its own process; the second one chose the samples."""
    judge = shutil.copytree(run, tmp_path / "judge")
    weights = load_file(judge / "best_model.safetensors")
    save_file(
        {name: 1.1 * v if v.dtype.kind == "f" else v for name, v in weights.items()}, judge / "best_model.safetensors"
    )
    samples = write_samples(tmp_path / "s", others[::2])
    write_json(tmp_path / "gan" / "generator.json", {})
    write_origin(samples, tmp_path / "gan", [], best_of_classifier=judge)
    found = evaluated(samples, "--classifier", run, judge, classifier=None)
    first, second = (scorer["metrics"]["kernel_distance"]["samples"] for scorer in found["scorers"])
    assert first != second and found["metrics"]["kernel_distance"]["samples"] == pytest.approx((first + second) / 2)
    assert [scorer["name"] for scorer in found["scorers"]] == [run.name, "judge"]
    assert any("classifier judge CHOSE THE SAMPLES" in note for note in found["notes"])
    said = capsys.readouterr().out
    assert "Means of 2 classifiers" in said and "judge (torch, plain, features classifier, seed 0)" in said


@pytest.mark.slow
@pytest.mark.long
def test_both_frameworks_give_the_same_figures(sounds: Path, others, tmp_path: Path, run_script) -> None:
    """Each runs while the other framework is not installed."""
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
            k: pytest.approx(v, rel=1e-2, abs=1e-3) if isinstance(v, float) else v for k, v in row.items()
        }
