"""Damaged runs, models and tables end in one line that names the file, and exit code 2, or cost only themselves."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_sounds import sound

PREDICT, COMMANDS = "classification/predict.py", "shared/commands.py"
SOUND = sound("WAV")


@pytest.fixture(scope="module")
def generator(sounds: Path, tmp_path_factory: pytest.TempPathFactory, run_script) -> Path:
    """A generator after one epoch, with its samples."""
    folder = tmp_path_factory.mktemp("runs") / "cgan"
    small = ("--recipe", "plain", "--epochs", 1, "--bands", 16, "--frames", 32)
    run_script("generation/train_cgan.py", "--data-dir", sounds, "--out-dir", folder, *small)
    return folder


CONTENTS: dict[str, Callable[[bytes], bytes]] = {  # what may have happened to a text file
    "empty": lambda whole: b"",
    "cut": lambda whole: whole[: len(whole) // 2],
    "binary": lambda whole: b"\x00\xff\xfe" + whole[:100],
    "a list": lambda whole: b"[1, 2, 3]",
    "a number": lambda whole: b"3",
    "another object": lambda whole: b'{"a": {"b": 1}}',
    "deep": lambda whole: b"[" * 100_000,
}


def damage(run: Path, target: Path, name: str, content: Callable[[bytes], bytes]) -> Path:
    """A copy of a run folder in which one file has other content."""
    shutil.copytree(run, target)
    (target / name).write_bytes(content((target / name).read_bytes()))
    return target


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", ["config.json", "labels.json"])
def test_a_damaged_description_of_a_classifier(name, content, tiny_classifier, sounds, tmp_path, refused) -> None:
    run = damage(tiny_classifier, tmp_path / "run", name, CONTENTS[content])
    line = refused(PREDICT, "--model-dir", run, "--input", sounds / "test" / "test")
    assert line.startswith("error: ") and str(run / name) in line


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
def test_a_damaged_run_is_left_out_of_the_report(name, content, tiny_classifier, tmp_path, run_script) -> None:
    shutil.copytree(tiny_classifier, tmp_path / "good")
    damage(tiny_classifier, tmp_path / "bad", name, CONTENTS[content])
    done = run_script(COMMANDS, "report", "--out-dir", tmp_path)
    assert "Traceback" not in done.stderr and "bad" in done.stdout
    assert "bad" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("content", ["empty", "cut", "binary", "a list", "deep"])
def test_a_damaged_configuration_is_not_resumed(content, tiny_classifier, sounds, tmp_path, refused) -> None:
    run = damage(tiny_classifier, tmp_path / "run", "config.json", CONTENTS[content])
    small = ("--framework", "torch", "--epochs", 1, "--widths", 4, "--dense", 4, "--members", 1)
    assert str(run / "config.json") in refused(
        "classification/train.py", "--data-dir", sounds, "--out-dir", run, *small
    )


@pytest.mark.parametrize("content", ["empty", "cut", "binary", "a list"])
@pytest.mark.parametrize("name", ["predictions.csv", "metrics.json"])
def test_damaged_figures_are_not_compared(name, content, tiny_classifier, tmp_path, refused) -> None:
    run = damage(tiny_classifier, tmp_path / "run", name, CONTENTS[content])
    if (name, content) == ("predictions.csv", "cut"):
        (run / name).write_text("path,label\na,b\n")
    assert str(run / name) in refused(COMMANDS, "compare", "--runs", run, tiny_classifier)


class Code:
    """An object that runs code when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"\x08\x00\x00\x00\x00\x00\x00\x00{}", pickle.dumps(Code()), bytes(10_000)]
)
@pytest.mark.parametrize("name", ["best_model.safetensors", "together.npz"])
def test_damaged_weights_are_named(name, content, tiny_classifier, sounds, tmp_path, refused, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = damage(tiny_classifier, tmp_path / "run", "best_model.safetensors", lambda whole: whole)
    (run / name).write_bytes(content)
    line = refused(PREDICT, "--model-dir", run, "--input", sounds / "test" / "test")
    assert "cannot be loaded" in line and str(run) in line and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", CONTENTS)
def test_a_damaged_description_of_a_generator(content, generator, tmp_path, refused) -> None:
    run = damage(generator, tmp_path / "run", "generator.json", CONTENTS[content])
    line = refused("generation/sample.py", "--model-dir", run, "--out-dir", tmp_path / "s", "--count", 1)
    assert str(run) in line and "cannot be loaded" in line


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", pickle.dumps(Code()), bytes(10_000)])
def test_damaged_weights_of_a_generator(content, generator, tmp_path, refused, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = damage(generator, tmp_path / "run", "generator.safetensors", lambda whole: content)
    line = refused("generation/sample.py", "--model-dir", run, "--out-dir", tmp_path / "s", "--count", 1)
    assert str(run) in line and "cannot be loaded" in line and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", pickle.dumps(Code()), "code", bytes(10_000)])
def test_a_damaged_state_is_not_resumed(content, generator, sounds, tmp_path, refused, monkeypatch) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    run = damage(generator, tmp_path / "run", "checkpoints/training_state.pt", lambda whole: b"")
    if content == "code":
        torch.save({"epoch": 0, "objective": Code()}, run / "checkpoints/training_state.pt")
    else:
        (run / "checkpoints/training_state.pt").write_bytes(content)
    small = ("--recipe", "plain", "--epochs", 2, "--bands", 16, "--frames", 32)
    line = refused("generation/train_cgan.py", "--data-dir", sounds, "--out-dir", run, *small)
    assert str(run) in line and "--overwrite" in line and "weights_only" not in line
    assert not (tmp_path / "ran").exists()


def test_a_damaged_history_costs_only_its_lines(generator, sounds, tmp_path, run_script) -> None:
    run = damage(generator, tmp_path / "run", "history.jsonl", lambda whole: whole[: len(whole) // 2] + b"\n\xff\n3\n")
    small = ("--recipe", "plain", "--epochs", 2, "--bands", 16, "--frames", 32)
    done = run_script("generation/train_cgan.py", "--data-dir", sounds, "--out-dir", run, *small)
    assert "3 damaged line(s)" in done.stderr
    assert [json.loads(line)["epoch"] for line in (run / "history.jsonl").read_text().splitlines()] == [1]


COLUMNS = "slice_file_name,fsID,start,end,salience,fold,classID,class"
ROW = "1-3-0-0.wav,1,0,4,1,1,3,dog_bark"
URBANSOUND: dict[str, tuple[bytes, str]] = {  # content of UrbanSound8K.csv, what the message says
    "empty": (b"", "cannot be read as CSV"),
    "binary": (b"\x00\xff\xfe\x00" * 50, "UTF-8"),
    "Latin-1": (f"{COLUMNS}\n{ROW}é\n".encode("latin-1"), "not UTF-8"),
    "no columns": (b"a,b\n1,2\n", "lacks the columns"),
    "a column of two lines": (b'"a\nb",c\n1,2\n', "it has a b, c"),
    "no rows": (f"{COLUMNS}\n".encode(), "none of its 0 files"),
    "no name": (f"{COLUMNS}\n{ROW.replace('1-3-0-0.wav', '')}\n".encode(), "line 2 has no slice_file_name"),
    "no class": (f"{COLUMNS}\n{ROW}\n{ROW.replace('dog_bark', ' ')}\n".encode(), "line 3 has no class"),
    "no fold": (f"{COLUMNS}\n{ROW.replace(',1,3,', ',,3,')}\n".encode(), "line 2 has no fold"),
    "other fold": (f"{COLUMNS}\n{ROW.replace(',1,3,', ',../..,3,')}\n".encode(), "not a file of a fold"),
    "outside": (f"{COLUMNS}\n{ROW.replace('1-3', '../../1-3')}\n".encode(), "not a file of a fold"),
    "absolute": (f"{COLUMNS}\n{ROW.replace('1-3', '/etc/1-3')}\n".encode(), "not a file of a fold"),
    "long": (f"{COLUMNS}\n{ROW.replace('1-3', 5000 * 'x')}\n".encode(), "none of its 1 files"),
    "quotes": (f'{COLUMNS}\n"{ROW}\n'.encode(), "cannot be read as CSV"),
}


@pytest.mark.parametrize("table", URBANSOUND)
def test_a_damaged_table_of_urbansound8k(table: str, tmp_path: Path, refused) -> None:
    content, reason = URBANSOUND[table]
    (tmp_path / "metadata").mkdir()
    (tmp_path / "audio" / "fold1").mkdir(parents=True)
    (tmp_path / "audio" / "fold1" / "1-3-0-0.wav").write_bytes(SOUND)
    (tmp_path / "metadata" / "UrbanSound8K.csv").write_bytes(content)
    line = refused(COMMANDS, "cache", "--data-dir", tmp_path)
    assert "UrbanSound8K.csv" in line and reason in line


def test_labels_that_look_like_numbers_stay_text(tmp_path: Path) -> None:
    from shared.data.datasets import load_dataset

    (tmp_path / "audio" / "fold1").mkdir(parents=True)
    (tmp_path / "audio" / "fold1" / "1-3-0-0.wav").write_bytes(SOUND)
    rows = [ROW.replace("dog_bark", label) for label in ("007", "1e5", "NA", "null")]
    (tmp_path / "UrbanSound8K.csv").write_text("\n".join([COLUMNS, *rows]) + "\n")
    assert sorted(load_dataset(tmp_path).manifest.label) == ["007", "1e5", "NA", "null"]


SAMPLE: dict[str, tuple[bytes, str]] = {  # content of sample_submission.csv, what the message says
    "empty": (b"", "cannot be read as CSV"),
    "Latin-1": ("ID,Class\né.wav,x\n".encode("latin-1"), "not UTF-8"),
    "one column": (b"ID\na.wav\n", "has only ID"),
    "ragged": (b"ID,Class\na,b,c,d\ne,f\n", "cannot be read as CSV"),
}


@pytest.mark.parametrize("table", SAMPLE)
def test_a_damaged_sample_submission(table: str, tiny_classifier, sounds: Path, tmp_path: Path, refused) -> None:
    content, reason = SAMPLE[table]
    (tmp_path / "sample.csv").write_bytes(content)
    wanted = ("--sample-submission", tmp_path / "sample.csv", "--output", tmp_path / "s.csv")
    line = refused(PREDICT, "--model-dir", tiny_classifier, "--input", sounds / "test" / "test", *wanted)
    assert "sample.csv" in line and reason in line


LISTS: dict[str, bytes] = {
    "empty": b"",
    "only a header": b"path\n",
    "Latin-1": "path\né.wav\n".encode("latin-1"),
    "zero bytes": b"path\n\x00\x00.wav\n",
    "no such files": b"path\na.wav\nb.wav\n",
    "long names": b"path\n" + 5000 * b"x" + b".wav\n",
}


@pytest.mark.parametrize("table", LISTS)
def test_a_damaged_list_of_sounds(table: str, tiny_classifier, tmp_path: Path, refused) -> None:
    (tmp_path / "list.csv").write_bytes(LISTS[table])
    line = refused(PREDICT, "--model-dir", tiny_classifier, "--input", tmp_path / "list.csv")
    assert "list.csv" in line or "no such file" in line


def test_a_name_that_is_too_long_costs_only_its_row(tiny_classifier, tmp_path: Path, run_script) -> None:
    (tmp_path / "good.wav").write_bytes(SOUND)
    (tmp_path / "list.csv").write_text(f"path\n{5000 * 'x'}.wav\ngood.wav\n")
    done = run_script(PREDICT, "--model-dir", tiny_classifier, "--input", tmp_path / "list.csv")
    assert "good.wav: " in done.stdout and "1 of 2 files skipped" in done.stdout


@pytest.mark.parametrize("content", ["empty", "cut", "binary", "a list", "another object", "deep"])
def test_damaged_origin_of_samples(content, generator, sounds, tiny_classifier, tmp_path, refused) -> None:
    samples = tmp_path / "samples"
    samples.mkdir()
    (samples / "siren_0.wav").write_bytes(SOUND)
    (samples / "samples.json").write_bytes(CONTENTS[content](b'{"generator": "..", "classes": ["siren"]}'))
    line = refused(
        *("generation/evaluate.py", "--samples", samples, "--reference", sounds, "--classifier", tiny_classifier),
        lines=None,
    )
    assert f"{samples / 'samples.json'}: was not written by" in line


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.errors import UserError
    from shared.files import write_text

    (tmp_path / "a.txt").write_text("before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shared.files.os.fsync", full)
    with pytest.raises(UserError, match=rf"disk full: {tmp_path / 'a.txt'}; free some space"):
        write_text(tmp_path / "a.txt", "after")
    assert (tmp_path / "a.txt").read_text() == "before" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["keras", "torch"])
def test_a_diverged_training_names_the_clips(framework: str, sounds: Path, tmp_path: Path, run_script) -> None:
    arguments = ("--framework", framework, "--widths", 4, "--dense", 4, "--learning-rate", 1e30, "--epochs", 2)
    failed = run_script(
        "classification/train.py", "--data-dir", sounds, "--out-dir", tmp_path / "r", *arguments, code=2
    )
    assert "not finite in step" in failed.stderr and str(sounds) in failed.stderr and "Traceback" not in failed.stderr


@pytest.mark.slow
@pytest.mark.long
def test_damaged_and_foreign_keras_models(sounds: Path, tmp_path: Path, run_script) -> None:
    run, model = tmp_path / "run", tmp_path / "run" / "best_model.keras"
    train = ("classification/train.py", "--data-dir", sounds, "--out-dir", run, "--framework", "keras", "--no-refit")
    train += ("--epochs", 2, "--widths", 4, "--dense", 4)
    run_script(*train)
    whole = model.read_bytes()
    test_clip = next(iter(sorted(sounds.glob("test/test/*"))))
    for content, reason in ((whole[: len(whole) // 2], "damaged or cut short"), (b"", "damaged or cut short")):
        model.write_bytes(content)
        failed = run_script(PREDICT, "--model-dir", run, "--input", test_clip, code=2)
        assert f"{model}: is {reason}" in failed.stderr and "Traceback" not in failed.stderr
    code = "import keras; m = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x)]); m.save({!r})"
    run_script("-c", code.format(str(model)))
    failed = run_script("classification/convert.py", "--model-dir", run, "--out-dir", tmp_path / "c", code=2)
    assert "holds code (a Lambda layer)" in failed.stderr and "safe_mode" not in failed.stderr
    (run / "metrics.json").unlink()
    state = run / "checkpoints" / "training_state.npz"
    state.write_bytes(state.read_bytes()[:1000])
    failed = run_script(*train, code=2)
    assert f"{state}: cannot resume" in failed.stderr and "--overwrite" in failed.stderr
