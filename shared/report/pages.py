"""What the pages share: the template environment, and pictures and sounds embedded as data URIs."""

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import soundfile as sf

from shared.audio import decode, resample
from shared.report.numbers import number, percent


def render(template: str, *, folder: Path | None = None, **values: Any) -> str:
    """Fill a template of ``folder``, or of this folder, which has base.html.j2. A page needs no network."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*([folder] if folder else []), Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "number": number}
    return environment.get_template(template).render(values)


def data_uri(content: bytes, mime: str) -> str:
    return f"data:{mime};base64,{base64.b64encode(content).decode()}"


def png_uri(path: Path) -> str:
    return data_uri(path.read_bytes(), "image/png")


def read_sound(path: Path, *, duration: float, max_sr: int) -> tuple[np.ndarray, int]:
    """The start of a sound, mono (N,), and its sampling rate in Hz.

    Args:
        duration: seconds kept.
        max_sr: Hz; a sound with a higher sampling rate is resampled to this one.

    Raises:
        AudioError: the file cannot be decoded.
    """
    y, sr = decode(path, duration=duration)
    return (resample(y, sr, max_sr), max_sr) if sr > max_sr else (y, sr)


def flac_uri(y: np.ndarray, sr: int) -> str:
    """A sound y (N,) as 16-bit FLAC, about half the size of a wav."""
    buffer = io.BytesIO()
    sf.write(buffer, y, sr, format="FLAC", subtype="PCM_16")
    return data_uri(buffer.getvalue(), "audio/flac")
