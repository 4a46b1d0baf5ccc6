"""Layouts are detected, splits do not leak, and unusable input is refused with one line."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.data.datasets import load_dataset, segments
from shared.data.splits import assign_splits, check_trainable, resolve_split, take_fraction
from shared.errors import UserError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_the_kaggle_layout_is_detected(sounds: Path) -> None:
    dataset = load_dataset(sounds)
    assert dataset.layout == "Kaggle" and dataset.groups_known
    assert dataset.manifest.label.value_counts().to_dict() == dict.fromkeys(sorted(set(dataset.manifest.label)), 8)
    assert dataset.manifest.group.nunique() == 20
    assert len(dataset.test_files) == 10 and dataset.sample_submission == sounds / "sample_submission.csv"


def test_a_folder_per_class_is_detected(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.wav", tmp_path / "a" / "2.FLAC", tmp_path / "b" / "3.mp3", tmp_path / "b" / "notes.txt")
    touch(tmp_path / "b" / ".hidden.wav", tmp_path / ".git" / "x.wav")
    dataset = load_dataset(tmp_path)
    assert dataset.manifest.label.tolist() == ["a", "a", "b"] and not dataset.groups_known
    assert dataset.manifest.group.nunique() == 3 and not dataset.test_files


@pytest.mark.parametrize(
    ("audio", "metadata"),
    [("audio", "metadata"), ("", ""), ("", "metadata"), ("audio", ""), ("", None), ("audio", None)],
    ids=["as published", "no subfolders", "no audio/", "no metadata/", "no audio/, no table", "audio/, no table"],
)
def test_folds_of_urbansound8k_are_not_classes(audio: str, metadata: str | None, tmp_path: Path) -> None:
    rows = [("7-3-0-0.wav", 7, 1, "dog_bark"), ("7-3-0-1.wav", 7, 1, "dog_bark"), ("9-8-0-0.wav", 9, 10, "siren")]
    touch(*(tmp_path / audio / f"fold{fold}" / name for name, _, fold, _ in rows))
    if metadata is not None:
        (tmp_path / metadata).mkdir(exist_ok=True)
        table = pd.DataFrame(rows, columns=["slice_file_name", "fsID", "fold", "class"])
        table.to_csv(tmp_path / metadata / "UrbanSound8K.csv", index=False)
    dataset = load_dataset(tmp_path)
    assert dataset.layout == "UrbanSound8K" and dataset.groups_known
    assert sorted(dataset.manifest.label) == ["dog_bark", "dog_bark", "siren"]
    assert sorted(dataset.manifest.official) == ["1", "1", "10"] and set(dataset.manifest.group) == {"7", "9"}
    assert all(Path(path).is_file() for path in dataset.manifest.path)


def test_folds_with_file_names_without_a_class_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "fold1" / "7-3-0-0.wav", tmp_path / "fold2" / "bark.wav")
    with pytest.raises(UserError, match=r"bark\.wav: .*UrbanSound8K\.csv beside the folds"):
        load_dataset(tmp_path)
    touch(tmp_path / "siren" / "1.wav")  # with another class beside it, fold1 is a class
    assert set(load_dataset(tmp_path).manifest.label) == {"fold1", "fold2", "siren"}


def test_a_folder_of_recordings_is_grouped_by_speaker(tmp_path: Path) -> None:
    touch(*(tmp_path / "recordings" / f"{d}_{s}_{i}.flac" for d in (0, 1) for s in ("jo", "ann") for i in range(2)))
    dataset = load_dataset(tmp_path)
    assert set(dataset.manifest.label) == {"0", "1"} and set(dataset.manifest.group) == {"jo", "ann"}


def test_unlabelled_music_is_one_class_and_divided_into_equal_parts(tmp_path: Path) -> None:
    for name, length in (("long", 29.0), ("short", 15.0), ("jingle", 3.0)):
        sf.write(tmp_path / f"{name}.wav", np.zeros(round(length * 3150)), 3150)
    dataset = load_dataset(tmp_path)
    assert set(dataset.manifest.label) == {tmp_path.name} and not dataset.groups_known
    parts = segments(dataset.manifest, duration=14.5)
    expected = [("jingle", 0.0), ("long", 0.0), ("long", 14.5), ("short", 0.0)]
    assert [(Path(path).stem, offset) for path, offset in zip(parts.path, parts.offset, strict=True)] == expected


def test_folders_without_sounds_are_refused_with_a_hint(tmp_path: Path, sounds: Path) -> None:
    with pytest.raises(UserError, match=f"did you mean {sounds}"):
        load_dataset(sounds.parent / "dat")
    with pytest.raises(UserError, match=f"did you mean {sounds}"):
        load_dataset(sounds.parent)
    with pytest.raises(UserError, match="no labelled sounds"):
        load_dataset(tmp_path)
    touch(tmp_path / "file")
    with pytest.raises(UserError, match="not a folder"):
        load_dataset(tmp_path / "file")


def manifest(sizes: dict[str, list[int]]) -> pd.DataFrame:
    """A manifest with these classes and numbers of clips per recording."""
    rows = [(label, f"{label}{g}") for label, groups in sizes.items() for g, n in enumerate(groups) for _ in range(n)]
    return pd.DataFrame(rows, columns=["label", "group"]).assign(path="", official="", split="")


def sizes_of(least: int, most: int) -> st.SearchStrategy[dict[str, list[int]]]:
    """2 to 5 classes with ``least`` to ``most`` recordings each."""
    recordings = st.lists(st.integers(1, 8), min_size=least, max_size=most)
    return st.dictionaries(st.sampled_from("abcde"), recordings, min_size=2, max_size=5)


@settings(max_examples=30, deadline=None)
@given(sizes=sizes_of(4, 12), seed=st.integers(0, 99), test_share=st.sampled_from([0.0, 0.1, 0.2, 0.3]))
def test_no_recording_is_in_two_splits(sizes: dict[str, list[int]], seed: int, test_share: float) -> None:
    frame = assign_splits(manifest(sizes), val_share=0.2, test_share=test_share, seed=seed)
    assert (frame.groupby("group").split.nunique() == 1).all()
    splits = {"train", "val"} | ({"test"} if test_share else set())
    assert (frame.groupby("label").split.nunique() == len(splits)).all()


def test_shares_are_kept_and_the_seed_decides() -> None:
    frame = manifest({label: [4] * 20 for label in "abc"})
    one, again, other = (assign_splits(frame, seed=seed) for seed in (0, 0, 1))
    assert one.split.equals(again.split) and not one.split.equals(other.split)
    assert one.split.value_counts(normalize=True).round(2).to_dict() == {"train": 0.6, "val": 0.2, "test": 0.2}


@settings(max_examples=20, deadline=None)
@given(sizes=sizes_of(3, 9), folds=st.integers(2, 5), seed=st.integers(0, 99))
def test_every_clip_is_tested_once_without_training_on_its_recording(sizes, folds: int, seed: int) -> None:
    frame = manifest(sizes)
    tested = pd.Series(0, index=frame.index)
    for fold in range(folds):
        part = assign_splits(frame, val_share=0.0, seed=seed, fold=fold, folds=folds)
        assert (part.groupby("group").split.nunique() == 1).all() and set(part.split) == {"train", "test"}
        tested += part.split == "test"
    assert (tested == 1).all()


def test_a_class_with_one_recording_is_missing_in_the_other_folds() -> None:
    frame = manifest({"a": [3] * 10, "b": [5]})
    lacking = [
        set(part[part.split == "test"].label)
        for part in (assign_splits(frame, val_share=0, fold=k, folds=3) for k in range(3))
    ]
    assert sorted(map(len, lacking)) == [1, 1, 2]
    with pytest.raises(UserError, match="--folds 12"):
        assign_splits(frame, fold=0, folds=12)


def test_official_splits_are_used() -> None:
    digits = manifest({label: [10] * 3 for label in "ab"})
    digits["official"] = ["test" if i % 10 < 2 else "train" for i in range(len(digits))]
    part = assign_splits(digits, how="auto", val_share=0.2, seed=3)
    assert ((part.split == "test") == (digits.official == "test")).all() and (part.split == "val").sum() > 5
    for folds in (2, 3):  # a single test set does not give several folds
        assert resolve_split(digits, how="auto", folds=folds) == "grouped"
    folded = manifest({label: [4] * 10 for label in "ab"})
    folded["official"] = [str(1 + i // 4 % 10) for i in range(len(folded))]
    for fold in range(10):
        part = assign_splits(folded, how="auto", val_share=0, fold=fold, folds=10)
        assert ((part.split == "test") == (folded.official == str(fold + 1))).all()
    with pytest.raises(UserError, match="--folds 10"):
        assign_splits(folded, how="official", folds=5, fold=0)
    with pytest.raises(UserError, match="has no official folds"):
        assign_splits(manifest({"a": [4] * 9, "b": [4] * 9}), how="official")


def test_the_random_split_leaks() -> None:
    frame = assign_splits(manifest({label: [4] * 20 for label in "abc"}), how="random")
    assert (frame.groupby("group").split.nunique() > 1).mean() > 0.5


def test_data_that_cannot_be_split_is_refused() -> None:
    with pytest.raises(UserError, match=r"class b .* 2 recording"):
        assign_splits(manifest({"a": [4] * 10, "b": [6, 6]}))
    with pytest.raises(UserError, match=r"--val-share 0\.5 --test-share 0\.5"):
        assign_splits(manifest({"a": [4] * 10, "b": [4] * 10}), val_share=0.5, test_share=0.5)
    with pytest.raises(UserError, match="one class only"):
        check_trainable(manifest({"a": [4] * 10}), root=Path("d"), splits=3)
    with pytest.raises(UserError, match="class b has 1 usable clip"):
        check_trainable(manifest({"a": [4] * 10, "b": [1]}), root=Path("d"), splits=3)


def test_a_fraction_is_stratified_by_class_and_recording() -> None:
    frame = manifest({"a": [5] * 20, "b": [2] * 10})
    part = take_fraction(frame, fraction=0.25, seed=0)
    assert part.label.value_counts().to_dict() == {"a": 25, "b": 6}
    assert part[part.label == "a"].group.nunique() == 20 and part[part.label == "b"].group.nunique() == 6
    assert part.index.is_monotonic_increasing and part.equals(take_fraction(frame, fraction=0.25, seed=0))
    with pytest.raises(UserError, match="--fraction 0"):
        take_fraction(frame, fraction=0.0, seed=0)


def write_list(table: Path, manifest: pd.DataFrame, **columns: object) -> Path:
    rows = pd.DataFrame({"path": list(manifest.path), "label": manifest.label, **columns})
    rows.sample(frac=1, random_state=0).to_csv(table, index=False)
    return table


def test_a_csv_lists_the_clips_of_a_folder(sounds: Path, tmp_path: Path) -> None:
    whole = load_dataset(sounds)
    listed = load_dataset(write_list(tmp_path / "list.csv", whole.manifest, group=whole.manifest.group))
    pd.testing.assert_frame_equal(listed.manifest, whole.manifest)
    assert listed.layout == "list" and listed.groups_known and listed.folder == tmp_path


def test_a_csv_without_groups_and_with_splits(sounds: Path, tmp_path: Path) -> None:
    manifest = load_dataset(sounds).manifest
    splits = ["test" if i % 4 == 0 else "train" for i in range(len(manifest))]
    listed = load_dataset(write_list(tmp_path / "list.csv", manifest, split=splits))
    assert not listed.groups_known and listed.manifest.official.tolist() == splits
    assert resolve_split(listed.manifest, how="auto") == "official"


def test_paths_in_a_csv_are_relative_to_it(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.wav", tmp_path / "2.wav")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "x.csv").write_text("label,path\n007,../a/1.wav\nNA,../2.wav\n")
    manifest = load_dataset(tmp_path / "lists" / "x.csv").manifest
    assert sorted(manifest.label) == ["007", "NA"] and all(Path(path).is_file() for path in manifest.path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "cannot be read as CSV"),
        ("path,class\na.wav,x\n", "lacks the columns label"),
        ("path,label\n", "lists no clip"),
        ("path,label\na.wav,x\n,y\n", "line 3 has no path"),
        ("path,label\na.wav,\n", "line 2 has no label"),
        ("path,label,split\na.wav,x,val\n", "line 2: split val: must be"),
    ],
)
def test_a_csv_that_cannot_be_used_names_the_line(content: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(UserError, match=f"list.csv: .*{says}"):
        load_dataset(tmp_path / "list.csv")
