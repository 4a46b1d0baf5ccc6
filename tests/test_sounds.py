"""The --input of predict.py: a file, a folder or a CSV."""

from pathlib import Path

import pytest

from classification.inference.sounds import list_sounds
from shared.errors import UserError


def test_sounds_are_listed_from_a_file_a_folder_or_a_csv(sounds: Path, tmp_path: Path) -> None:
    folder = sounds / "test" / "test"
    names = sorted(path.name for path in folder.iterdir())
    assert [sound.id for sound in list_sounds(folder)] == names
    assert [sound.path for sound in list_sounds(folder / names[0])] == [folder / names[0]]
    table = tmp_path / "list.csv"
    for text in (
        f"\ufefflabel,path\nx,b/a.wav\n\ny,{folder / names[0]}\n",  # as a spreadsheet saves it
        f"file,label\nb/a.wav,x\n{folder / names[0]},y\n",
        f"b/a.wav\n{folder / names[0]}\n",
    ):
        table.write_text(text, encoding="utf-8")
        assert [sound.path for sound in list_sounds(table)] == [tmp_path / "b" / "a.wav", folder / names[0]]
    for bad, says in (
        (b"", "names no sound"),
        (b"path\n", "names no sound"),
        (b"path\n\xff\xfe.wav\n", "cannot be read"),
    ):
        table.write_bytes(bad)
        with pytest.raises(UserError, match=says):
            list_sounds(table)
    with pytest.raises(UserError, match=r"did you mean .*list\.csv"):
        list_sounds(tmp_path / "lsit.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no"):
        list_sounds(tmp_path / "empty")
