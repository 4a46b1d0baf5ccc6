"""The demo data depends only on its seed and size, appears only when complete, and refuses invalid sizes."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from shared.data import command
from shared.data.demo_data import CLASS_IDS, make_demo_data, plan
from shared.data.sources import DemoSize
from shared.errors import UserError

TINY = {"recordings": 1, "slices": 2, "test_recordings": 1, "test_slices": 1}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_data(tmp_path_factory.mktemp("demo") / "data", seed=3, **TINY)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_have_the_layout_and_names_of_kaggles_data(demo: Path) -> None:
    for label, class_id in CLASS_IDS.items():
        clips = sorted((demo / "train" / "train" / label).iterdir())
        fs_id = clips[0].stem.split("-")[0]
        assert [clip.stem for clip in clips] == [f"{fs_id}-{class_id}-0-0", f"{fs_id}-{class_id}-0-1"]
        formats = [(i.samplerate, i.channels, i.format, i.subtype) for i in map(sf.info, clips)]
        assert formats[0] == formats[1]
    with (demo / "sample_submission.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["ID"] for row in rows] == sorted(path.name for path in (demo / "test" / "test").iterdir())
    assert {row["Class"] for row in rows} == {"dog_bark"} and len(rows) == 5
    assert "synthetic" in (demo / "README.txt").read_text()


def test_clips_are_valid_audio(demo: Path) -> None:
    clips = [*demo.glob("train/train/*/*"), *demo.glob("test/test/*")]
    for clip in clips:
        y, sr = sf.read(clip)
        assert np.isfinite(y).all(), clip
        assert 0.01 < np.abs(y).max() < 1, clip
        assert 0.9 < len(y) / sr < 4.1, clip
    assert len({clip.read_bytes() for clip in clips}) == len(clips)


def test_the_seed_determines_every_byte(demo: Path, tmp_path: Path) -> None:
    assert contents(make_demo_data(tmp_path / "again", seed=3, **TINY)) == contents(demo)
    one = dict.fromkeys(TINY, 1)
    other = make_demo_data(tmp_path / "other", seed=4, **one)
    assert not set(contents(demo / "train").values()) & set(contents(other / "train").values())


def test_test_recordings_are_not_in_train() -> None:
    clips = plan(DemoSize())
    train = {recording for name, recording, _ in clips if name.startswith("train/")}
    test = {recording for name, recording, _ in clips if name.startswith("test/")}
    assert (len(clips), len(train), len(test)) == (380, 80, 20)
    assert not {recording.entropy for recording in train} & {recording.entropy for recording in test}
    assert len({recording.fs_id for recording in train | test}) == 100


def test_a_folder_of_the_same_demo_data_is_kept_and_any_other_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.data.demo_data.write_demo_data", lambda folder, clips: folder.mkdir(parents=True))
    leftover = tmp_path / "data.partial"
    leftover.mkdir()
    (leftover / "half").touch()
    data = make_demo_data(tmp_path / "data", **TINY)
    assert [path.name for path in data.iterdir()] == ["demo_data.json"] and not leftover.exists()
    (data / "cache").touch()
    assert make_demo_data(data, **TINY) == data and (data / "cache").exists()
    with pytest.raises(UserError, match="data: exists"):
        make_demo_data(data, seed=1, **TINY)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="mine: exists"):
        make_demo_data(tmp_path / "mine", **TINY)


def test_no_folder_appears_if_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.data.demo_data.sf.write", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_demo_data(tmp_path / "data", **TINY)
    assert not (tmp_path / "data").exists()


def test_sizes_below_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="slices"):
        make_demo_data(tmp_path / "data", slices=0)


def test_the_command_makes_the_same_data(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = [f"--{name.replace('_', '-')}={count}" for name, count in {"seed": 3, **TINY}.items()]
    monkeypatch.setattr(sys, "argv", ["frequency-quest data", "demo", "--data-dir", str(tmp_path / "data"), *sizes])
    command.main()
    assert contents(tmp_path / "data") == contents(demo)
    assert "10 training and 5 test clips, all synthetic" in capsys.readouterr().out
