"""A sound that cannot be used is named with the reason, and costs only itself."""

import os
import re
from pathlib import Path

import pytest
from bad_sounds import AUDIO, LINKS, sound

from shared.audio import load_audio, seconds
from shared.errors import AudioError
from shared.features.cache import FeatureCache
from shared.features.spec import PRESETS

PREDICT, COMMANDS = "classification/predict.py", "shared/commands.py"


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


@pytest.mark.parametrize("name", [*AUDIO, *LINKS, "missing.wav"])
def test_a_bad_sound_is_named(name: str, bad_sounds: Path, tmp_path: Path) -> None:
    path, (_, reason) = bad_sounds / name, (AUDIO | LINKS).get(name, (b"", "No such file"))
    for duration in (4.0, None):
        with pytest.raises(AudioError, match=reason):
            load_audio(path, sr=22050, duration=duration)
    found = FeatureCache(PRESETS["classifier"], tmp_path / "cache").build([path], n_jobs=1, progress=False)
    assert not found.kept and re.search(reason, found.rejects[path])
    assert seconds(path) >= 0


def test_bad_sounds_cost_only_themselves(bad_sounds: Path, tiny_classifier: Path, tmp_path: Path, run_script) -> None:
    (bad_sounds / "good.wav").write_bytes(sound("WAV"))
    (bad_sounds / "text.wav").rename(bad_sounds / os.fsdecode(b"text\xff.wav"))
    done = run_script(PREDICT, "--model-dir", tiny_classifier, "--input", bad_sounds, "--output", tmp_path / "p.csv")
    bad = len(AUDIO) + len(LINKS)
    assert f"{bad} of {bad + 1} files skipped" in done.stdout and "1 rows" in done.stdout
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 2 and "Traceback" not in done.stderr
    cached = run_script(COMMANDS, "cache", "--data-dir", bad_sounds.parent, "--cache-dir", tmp_path / "cache").stdout
    assert f"{bad} files skipped" in cached and "not valid UTF-8" in cached
