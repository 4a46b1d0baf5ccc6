"""The sounds of the report: real clips, the same clips vocoded, samples of each run and vocoder, on one scale."""

import base64
import io
import json
import shutil
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import report_runs
from report_runs import CLASSES, change_json, report, write_generator

from shared.audio import decode, write_wav
from shared.files import safe_name
from shared.report import sounds
from shared.report.pages import data_uri
from shared.report.plots import spectrogram_png
from shared.report.run_view import find_runs
from shared.runs.sounds import real_clips


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two generators of one data folder; "flow" has samples of two vocoders and vocoded clips of one."""
    manifest = report_runs.write_sounds(tmp_path / "data")
    for name in ("cgan", "flow"):
        write_generator(tmp_path / "runs" / name, manifest)
    samples = tmp_path / "runs" / "flow" / "samples"
    (samples / "samples.json").write_text(json.dumps({"generator": "..", "classes": CLASSES, "vocoder": "griffin-lim"}))
    shutil.copytree(samples, samples.with_name("samples-neural"))
    change_json(samples.with_name("samples-neural") / "samples.json", vocoder="neural")
    for label in CLASSES:
        for recording in (5, 4):
            name = f"{label}{recording}-0.wav"
            (samples / "reference" / label).mkdir(parents=True, exist_ok=True)
            shutil.copy(tmp_path / "data" / label / name, samples / "reference" / label / name)
    return tmp_path / "runs"


def titles(sources: list[sounds.Source]) -> list[tuple[str, str]]:
    return [(source.title, source.remark) for source in sources]


def test_each_class_has_real_vocoded_and_generated_sounds(runs: Path) -> None:
    found = sounds.find_sources(find_runs(runs))
    assert list(found) == CLASSES
    assert titles(found["dog"]) == [
        ("real", "held-out recording"),
        ("real, vocoded", "griffin-lim"),
        ("cgan", ""),
        ("flow", "griffin-lim"),
        ("flow", "neural"),
    ]
    real, vocoded, *_ = found["dog"]
    (runs / "flow" / "samples-neural").rename(runs / "flow" / "samples-guided")
    change_json(runs / "flow" / "samples-guided" / "samples.json", best_of=4)
    last = titles(sounds.find_sources(find_runs(runs))["dog"])[-1]
    assert last == ("flow", "neural, guided, best of 4 by a classifier")
    assert [path.stem for path in real.files] == [path.stem for path in vocoded.files]  # the same clips
    assert real.files[0].parent == runs.parent / "data" / "dog"


def test_without_the_data_folder_the_vocoded_clips_remain(runs: Path, monkeypatch) -> None:
    shutil.rmtree(runs.parent / "data")
    assert titles(sounds.find_sources(find_runs(runs))["dog"])[0] == ("real, vocoded", "griffin-lim")
    page = report(runs, monkeypatch)
    assert "<strong>real, vocoded</strong>" in page and "<strong>real</strong>" not in page


def test_real_clips_are_of_held_out_recordings_each_in_turn(runs: Path) -> None:
    clips = real_clips(runs / "cgan", CLASSES)["rain"]
    assert len(clips) == 4 and all(clip.held_out for clip in clips)
    recordings = [clip.path.stem.split("-")[0] for clip in clips]
    assert set(recordings[:2]) == set(recordings[2:]) == {"rain4", "rain5"}
    assert clips != real_clips(runs / "cgan", CLASSES, seed=1)["rain"]
    moved = shutil.move(runs.parent / "data", runs.parent / "moved")
    assert real_clips(runs / "cgan", CLASSES) == {}
    assert len(real_clips(runs / "cgan", CLASSES, data_dir=Path(moved))["rain"]) == 4


def test_a_generator_of_one_class_takes_all_clips_and_without_held_out_ones_those_trained_on(runs: Path) -> None:
    table = (runs / "cgan" / "clips.csv").read_text()
    (runs / "cgan" / "clips.csv").write_text(table.replace("False", "True"))
    clips = real_clips(runs / "cgan", ["music"])
    assert list(clips) == ["music"] and len(clips["music"]) == 36
    assert not any(clip.held_out for clip in clips["music"])


def test_labels_are_restored_from_file_names(runs: Path) -> None:
    label, samples = "a/b: c", runs / "cgan" / "samples"
    shutil.move(samples / "dog_0.wav", samples / f"{safe_name(label)}_0.wav")
    change_json(runs / "cgan" / "metrics.json", classes=[label, "rain", "siren"])
    assert ("cgan", "") in titles(sounds.find_sources(find_runs(runs))[label])


def test_without_samples_the_last_epoch_is_shown(runs: Path) -> None:
    shutil.rmtree(runs / "cgan" / "samples")
    for epoch in (2, 3):
        path = runs / "cgan" / "gan_generated_audio" / f"dog_ep{epoch}.wav"
        path.parent.mkdir(exist_ok=True)
        write_wav(path, np.zeros(100), 8000)
    source = sounds.find_sources(find_runs(runs))["dog"][2]
    assert source.remark == "last epoch" and [path.name for path in source.files] == ["dog_ep3.wav"]


def test_all_pictures_have_one_size_and_show_what_is_heard(runs: Path) -> None:
    sr, duration = 8000, 0.5
    spec = sounds.common_spec([{"sr": 4000, "duration": duration}, {"sr": sr, "duration": 0.25}])
    y = np.sin(2 * np.pi * 2000 * np.arange(int(sr * duration / 2)) / sr)
    write_wav(runs / "tone.wav", y, sr)
    _, picture = sounds.embed(runs / "tone.wav", spec)
    image = matplotlib.image.imread(io.BytesIO(base64.b64decode(picture.partition(",")[2])), format="png")
    assert image.shape[:2] == spec.shape and spec.sr == sr
    bright = image[..., 0] + image[..., 1]
    half = image.shape[1] // 2
    assert bright[:, : half - 10].max() > 1.5 > bright[:, half + 10 :].max()  # half as long as the longest sound
    height = dict(sounds.ticks(spec))["2 kHz"]
    assert abs((1 - bright[:, 20].argmax() / len(image)) - height) < 0.05
    quiet = data_uri(spectrogram_png(0.1 * decode(runs / "tone.wav")[0], spec), "image/png")
    assert quiet == picture  # the level of a sound does not change its picture


def test_a_large_page_shows_one_sound_of_each_source_and_then_fewer_classes(runs: Path, monkeypatch) -> None:
    def counts(most: int) -> tuple[int, int]:
        monkeypatch.setattr(sounds, "MAX_BYTES", most)
        grid = sounds.sound_grid(find_runs(runs))
        assert set(grid.cards) | set(grid.left_out) == set(CLASSES)
        return len(grid.cards), max(len(card.sounds) for card in grid.cards["dog"])

    whole = sum(card.bytes for row in sounds.sound_grid(find_runs(runs)).cards.values() for card in row)
    assert counts(whole) == (3, 2) and counts(whole - 1) == (3, 1) and counts(1) == (1, 1)
    monkeypatch.setattr(sounds, "MAX_BYTES", 1)
    assert "Left out to keep the page small: rain, siren." in report(runs, monkeypatch)


def test_a_damaged_sound_is_left_out(runs: Path, monkeypatch) -> None:
    (runs / "cgan" / "samples" / "dog_0.wav").write_bytes(b"RIFF")
    grid = sounds.sound_grid(find_runs(runs))
    assert "cgan" not in [card.title for card in grid.cards["dog"]]
    assert "cgan" in [card.title for card in grid.cards["rain"]]
