"""Reads and writes audio files: decoding, mixing to mono, resampling, fixing the length."""

import contextlib
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile as sf
import soxr
from numpy.typing import ArrayLike

from shared.errors import AudioError, UserError
from shared.files import replacing

AUDIO_SUFFIXES = {".wav", ".flac", ".ogg", ".mp3"}
_BLOCK = 1 << 18  # frames decoded at a time
_MARGIN_SECONDS = 0.5  # decoded beyond the last part, so that the resampler's filter does not run into a cut
_RATES = range(1000, 1_000_001)  # sampling rates in Hz that sounds are recorded at
_MP3_FRAMES_PER_BYTE = 16  # 8 kbit/s at 8 kHz has 8 samples per byte, 32 kbit/s at 48 kHz 12
_LOUDEST = 1e6  # larger samples are damage: even unscaled 16-bit integers stay below it, and spectra stay finite
_LARGEST_OGG_PAGE = 27 + 255 + 255 * 255  # bytes
_UNKNOWN_RIFF_SIZES = {0, 0xFFFFFFFF}  # placeholder sizes in the header of a streamed wav


def load_audio(path: Path | str, *, sr: int, duration: float | None = None) -> np.ndarray:
    """Decode a file like ``librosa.load(path, sr=sr, mono=True)``, then fix its length.

    Args:
        path: wav, flac, ogg or mp3 of any sampling rate, bit depth and channel count.
        sr: target sampling rate in Hz.
        duration: seconds to keep: a longer file is cut, a shorter one padded with zeros. None keeps the whole file.

    Returns:
        y: float32 (N,), N = round(sr * duration) when duration is given.

    Raises:
        AudioError: the file is unreadable, empty or truncated, or holds NaN or infinite samples.
    """
    if duration is not None:
        return next(load_parts(path, sr=sr, duration=duration, offsets=[0.0]))
    y, file_sr = decode(path)
    return resample(y, file_sr, sr)


def load_parts(path: Path | str, *, sr: int, duration: float, offsets: Sequence[float]) -> Iterator[np.ndarray]:
    """Load several parts of one file. It is decoded and resampled only once, block by block.

    Args:
        path: as in ``load_audio``.
        sr: target sampling rate in Hz.
        duration: length of each part in seconds; a part that reaches beyond the file is padded with zeros.
        offsets: start of each part in seconds, in ascending order.

    Yields:
        y: float32 (round(sr * duration),), bit-identical to the same samples of the whole decoded file.

    Raises:
        AudioError: as in ``load_audio``, at the first damaged part.
    """
    size = round(sr * duration)
    with _opened(path) as file:
        blocks = _resampled_blocks(file, sr, wanted=_frames(file, max(offsets) + duration + _MARGIN_SECONDS))
        y, begin = np.zeros(0, dtype=np.float32), 0  # y holds the resampled signal from sample ``begin`` on
        for offset in offsets:
            start = round(offset * sr)
            while begin + len(y) < start + size and (block := next(blocks, None)) is not None:
                passed = min(len(y), max(0, start - begin))
                y, begin = np.concatenate([y[passed:], block]) if len(y) > passed else block, begin + passed
            yield fix_length(y[max(0, start - begin) :], size=size)


def audio_from_array(y: ArrayLike, y_sr: float, *, sr: int) -> np.ndarray:
    """Convert samples in memory as ``load_audio`` converts a whole file.

    Args:
        y: (N,), or (C, N) with channels first as in librosa; floats in [-1, 1] or full-scale signed integers.
        y_sr: sampling rate of ``y`` in Hz.
        sr: target sampling rate in Hz.

    Returns:
        y: float32 (N,), mono.

    Raises:
        AudioError: ``y`` is empty, holds NaN or infinite samples or has the wrong shape or type, or ``y_sr`` <= 0.
    """
    y = np.asarray(y)
    if not (np.isfinite(y_sr) and y_sr > 0):
        raise AudioError(f"sampling rate {y_sr} Hz: must be positive")
    if y.dtype.kind not in "fi":
        raise AudioError(f"array of type {y.dtype}: expected floats in [-1, 1] or signed integers")
    if y.size == 0:
        raise AudioError("holds no samples")
    if y.ndim not in (1, 2) or (y.ndim == 2 and y.shape[0] > y.shape[1]):
        raise AudioError(f"array of shape {y.shape}: expected (N,) or (channels, N); transpose (N, channels)")
    scale = 1.0 if y.dtype.kind == "f" else 1.0 / (np.iinfo(y.dtype).max + 1.0)
    return resample(_finite_mono(np.atleast_2d(y).astype(np.float32) * np.float32(scale)), y_sr, sr)


