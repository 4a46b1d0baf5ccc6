"""Decoding agrees with librosa.load; damage in the middle of a file costs what lies behind it."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile as sf

from shared.audio import decode, fix_length, load_audio, load_parts, resample, write_wav
from shared.errors import AudioError, UserError


def tone(sr: int, channels: int, seconds: float = 1.3) -> np.ndarray:
    t = np.arange(int(sr * seconds)) / sr
    y = 0.3 * np.sin(2 * np.pi * 440 * t) + 0.01 * np.random.default_rng(0).standard_normal(len(t))
    return np.stack([y * (0.5**c) for c in range(channels)], axis=1)


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("sr", [8000, 22050, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_decodes_as_librosa(tmp_path: Path, suffix: str, sr: int, channels: int) -> None:
    path = tmp_path / f"a.{suffix}"
    sf.write(path, tone(sr, channels), sr)
    expected, _ = librosa.load(path, sr=22050)
    np.testing.assert_allclose(load_audio(path, sr=22050), expected, atol=1e-5)


def test_a_long_file_is_cut_and_a_short_one_padded(tmp_path: Path) -> None:
    sf.write(tmp_path / "long.wav", tone(48000, 1, seconds=9), 48000)
    whole, _ = librosa.load(tmp_path / "long.wav", sr=22050)
    np.testing.assert_allclose(load_audio(tmp_path / "long.wav", sr=22050, duration=4.0), whole[:88200], atol=1e-5)
    sf.write(tmp_path / "short.wav", tone(22050, 1, seconds=0.05), 22050)
    y = load_audio(tmp_path / "short.wav", sr=22050, duration=4.0)
    assert y.shape == (88200,) and not y[1103:].any() and y[:1102].any()


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("sr", [22050, 44100])
@pytest.mark.parametrize("block", [5000, 1 << 18])
def test_parts_are_bit_identical_to_the_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, sr: int, block: int
) -> None:
    monkeypatch.setattr("shared.audio._BLOCK", block)
    path, offsets = tmp_path / f"a.{suffix}", [0.0, 0.25, 1.1, 1.1, 4.0, 8.5]
    sf.write(path, tone(sr, 2, seconds=8.7), sr)
    parts = list(load_parts(path, sr=22050, duration=0.5, offsets=offsets))
    for y, offset in zip(parts, offsets, strict=True):
        start, (whole, file_sr) = round(22050 * offset), decode(path, duration=offset + 1.0)
        expected = resample(whole, file_sr, 22050)[start : start + 11025]
        np.testing.assert_array_equal(y[: len(expected)], expected)
        assert y.shape == (11025,) and not y[len(expected) :].any()


def test_parts_before_the_damage_are_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.audio._BLOCK", 1 << 12)
    y = tone(8000, 1, seconds=4)
    y[31000] = np.nan
    sf.write(tmp_path / "nan.wav", y, 8000, subtype="FLOAT")
    parts = load_parts(tmp_path / "nan.wav", sr=22050, duration=1.0, offsets=[0.0, 1.0, 2.0, 3.0])
    assert len([next(parts) for _ in range(3)]) == 3
    with pytest.raises(AudioError, match="NaN"):
        next(parts)


def test_a_truncated_file_is_not_padded_with_silence(tmp_path: Path) -> None:
    sf.write(tmp_path / "whole.mp3", np.random.default_rng(0).uniform(-0.5, 0.5, 8000 * 60), 8000)
    whole, parts = (tmp_path / "whole.mp3").read_bytes(), []
    (tmp_path / "cut.mp3").write_bytes(whole[: len(whole) * 7 // 8])
    with pytest.raises(AudioError, match="truncated"):
        for y in load_parts(tmp_path / "cut.mp3", sr=8000, duration=1.0, offsets=range(60)):
            parts.append(y)
    assert len(parts) > 50 and all(y.any() for y in parts)


def test_written_wavs_never_clip(tmp_path: Path) -> None:
    y = 3.0 * np.sin(np.linspace(0, 100, 5000))
    write_wav(tmp_path / "loud.wav", y, 22050)
    back, sr = sf.read(tmp_path / "loud.wav")
    assert sr == 22050 and 0.98 < np.abs(back).max() < 1.0
    np.testing.assert_allclose(back * 3 / 0.99, y, atol=1e-3)
    with pytest.raises(UserError, match="NaN"):
        write_wav(tmp_path / "loud.wav", np.array([0.0, np.nan]), 22050)
    assert len(sf.read(tmp_path / "loud.wav")[0]) == 5000  # the failed write left the file unchanged


def test_fix_length_equals_librosas() -> None:
    for n in (3, 5, 8):
        y = np.arange(float(n))
        np.testing.assert_array_equal(fix_length(y, size=5), librosa.util.fix_length(y, size=5))
