"""IDs name files of the test folder only, in the order of the sample; runs are averaged into one submission."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from classification.inference import submission
from classification.inference.classifier import Classifier
from classification.inference.test_set import (
    find_file,
    labels_of,
    predict_test_set,
    read_probabilities,
    wanted_ids,
    write_probabilities,
    write_submission,
)
from shared.errors import UserError
from shared.features.cache import FeatureCache
from shared.features.spec import PRESETS
from shared.files import write_json

CLASSES = ["loud_low", "loud_high"]
SPEC = PRESETS["classifier"]


def louder_half(x: np.ndarray) -> np.ndarray:
    """A stand-in classifier that picks the louder half of the mel bands."""
    low, high = x[:, :64].mean(axis=(1, 2)), x[:, 64:].mean(axis=(1, 2))
    return np.stack([low > high, low <= high], axis=1).astype(float)


def wanted(*ids: str) -> pd.DataFrame:
    """The rows of a submission, as wanted_ids returns them."""
    return pd.DataFrame({"ID": ids, "Class": ""})


def predicted(wanted: pd.DataFrame, folder: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    classifier = Classifier(louder_half, CLASSES, SPEC, most_frequent="dog")
    return predict_test_set(wanted, folder, classifier, FeatureCache(SPEC))


@pytest.fixture
def folder(tmp_path: Path, sounds: Path) -> Path:
    shutil.copytree(sounds / "test" / "test", tmp_path / "test")
    (tmp_path / "secret.wav").write_bytes(next(sounds.glob("train/train/*/*.wav")).read_bytes())
    (tmp_path / "test" / "text.wav").write_text("no sound")
    (tmp_path / "test" / "link.wav").symlink_to(tmp_path / "secret.wav")
    return tmp_path / "test"


def test_the_order_and_columns_of_the_sample_are_kept(folder: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in folder.glob("clip_*"))[::-1]
    sample = tmp_path / "sample.csv"
    sample.write_text("File,Kind\n" + "".join(f"{name},x\n" for name in names))
    table, failed = predicted(wanted_ids([], sample), folder)
    assert list(table.columns) == ["File", "Kind", "p_loud_low", "p_loud_high"] and not failed
    assert table.File.tolist() == names
    one_by_one = [predicted(wanted(name), folder)[0] for name in names]
    assert table.Kind.tolist() == [single.Class[0] for single in one_by_one]


def test_ids_never_leave_the_folder(folder: Path) -> None:
    for clip_id in ("../secret.wav", "a/../../secret.wav", "/etc/passwd", "C:\\secret.wav", "..\\secret.wav", "", "."):
        assert isinstance(find_file(folder, clip_id), str), clip_id
    assert "link out" in find_file(folder, "link.wav")
    assert isinstance(find_file(folder, str(folder.resolve().parent / "secret.wav")), str)
    first = sorted(folder.glob("clip_*"))[0]
    assert find_file(folder, first.name) == first and find_file(folder, first.stem) == first


def test_unreadable_clips_fall_back_and_are_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    good = sorted(folder.glob("clip_*"))[0].name
    ids = [good, "text.wav", "missing.wav", "../secret.wav", good]
    table, failed = predicted(wanted(*ids), folder)
    assert table.ID.tolist() == ids and table.Class.tolist()[1:4] == ["dog"] * 3
    assert table.Class[0] in CLASSES and table.Class[0] == table.Class[4]
    assert table.p_loud_low.isna().tolist() == [False, True, True, True, False]
    assert failed.keys() == {"text.wav", "missing.wav", "../secret.wav"}
    write_submission(tmp_path / "s.csv", table, failed)
    assert pd.read_csv(tmp_path / "s.csv").columns.tolist() == ["ID", "Class"]
    said = capsys.readouterr().out
    assert all(clip_id in said for clip_id in failed) and "5 rows" in said and "3 of them" in said


def test_without_a_sample_all_files_are_listed_in_order(tmp_path: Path) -> None:
    pd.testing.assert_frame_equal(wanted_ids([Path("b.wav"), Path("a.wav")], None), wanted("a.wav", "b.wav"))


def test_a_sample_without_a_class_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("ID\na\n")
    with pytest.raises(UserError, match="expected an ID and a class column"):
        wanted_ids([], tmp_path / "s.csv")
    with pytest.raises(UserError, match="cannot be read"):
        wanted_ids([], tmp_path / "none.csv")


def a_table(p: list[float], averaged: list[float] | None = None) -> pd.DataFrame:
    """Probabilities of the class "a" of three clips, as predict_test_set returns them; NaN is an unreadable clip."""
    table = pd.DataFrame({"ID": ["1", "NA", "3"], "Class": "b", "p_a": p, "p_b": 1 - np.array(p)})
    return table if averaged is None else table.assign(together_a=averaged, together_b=1 - np.array(averaged))


def a_run(folder: Path, table: pd.DataFrame | None, **options: object) -> Path:
    """The files of a finished run that the submission reads."""
    write_json(folder / "config.json", {"options": options})
    write_json(folder / "labels.json", {"classes": ["a", "b"], "most_frequent": "b"})
    write_json(folder / "metrics.json", {"reported_on": "test", "test/accuracy": 0.75})
    if table is not None:
        write_probabilities(folder, table)
    return folder


def submit(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["submission", *map(str, arguments)])
    submission.main()


def test_several_runs_are_averaged() -> None:
    unsure, sure = a_table([0.4, 0.4, np.nan]), a_table([0.9, 0.5, np.nan])
    assert labels_of([unsure]) == ["b", "b", "b"] and labels_of([unsure, sure]) == ["a", "b", "b"]
    assert labels_of([a_table([0.2, 0.2, 0.2]), a_table([np.nan, 0.9, 0.7])]) == ["b", "a", "b"]
    averaging = a_table([0.4, 0.4, 0.4], averaged=[0.7, 0.7, 0.4])
    assert labels_of([averaging]) == ["a", "a", "b"] and labels_of([averaging], together=False) == ["b", "b", "b"]
    assert labels_of([averaging, a_table([0.2, 0.4, 0.9])]) == ["b", "a", "a"]


def test_the_submission_averages_the_runs_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Selecting the run with the best test accuracy instead would bias that figure."""
    keras = a_run(tmp_path / "keras", a_table([0.4, 0.4, np.nan], averaged=[0.4, 0.6, np.nan]))
    torch = a_run(tmp_path / "torch", a_table([0.9, 0.5, np.nan]))
    output = tmp_path / "out" / "submission.csv"
    submit(monkeypatch, "--runs", keras, torch, "--output", output)
    assert output.read_text() == "ID,Class\n1,a\nNA,a\n3,b\n"
    note = output.with_suffix(".txt").read_text()
    assert "averages the test probabilities of keras (held-out accuracy 75.0 %) and torch" in note
    submit(monkeypatch, "--runs", keras, "--output", output)
    assert output.read_text() == "ID,Class\n1,b\nNA,a\n3,b\n"
    assert "is the prediction of keras" in output.with_suffix(".txt").read_text()
    submit(monkeypatch, "--runs", keras, "--output", output, "--no-together")
    assert output.read_text() == "ID,Class\n1,b\nNA,b\n3,b\n"


