"""An evaluation reads labels from file names, halves the real clips by recording, and makes noise like the samples."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from classification.inference.classifier import Classifier
from generation.evaluation import clips as parts
from generation.evaluation import embedding
from generation.evaluation.embedding import Embedded
from generation.evaluation.notes import notes_on
from shared.audio import write_wav
from shared.data.datasets import load_dataset
from shared.errors import UserError
from shared.features.spec import PRESETS
from shared.files import safe_name

SPEC = PRESETS["classifier"]


def stub(classes: tuple[str, ...] = ("chirp", "hum")) -> Classifier:
    """A classifier without a framework, whose features are the mean levels of 16 groups of bands."""

    def embed(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x.reshape(len(x), 16, -1).mean(axis=2), np.full((len(x), 2), 0.5)

    return Classifier(lambda x: embed(x)[1], classes, SPEC, load_features=lambda: embed)


def embedded(manifest: pd.DataFrame) -> Embedded:
    rng = np.random.default_rng(0)
    return Embedded(
        manifest, rng.standard_normal((len(manifest), 4)), np.full((len(manifest), 2), 0.5), ["chirp", "hum"]
    )


def test_labels_are_recovered_from_safe_file_names(tmp_path: Path) -> None:
    labels = ["dog/bark", "a: b", "plain_1"]
    for label in labels:
        write_wav(tmp_path / f"{safe_name(label)}_07.wav", np.zeros(100), 22050)
    assert sorted(parts.list_samples(tmp_path, labels).label) == sorted(labels)


def test_labels_are_read_from_file_and_folder_names(tmp_path: Path) -> None:
    names = {"dog_bark_03": "dog_bark", "siren_ep12": "siren", "class_1_007": "class_1", "3_00": "3", "piece": ""}
    for name in names:
        write_wav(tmp_path / f"{name}.wav", np.zeros(100), 22050)
    found = parts.list_samples(tmp_path)
    assert {Path(path).stem: label for path, label in zip(found.path, found.label, strict=True)} == names
    write_wav(tmp_path / "classes" / "hum" / "a.wav", np.zeros(100), 22050)
    assert parts.list_samples(tmp_path / "classes").label.tolist() == ["hum"]


def test_no_recording_is_in_both_halves_and_the_floor_matches_the_samples(sounds: Path) -> None:
    real = load_dataset(sounds).manifest.assign(trained_on=False, held_out=False)
    searched, train, held = parts.divide(real, seed=0)
    assert len(train) + len(held) == len(searched) and not set(train.group) & set(held.group)
    assert set(train.label) == set(held.label)
    wanted = {"dog_bark": 3, "siren": 1}
    samples = pd.DataFrame({"label": [label for label, n in wanted.items() for _ in range(n)]})
    floor = parts.matching(held, samples, seed=0)
    assert floor.label.value_counts().to_dict() == wanted and set(floor.path) <= set(held.path)
    assert len(parts.matching(held, pd.DataFrame({"label": [""] * 7}), seed=0)) == 7
    with pytest.raises(UserError, match="one recording"):
        parts.divide(real.assign(group="same"), seed=0)


def test_noise_is_as_long_and_as_loud_as_the_sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    t = np.arange(11025) / 22050
    write_wav(tmp_path / "a.wav", 0.3 * np.sin(2 * np.pi * 440 * t), 22050)
    seen = []
    monkeypatch.setitem(embedding.TRANSFORMS, "log_mel", lambda y, spec: seen.append(y) or np.zeros(spec.shape))
    noise = embedding.embed_noise(stub(), ["hum", "hum", "chirp"], [tmp_path / "a.wav"], seed=0)
    assert noise.manifest.label.tolist() == ["hum", "hum", "chirp"] and len(noise.features) == 3
    for y in seen:
        assert len(y) == SPEC.n_samples and not y[11025:].any()
        assert np.sqrt(np.mean(y[:11025] ** 2)) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)
    assert np.abs(np.corrcoef(seen)[0, 1]) < 0.05


def test_noise_has_the_bandwidth_of_the_sounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_wav(tmp_path / "a.wav", 0.3 * np.sin(np.arange(4000)), 4000)
    seen = []
    monkeypatch.setitem(embedding.TRANSFORMS, "log_mel", lambda y, spec: seen.append(y) or np.zeros(spec.shape))
    embedding.embed_noise(stub(), ["hum"], [tmp_path / "a.wav"], seed=0)
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
