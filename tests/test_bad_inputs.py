"""Damaged files end in one line that names the file, and exit code 2, or they cost only themselves."""

import io
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from shared.features.cache import FeatureCache
from shared.features.spec import PRESETS

PREDICT, CARD, COMMANDS = "classification/predict.py", "generation/card.py", "shared/commands.py"
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 24000)


def sound(format: str, **how: object) -> bytes:
    file = io.BytesIO()
    sf.write(file, NOISE, 8000, format=format, **how)
    return file.getvalue()


def floats(value: float) -> bytes:
    file = io.BytesIO()
    sf.write(file, np.full(8000, value), 8000, format="WAV", subtype="FLOAT")
    return file.getvalue()


def header(field: int, value: bytes) -> bytes:
    """A wav whose header has other bytes at this place."""
    whole = bytearray(sound("WAV"))
    whole[field : field + len(value)] = value
    return bytes(whole)


def vast_flac() -> bytes:
    """A FLAC whose header promises 64 billion samples."""
    whole = bytearray(sound("FLAC"))
    whole[21] |= 0x0F
    return bytes(whole)


AUDIO: dict[str, tuple[bytes, str]] = {  # file -> its content and what the message says
    "empty.wav": (b"", "0 bytes"),
    "text.wav": (b"not a sound\n" * 50, "cannot be decoded"),
    "html.mp3": (b"<!DOCTYPE html><html><body>404</body></html>\n" * 20, "cannot be decoded"),
    "zeros.wav": (bytes(5000), "cannot be decoded"),
    "zeros.mp3": (bytes(5000), "cannot be decoded"),
    "random.ogg": (np.random.default_rng(1).bytes(5000), "cannot be decoded"),
    "random.flac": (np.random.default_rng(2).bytes(5000), "cannot be decoded"),
    "cut.wav": (sound("WAV")[:9000], "truncated"),
    "header.wav": (sound("WAV")[:44], "truncated"),
    "riff.wav": (b"RIFF", "cannot be decoded"),
    "cut.flac": (sound("FLAC")[:15000], "truncated|cannot be decoded"),
    "header.flac": (sound("FLAC")[:60], "truncated|cannot be decoded|no samples"),
    "vast.flac": (vast_flac(), "truncated|cannot be decoded"),
    "cut.ogg": (sound("OGG")[:6000], "truncated"),
    "magic.ogg": (b"OggS", "truncated"),
    "page.ogg": ((whole := sound("OGG"))[: whole.rindex(b"OggS")], "truncated"),
    "cut.mp3": (sound("MP3")[: len(sound("MP3")) // 2], "truncated"),
    "header.mp3": (sound("MP3")[:60], "damaged or cut short"),
    "nan.wav": (floats(np.nan), "NaN"),
    "infinite.wav": (floats(np.inf), "infinite"),
    "loud.wav": (floats(3e38), r"up to 3\.0e\+38"),
    "large.wav": (floats(-2e6), r"up to 2\.0e\+06"),
    "slow.wav": (header(24, (1).to_bytes(4, "little")), "sampling rate of 1 Hz"),
    "no_rate.wav": (header(24, bytes(4)), "cannot be decoded|sampling rate"),
    "fast.wav": (header(24, (2**31 - 1).to_bytes(4, "little")), "sampling rate of 2147483647 Hz"),
    "no_channels.wav": (header(22, bytes(2)), "cannot be decoded"),
    "many_channels.wav": (header(22, b"\xff\xff"), "cannot be decoded"),
    "no_format.wav": (header(20, b"\xff\x7f"), "cannot be decoded"),
    "long.wav": (header(4, b"\xff\xff\xff\x7f"), "truncated"),
    "no_samples.wav": (header(40, bytes(4)), "no samples"),
}
LINKS = {  # name -> how to make it, what the message says
    "pipe.wav": (os.mkfifo, "not a regular file"),
    "folder.wav": (Path.mkdir, "not a regular file"),
    "loop.wav": (lambda path: path.symlink_to(path), "cannot be read|symbolic links|cannot be decoded|no such file"),
    "broken.wav": (lambda path: path.symlink_to("nowhere"), "No such file|no such file"),
    "device.wav": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
}


@pytest.fixture
def bad_sounds(tmp_path: Path) -> Path:
    """A folder of all bad sounds."""
    folder = tmp_path / "sounds" / "siren"
    folder.mkdir(parents=True)
    for name, (content, _) in AUDIO.items():
        (folder / name).write_bytes(content)
    for name, (make, _) in LINKS.items():
        make(folder / name)
    return folder


@pytest.mark.parametrize("name", [*AUDIO, *LINKS])
def test_a_bad_sound_is_named(name: str, bad_sounds: Path, tmp_path: Path) -> None:
    path, reason = bad_sounds / name, (AUDIO | LINKS)[name][1]
    found = FeatureCache(PRESETS["classifier"], tmp_path / "cache").build([path], n_jobs=1, progress=False)
    assert not found.kept and re.search(reason, found.rejects[path])


def test_bad_sounds_cost_only_themselves(bad_sounds: Path, trained: Path, tmp_path: Path, run_script) -> None:
    (bad_sounds / "good.wav").write_bytes(sound("WAV"))
    (bad_sounds / "text.wav").rename(bad_sounds / os.fsdecode(b"text\xff.wav"))
    done = run_script(PREDICT, "--model-dir", trained, "--input", bad_sounds, "--output", tmp_path / "p.csv")
    bad = len(AUDIO) + len(LINKS)
    assert f"{bad} of {bad + 1} files skipped" in done.stdout and "1 rows" in done.stdout
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 2 and "Traceback" not in done.stderr
    cached = run_script(COMMANDS, "cache", "--data-dir", bad_sounds.parent, "--cache-dir", tmp_path / "cache").stdout
    assert f"{bad} files skipped" in cached and "not valid UTF-8" in cached


@pytest.fixture(scope="module")
def trained(sounds: Path, tmp_path_factory: pytest.TempPathFactory, run_script) -> Path:
    """A finished PyTorch run in a folder of its own."""
    folder = tmp_path_factory.mktemp("runs") / "torch"
    arguments = ("--framework", "torch", "--epochs", 1, "--widths", 4, "--dense", 4, "--members", 1)
    run_script("classification/train.py", "--data-dir", sounds, "--out-dir", folder, *arguments)
    return folder


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
def test_a_damaged_description_of_a_classifier(name, content, trained, sounds, tmp_path, refused) -> None:
    run = damage(trained, tmp_path / "run", name, CONTENTS[content])
    line = refused(PREDICT, "--model-dir", run, "--input", sounds / "test" / "test")
    assert line.startswith("error: ") and str(run / name) in line


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
def test_a_damaged_run_is_left_out_of_the_report(name, content, trained, tmp_path, run_script) -> None:
    shutil.copytree(trained, tmp_path / "good")
    damage(trained, tmp_path / "bad", name, CONTENTS[content])
    done = run_script(COMMANDS, "report", "--out-dir", tmp_path)
    assert "Traceback" not in done.stderr and "bad" in done.stdout
    assert "bad" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("content", ["empty", "cut", "binary", "a list", "deep"])
def test_a_damaged_configuration_is_not_resumed(content, trained, sounds, tmp_path, refused) -> None:
    run = damage(trained, tmp_path / "run", "config.json", CONTENTS[content])
    small = ("--framework", "torch", "--epochs", 1, "--widths", 4, "--dense", 4, "--members", 1)
    assert str(run / "config.json") in refused(
        "classification/train.py", "--data-dir", sounds, "--out-dir", run, *small
    )


@pytest.mark.parametrize("content", ["empty", "cut", "binary", "a list"])
@pytest.mark.parametrize("name", ["predictions.csv", "metrics.json"])
def test_damaged_figures_are_not_compared(name, content, trained, tmp_path, refused) -> None:
    run = damage(trained, tmp_path / "run", name, CONTENTS[content])
    if (name, content) == ("predictions.csv", "cut"):
        (run / name).write_text("path,label\na,b\n")
    assert str(run / name) in refused(COMMANDS, "compare", "--runs", run, trained)


class Code:
    """An object that runs code when it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"\x08\x00\x00\x00\x00\x00\x00\x00{}", pickle.dumps(Code()), bytes(10_000)]
)
@pytest.mark.parametrize("name", ["best_model.safetensors", "together.npz"])
def test_damaged_weights_are_named(name, content, trained, sounds, tmp_path, refused, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = damage(trained, tmp_path / "run", "best_model.safetensors", lambda whole: whole)
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
    (tmp_path / "audio" / "fold1" / "1-3-0-0.wav").write_bytes(sound("WAV"))
    (tmp_path / "metadata" / "UrbanSound8K.csv").write_bytes(content)
    line = refused(COMMANDS, "cache", "--data-dir", tmp_path)
    assert "UrbanSound8K.csv" in line and reason in line


def test_labels_that_look_like_numbers_stay_text(tmp_path: Path) -> None:
    from shared.data.datasets import load_dataset

    (tmp_path / "audio" / "fold1").mkdir(parents=True)
    (tmp_path / "audio" / "fold1" / "1-3-0-0.wav").write_bytes(sound("WAV"))
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
def test_a_damaged_sample_submission(table: str, trained, sounds: Path, tmp_path: Path, refused) -> None:
    content, reason = SAMPLE[table]
    (tmp_path / "sample.csv").write_bytes(content)
    wanted = ("--sample-submission", tmp_path / "sample.csv", "--output", tmp_path / "s.csv")
    line = refused(PREDICT, "--model-dir", trained, "--input", sounds / "test" / "test", *wanted)
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
def test_a_damaged_list_of_sounds(table: str, trained, tmp_path: Path, refused) -> None:
    (tmp_path / "list.csv").write_bytes(LISTS[table])
    line = refused(PREDICT, "--model-dir", trained, "--input", tmp_path / "list.csv")
    assert "list.csv" in line or "no such file" in line


def test_a_name_that_is_too_long_costs_only_its_row(trained, tmp_path: Path, run_script) -> None:
    (tmp_path / "good.wav").write_bytes(sound("WAV"))
    (tmp_path / "list.csv").write_text(f"path\n{5000 * 'x'}.wav\ngood.wav\n")
    done = run_script(PREDICT, "--model-dir", trained, "--input", tmp_path / "list.csv")
    assert "good.wav: " in done.stdout and "1 of 2 files skipped" in done.stdout


@pytest.mark.parametrize("content", ["empty", "cut", "binary", "a list", "another object", "deep"])
def test_damaged_origin_of_samples(content, generator, sounds, trained, tmp_path, refused) -> None:
    samples = tmp_path / "samples"
    samples.mkdir()
    (samples / "siren_0.wav").write_bytes(sound("WAV"))
    (samples / "samples.json").write_bytes(CONTENTS[content](b'{"generator": "..", "classes": ["siren"]}'))
    line = refused(
        *("generation/evaluate.py", "--samples", samples, "--reference", sounds, "--classifier", trained), lines=None
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
