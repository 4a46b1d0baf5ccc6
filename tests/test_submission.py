"""IDs are joined to the test folder alone, in the sample's order and columns; what cannot be read falls back."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from classification.inference.submission import Wanted, find_file, predict_ids, wanted_ids, write_submission
from shared.errors import UserError
from shared.features.cache import FeatureCache
from shared.features.spec import PRESETS

CLASSES = ["loud_low", "loud_high"]


def louder_half(x: np.ndarray) -> np.ndarray:
    """A stand-in classifier: which half of the mel bands is louder."""
    low, high = x[:, :64].mean(axis=(1, 2)), x[:, 64:].mean(axis=(1, 2))
    return np.stack([low > high, low <= high], axis=1).astype(float)


@pytest.fixture
def folder(tmp_path: Path, sounds: Path) -> Path:
    shutil.copytree(sounds / "test" / "test", tmp_path / "test")
    (tmp_path / "secret.wav").write_bytes(next(sounds.glob("train/train/*/*.wav")).read_bytes())
    (tmp_path / "test" / "text.wav").write_text("no sound")
    (tmp_path / "test" / "link.wav").symlink_to(tmp_path / "secret.wav")
    return tmp_path / "test"


def test_sample_order_and_columns(folder: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in folder.glob("clip_*"))[::-1]
    sample = tmp_path / "sample.csv"
    sample.write_text("File,Kind\n" + "".join(f"{name},x\n" for name in names))
    wanted = wanted_ids([], sample)
    table, failed = predict_ids(
        wanted, folder, louder_half, FeatureCache(PRESETS["classifier"]), classes=CLASSES, fallback="none"
    )
    assert list(table.columns) == ["File", "Kind"] and table.File.tolist() == names and not failed
    one_by_one = [
        predict_ids(Wanted([n]), folder, louder_half, FeatureCache(PRESETS["classifier"]), classes=CLASSES, fallback="")
        for n in names
    ]
    assert table.Kind.tolist() == [single.Class[0] for single, _ in one_by_one]


def test_ids_never_leave_the_folder(folder: Path) -> None:
    for clip_id in ("../secret.wav", "a/../../secret.wav", "/etc/passwd", "C:\\secret.wav", "..\\secret.wav", "", "."):
        assert isinstance(find_file(folder, clip_id), str), clip_id
    assert "link out" in find_file(folder, "link.wav")
    assert isinstance(find_file(folder, str(folder.resolve().parent / "secret.wav")), str)
    first = sorted(folder.glob("clip_*"))[0]
    assert find_file(folder, first.name) == first and find_file(folder, first.stem) == first


def test_unreadable_clips_fall_back_and_are_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    good = sorted(folder.glob("clip_*"))[0].name
    wanted = Wanted([good, "text.wav", "missing.wav", "../secret.wav", good])
    table, failed = predict_ids(
        wanted, folder, louder_half, FeatureCache(PRESETS["classifier"]), classes=CLASSES, fallback="dog"
    )
    assert table.ID.tolist() == wanted.ids and table.Class.tolist()[1:4] == ["dog"] * 3
    assert table.Class[0] in CLASSES and table.Class[0] == table.Class[4]
    assert failed.keys() == {"text.wav", "missing.wav", "../secret.wav"}
    write_submission(tmp_path / "s.csv", table, failed, fallback="dog")
    said = capsys.readouterr().out
    assert all(clip_id in said for clip_id in failed) and "5 rows" in said and "3 of them" in said


def test_without_a_sample_all_files_sorted(tmp_path: Path) -> None:
    assert wanted_ids([Path("b.wav"), Path("a.wav")], None) == Wanted(["a.wav", "b.wav"])


def test_a_sample_without_a_class_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("ID\na\n")
    with pytest.raises(UserError, match="expected an ID and a class column"):
        wanted_ids([], tmp_path / "s.csv")
    with pytest.raises(UserError, match="cannot be read"):
        wanted_ids([], tmp_path / "none.csv")