def test_probabilities_come_back_as_they_were(tmp_path: Path) -> None:
    p = np.random.default_rng(0).random(3).astype(np.float32)
    write_probabilities(tmp_path, a_table(list(p)).assign(Class=["1.0", "None", ""]))
    table = read_probabilities(tmp_path)
    assert (table.p_a.to_numpy(np.float32) == p).all() and table.ID.tolist() == ["1", "NA", "3"]
    assert table.Class.tolist() == ["1.0", "None", ""]


def test_data_without_a_test_set_has_no_submission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    runs = [a_run(tmp_path / name, None) for name in ("a", "b")]
    submit(monkeypatch, "--runs", *runs, "--output", tmp_path / "s.csv")
    assert "no submission" in capsys.readouterr().out and not (tmp_path / "s.csv").exists()


def test_runs_that_cannot_be_averaged_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = a_table([0.4, 0.4, 0.4])
    good, without = a_run(tmp_path / "good", table), a_run(tmp_path / "without", None)
    older = a_run(tmp_path / "older", None, submission_name="mine.csv")
    (older / "mine.csv").write_text("ID,Class\n")
    others = a_run(tmp_path / "others", table.assign(ID=["1", "2", "4"]))
    classes = a_run(tmp_path / "classes", table.rename(columns={"p_b": "p_c"}))
    converted = a_run(tmp_path / "converted", None)
    write_json(converted / "config.json", {"options": {}, "converted_from": str(good)})
    for runs, says in (
        ([tmp_path / "nothing"], "--runs .*nothing: no finished classification run"),
        ([good, older], r"--runs .*older: an older version wrote no test_probabilities\.csv; train it again"),
        ([good, without], "--runs .*without: its data has no test set"),
        ([good, others], "they predicted different IDs or classes"),
        ([good, classes], "they predicted different IDs or classes"),
        ([converted], "--runs .*converted: is a converted run; give .*good"),
        ([], "--runs: is empty"),
    ):
        with pytest.raises(UserError, match=says):
            submit(monkeypatch, "--runs", *runs, "--output", tmp_path / "s.csv")
