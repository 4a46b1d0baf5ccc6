"""Any bytes in a sound or a table end in the result or in the error that callers expect, never in another one."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.audio import load_audio, sampling_rate, seconds
from shared.data.datasets import load_dataset
from shared.errors import AudioError, UserError

FUZZED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CHANGES = st.lists(st.tuples(st.integers(0, 63), st.integers(0, 255)), min_size=1, max_size=8)  # place, new byte


def sound(format: str) -> bytes:
    file = io.BytesIO()
    sf.write(file, np.random.default_rng(0).uniform(-0.5, 0.5, 4000), 8000, format=format)
    return file.getvalue()


SOUNDS = {format: sound(format) for format in ("WAV", "FLAC", "OGG", "MP3")}


@pytest.mark.parametrize("format", SOUNDS)
@FUZZED
@given(changes=CHANGES, cut=st.integers(0, 4000))
def test_changed_headers(format: str, changes: list[tuple[int, int]], cut: int, tmp_path: Path) -> None:
    content = bytearray(SOUNDS[format])
    for place, byte in changes:
        content[place] = byte
    path = tmp_path / f"a.{format.lower()}"
    path.write_bytes(content[: len(content) - cut % len(content)])
    assert seconds(path) >= 0 and sampling_rate(path) >= 0
    try:
        y = load_audio(path, sr=8000, duration=0.5)
    except AudioError as error:
        assert str(error)
    else:
        assert y.shape == (4000,) and y.dtype == np.float32 and np.isfinite(y).all()


@FUZZED
@given(content=st.binary(max_size=2000), suffix=st.sampled_from(["wav", "flac", "ogg", "mp3"]))
def test_any_bytes_as_a_sound(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    with pytest.raises(AudioError):
        load_audio(path, sr=8000)


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
HEADERS = st.sampled_from(["path,label", "path,label,group", "label,split,path", "slice_file_name,fsID,fold,class"])


@FUZZED
@given(header=HEADERS, rows=st.lists(st.lists(TEXT, max_size=5), max_size=6), raw=st.binary(max_size=20))
@pytest.mark.parametrize("name", ["list.csv", "UrbanSound8K.csv"])
def test_any_table(name: str, header: str, rows: list[list[str]], raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "fold1").mkdir(exist_ok=True)
    (tmp_path / "fold1" / "1-3-0-0.wav").write_bytes(b"")
    table = tmp_path / name
    table.write_bytes("\n".join([header, *map(",".join, rows)]).encode() + raw)
    try:
        manifest = load_dataset(table if name == "list.csv" else tmp_path).manifest
    except UserError as error:
        assert name in str(error)
    else:
        assert len(manifest) and manifest.label.str.len().min() > 0