def resample(y: np.ndarray, y_sr: float, sr: float) -> np.ndarray:
    """Resample y (N,) from ``y_sr`` to ``sr`` Hz: ceil(N * sr / y_sr) samples, like librosa.resample."""
    if y_sr == sr:
        return y
    return fix_length(soxr.resample(y, y_sr, sr, quality="HQ"), size=int(np.ceil(len(y) * sr / y_sr)))


def _finite_mono(y: np.ndarray) -> np.ndarray:
    """Average the channels of y (C, N): float32 (N,). Refuse NaN, infinite and absurdly large samples."""
    y = y.mean(axis=0) if len(y) > 1 else y[0]
    peak = max(y.max(initial=0), -y.min(initial=0))  # NaN if any sample is
    if not np.isfinite(peak):
        raise AudioError("holds samples that are NaN or infinite")
    if peak > _LOUDEST:
        raise AudioError(f"holds samples up to {peak:.1e}; expected floats in [-1, 1]")
    return y


def seconds(path: Path | str) -> float:
    """Duration in seconds according to the file's header; 0 if the header is unreadable (decoding gives the reason)."""
    return _header(path, "duration")


def sampling_rate(path: Path | str) -> int:
    """Sampling rate in Hz according to the file's header; 0 if the header is unreadable."""
    return _header(path, "samplerate")


def _header(path: Path | str, field: str) -> float:
    try:
        _regular_size(Path(path))
        return getattr(sf.info(str(path)), field)
    except (sf.LibsndfileError, OSError, AudioError):
        return 0


def decode(path: Path | str, *, duration: float | None = None) -> tuple[np.ndarray, int]:
    """Decode the first ``duration`` seconds of a file: mono float32 (N,) and the file's sampling rate in Hz."""
    with _opened(path) as file:
        wanted = file.frames if duration is None else _frames(file, duration)
        return np.concatenate([y for y, _ in _blocks(file, wanted)]), file.samplerate


@contextlib.contextmanager
def _opened(path: Path | str) -> Iterator[sf.SoundFile]:
    """Open a file for decoding; errors in opening and reading it become an AudioError."""
    path = Path(path)
    try:
        if _regular_size(path) == 0:
            raise AudioError("the file is empty (0 bytes)")
        _refuse_truncated(path)
        with sf.SoundFile(path) as file:
            if file.samplerate not in _RATES:
                raise AudioError(f"has a sampling rate of {file.samplerate} Hz; expected 1000 to 1000000 Hz")
            yield file
    except sf.LibsndfileError as error:
        missing = "does not exist" in error.error_string  # said of a cut mp3; that it exists was checked above
        reason = "damaged or cut short" if missing else error.error_string
        raise AudioError(f"cannot be decoded as audio: {reason}") from error
    except OSError as error:
        raise AudioError(f"cannot be decoded as audio: {error.strerror or error}") from error


def _frames(file: sf.SoundFile, duration: float) -> int:
    """The number of frames in the first ``duration`` seconds, at most the file's length."""
    return min(file.frames, round(duration * file.samplerate))


