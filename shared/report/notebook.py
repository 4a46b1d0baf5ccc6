"""Sounds in a notebook: a table of spectrograms and players, which stays in the saved notebook."""

import html
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile as sf

from shared.features.spec import preset
from shared.report.pages import data_uri, read_sound
from shared.report.plots import spectrogram_png

Sound = Path | str | tuple[np.ndarray, int]
COLUMNS, LONGEST, MAX_SR = 5, 10.0, 22050  # LONGEST in seconds
COMPRESSION = 0.9  # of Ogg Vorbis: a third less than its default, so that a saved notebook stays small


class SoundTable:
    """What a notebook shows for sounds by name; a sound is a file or (y, sr), y mono (N,).

    Players play the first ten seconds, compressed with Ogg Vorbis. Pictures show the first four seconds, 0 to 11 kHz.

    Raises:
        AudioError: a file cannot be decoded.
    """

    def __init__(self, sounds: Mapping[str, Sound]) -> None:
        self.cells = [_cell(name, *_samples(sound)) for name, sound in sounds.items()]

    def _repr_html_(self) -> str:
        rows = ["".join(self.cells[i : i + COLUMNS]) for i in range(0, len(self.cells), COLUMNS)]
        return "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>"


def _samples(sound: Sound) -> tuple[np.ndarray, int]:
    return sound if isinstance(sound, tuple) else read_sound(Path(sound), duration=LONGEST, max_sr=MAX_SR)


def _cell(name: str, y: np.ndarray, sr: int) -> str:
    buffer = io.BytesIO()
    sf.write(buffer, y, sr, format="OGG", subtype="VORBIS", compression_level=COMPRESSION)
    picture = data_uri(spectrogram_png(y, preset("strong")), "image/png")
    player = f'<audio controls style="width: 173px" src="{data_uri(buffer.getvalue(), "audio/ogg")}"></audio>'
    image = f'<img src="{picture}" width="173" height="96" alt="spectrogram">'
    return f'<td style="text-align: center">{html.escape(name)}<br>{image}<br>{player}</td>'
