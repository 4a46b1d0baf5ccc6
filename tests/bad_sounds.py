"""Sounds that cannot be used, and what the message about each says."""

import io
import os
from pathlib import Path

import numpy as np
import soundfile as sf

NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 24000)


def sound(format: str, **how: object) -> bytes:
    file = io.BytesIO()
    sf.write(file, NOISE, 8000, format=format, **how)
    return file.getvalue()


def floats(value: float) -> bytes:
    file = io.BytesIO()
    sf.write(file, np.full(8000, value), 8000, format="WAV", subtype="FLOAT")
    return file.getvalue()


def header(field: int, value: bytes) -> bytes:
    """A wav whose header has other bytes at this place."""
    whole = bytearray(sound("WAV"))
    whole[field : field + len(value)] = value
    return bytes(whole)


def vast_flac() -> bytes:
    """A FLAC whose header promises 64 billion samples."""
    whole = bytearray(sound("FLAC"))
    whole[21] |= 0x0F
    return bytes(whole)


AUDIO: dict[str, tuple[bytes, str]] = {  # file -> its content and what the message says
    "empty.wav": (b"", "0 bytes"),
    "text.wav": (b"not a sound\n" * 50, "cannot be decoded"),
    "html.mp3": (b"<!DOCTYPE html><html><body>404</body></html>\n" * 20, "cannot be decoded"),
    "zeros.wav": (bytes(5000), "cannot be decoded"),
    "zeros.mp3": (bytes(5000), "cannot be decoded"),
    "random.ogg": (np.random.default_rng(1).bytes(5000), "cannot be decoded"),
    "random.flac": (np.random.default_rng(2).bytes(5000), "cannot be decoded"),
    "cut.wav": (sound("WAV")[:9000], "truncated"),
    "header.wav": (sound("WAV")[:44], "truncated"),
    "riff.wav": (b"RIFF", "cannot be decoded"),
    "cut.flac": (sound("FLAC")[:15000], "truncated|cannot be decoded"),
    "header.flac": (sound("FLAC")[:60], "truncated|cannot be decoded|no samples"),
    "vast.flac": (vast_flac(), "truncated|cannot be decoded"),
    "cut.ogg": (sound("OGG")[:6000], "truncated"),
    "magic.ogg": (b"OggS", "truncated"),
    "page.ogg": ((whole := sound("OGG"))[: whole.rindex(b"OggS")], "truncated"),
    "cut.mp3": (sound("MP3")[: len(sound("MP3")) // 2], "truncated"),
    "header.mp3": (sound("MP3")[:60], "damaged or cut short"),
    "nan.wav": (floats(np.nan), "NaN"),
    "infinite.wav": (floats(np.inf), "infinite"),
    "loud.wav": (floats(3e38), r"up to 3\.0e\+38"),
    "large.wav": (floats(-2e6), r"up to 2\.0e\+06"),
    "slow.wav": (header(24, (1).to_bytes(4, "little")), "sampling rate of 1 Hz"),
    "no_rate.wav": (header(24, bytes(4)), "cannot be decoded|sampling rate"),
    "fast.wav": (header(24, (2**31 - 1).to_bytes(4, "little")), "sampling rate of 2147483647 Hz"),
    "no_channels.wav": (header(22, bytes(2)), "cannot be decoded"),
    "many_channels.wav": (header(22, b"\xff\xff"), "cannot be decoded"),
    "no_format.wav": (header(20, b"\xff\x7f"), "cannot be decoded"),
    "long.wav": (header(4, b"\xff\xff\xff\x7f"), "truncated"),
    "no_samples.wav": (header(40, bytes(4)), "no samples"),
}
LINKS = {  # name -> how to make it, what the message says
    "pipe.wav": (os.mkfifo, "not a regular file"),
    "folder.wav": (Path.mkdir, "not a regular file"),
    "loop.wav": (lambda path: path.symlink_to(path), "cannot be read|symbolic links|cannot be decoded|no such file"),
    "broken.wav": (lambda path: path.symlink_to("nowhere"), "No such file|no such file"),
    "device.wav": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
}