def _blocks(file: sf.SoundFile, wanted: int) -> Iterator[tuple[np.ndarray, bool]]:
    """Yield the first ``wanted`` frames as mono blocks (N,), and whether each is the last.

    An AudioError is raised after the last block if the file is truncated.

    Memory is taken for the frames that were decoded, not for those that the header promises.
    """
    most = max(1, _BLOCK // file.channels)
    if file.format == "MP3":  # soundfile seeks after each read, which alters mp3 samples
        most = min(wanted, _MP3_FRAMES_PER_BYTE * Path(file.name).stat().st_size)
    read, last = 0, False
    while not last:
        asked = min(most, wanted - read)
        block = file.read(asked, dtype="float32", always_2d=True)
        read += len(block)
        last = len(block) < asked or read == wanted
        yield _finite_mono(block.T), last
    _refuse_short(read, wanted)


def _resampled_blocks(file: sf.SoundFile, sr: int, *, wanted: int) -> Iterator[np.ndarray]:
    """Yield the first ``wanted`` frames as mono blocks (N,) at ``sr`` Hz; raise AudioError if the file is truncated.

    The joined blocks are bit-identical to ``resample`` of all these frames.
    """
    stream = None
    read = given = 0
    for y, last in _blocks(file, wanted):
        read += len(y)
        if last and read == len(y):
            y = resample(y, file.samplerate, sr)  # a single block is faster without a stream
        elif file.samplerate != sr:
            stream = stream or soxr.ResampleStream(file.samplerate, sr, 1, dtype="float32", quality="HQ")
            y = stream.resample_chunk(y, last)[: int(np.ceil(read * sr / file.samplerate)) - given]
        given += len(y)
        yield y


def _refuse_short(read: int, wanted: int) -> None:
    """Raise AudioError if far fewer frames were decoded (``read``) than ``wanted``."""
    if read == 0:
        raise AudioError("holds no samples")
    if read < 0.95 * wanted:  # mp3 lengths are estimates: slightly fewer frames are normal
        raise AudioError(f"is truncated: {read} of {wanted} samples could be decoded")


def _refuse_truncated(path: Path) -> None:
    """Raise AudioError if a wav or Ogg file is incomplete: libsndfile would silently return less audio."""
    with path.open("rb") as file:
        head = file.read(8)
        if head[:4] == b"RIFF":
            _refuse_truncated_wav(file, promised=int.from_bytes(head[4:], "little"))
        elif head[:4] == b"OggS":
            _refuse_truncated_ogg(file)


def _refuse_truncated_wav(file: BinaryIO, *, promised: int) -> None:
    """Raise AudioError if a wav is smaller than its RIFF header says."""
    size = file.seek(0, 2)
    if promised not in _UNKNOWN_RIFF_SIZES and size + 1 < promised + 8:
        raise AudioError(f"is truncated: its header says {promised + 8} bytes, the file has {size}")


def _refuse_truncated_ogg(file: BinaryIO) -> None:
    """Raise AudioError if an Ogg file does not end in a complete page that closes the stream (RFC 3533, section 6).

    libsndfile takes the last page that it finds for the end.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - _LARGEST_OGG_PAGE))
    tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    table = page[27 : 27 + page[26]] if len(page) > 26 else b""
    complete = len(page) > 26 and len(table) == page[26] and len(page) >= 27 + len(table) + sum(table)
    if not (complete and page[5] & 4):
        raise AudioError("is truncated: its last Ogg page is incomplete or does not end the stream")


def _regular_size(path: Path) -> int:
    """The size of a file in bytes.

    Raises:
        AudioError: soundfile cannot open its name, or it is a pipe or a device, which might never end.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise AudioError("its name is not valid UTF-8; rename it") from error
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise AudioError("is not a regular file")
    return status.st_size


def fix_length(y: np.ndarray, *, size: int) -> np.ndarray:
    """Cut or zero-pad the last axis to ``size``, like librosa.util.fix_length."""
    n = y.shape[-1]
    if n >= size:
        return y[..., :size]
    return np.pad(y, [(0, 0)] * (y.ndim - 1) + [(0, size - n)])


def window_starts(n: int, *, size: int, step: int, slack: float = 1.0) -> np.ndarray:
    """The first samples of the windows of a sound of n samples: one every ``step``, and one that ends with the sound.

    A sound of up to ``slack`` windows is a single one, cut or padded at its end.
    """
    last = n - size
    return np.zeros(1, dtype=int) if n <= slack * size else np.append(np.arange(0, last, step), last)


def write_wav(path: Path | str, y: np.ndarray, sr: int) -> None:
    """Write y (N,) atomically as 16-bit PCM. A signal that peaks above 0.99 is scaled down to that peak, not clipped.

    Raises:
        UserError: y holds NaN or infinite samples.
    """
    y = np.asarray(y, dtype=np.float32)
    if not np.isfinite(y).all():
        problem = "the sound to write has NaN or infinite samples; the model has diverged"
        raise UserError(f"{path}: {problem}. Train it again with a lower --learning-rate")
    peak = np.abs(y).max(initial=0.0)
    with replacing(Path(path)) as temporary:
        sf.write(temporary, y * (0.99 / peak) if peak > 0.99 else y, sr, subtype="PCM_16", format="WAV")
