"""Synthesises demo sounds in the competition's layout, so that every stage runs without a download.

A class consists of simulated recordings, each with its own source, room, microphone, noise and file format. A recording
consists of several slices, so a random split leaks, as with the real data. The generator ``rec`` draws the properties
that all slices of a recording share; ``rng`` draws those of one slice. Signals are float64 (N,) at ``SYNTH_SR`` Hz.
"""

import dataclasses
import json
import shutil
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy
import soundfile as sf
import soxr
from filelock import FileLock
from numpy.random import Generator, default_rng
from tqdm import tqdm

from shared.data.sources import URBANSOUND8K_CLASSES, DemoSize
from shared.errors import UserError
from shared.files import naming_full_disk

VERSION = 1  # raise when the audio changes, so that older demo data is not reused
SYNTH_SR = 32_000
EQ_HZ = np.geomspace(40, 16_000, 10)
SAMPLE_RATES = [8_000, 11_025, 16_000, 22_050, 32_000] + [44_100] * 5 + [48_000] * 4
FORMATS = [("wav", "PCM_16")] * 2 + [("wav", "PCM_24"), ("wav", "FLOAT"), ("flac", "PCM_16")]
SCALES = [(0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10)]  # semitones above the root


def normalise(y: np.ndarray) -> np.ndarray:
    """Scale ``y`` to unit standard deviation; silence stays silence."""
    return y / (y.std() + 1e-9)


def equalise(y: np.ndarray, gains_db: np.ndarray) -> np.ndarray:
    """Zero-phase filter of ``y`` (..., N) with gains in dB at ``EQ_HZ``, interpolated between them."""
    gains = 10 ** (np.interp(np.fft.rfftfreq(y.shape[-1], 1 / SYNTH_SR), EQ_HZ, gains_db) / 20)
    return scipy.fft.irfft(scipy.fft.rfft(y) * gains, y.shape[-1])


def resonate(y: np.ndarray, hz: np.ndarray, q: float) -> np.ndarray:
    """Filter ``y`` (N,) with parallel resonances at ``hz`` of quality factor ``q``; unit standard deviation."""
    return normalise(sum(scipy.signal.lfilter(*scipy.signal.iirpeak(f, q, fs=SYNTH_SR), y) for f in hz))


def drift(rng: Generator, n: int, hz: float) -> np.ndarray:
    """A slow random curve (n,) with about unit deviation and ``hz`` random values per second, interpolated."""
    knots = rng.standard_normal(int(n / SYNTH_SR * hz) + 3)
    return np.interp(np.arange(n) * hz / SYNTH_SR + rng.random(), np.arange(len(knots)), knots)


def wavetable(rng: Generator, f0_max: float, rolloff: float) -> np.ndarray:
    """One period (4096,) whose harmonic k decays as k**-rolloff; it does not alias up to a pitch of ``f0_max`` Hz."""
    k = np.arange(1, int(np.clip(0.45 * SYNTH_SR / f0_max, 2, 60)))
    spectrum = np.zeros(2049, complex)
    spectrum[k] = k**-rolloff * rng.uniform(0.2, 1, len(k)) * np.exp(2j * np.pi * rng.random(len(k)))
    return normalise(np.fft.irfft(spectrum))


def oscillate(table: np.ndarray, f0: np.ndarray) -> np.ndarray:
    """Play a wavetable at the pitch ``f0`` (N,) in Hz."""
    return table[(np.cumsum(f0) / SYNTH_SR * len(table)).astype(int) % len(table)]


def strokes(rng: Generator, f0: np.ndarray, weights: np.ndarray, jitter: float, ring: float) -> np.ndarray:
    """Impulses that decay over ``ring`` s, one per period of ``f0`` (N,) Hz.

    Their times vary by ``jitter`` periods; ``weights`` are their levels, used in rotation.
    """
    at = np.flatnonzero(np.diff(np.floor(np.cumsum(f0) / SYNTH_SR + rng.random())))
    at = (at + rng.normal(0, jitter, len(at)) * SYNTH_SR / f0.mean()).clip(0, len(f0) - 1).astype(int)
    impulses = np.bincount(at, np.resize(weights, len(at)) * rng.uniform(0.7, 1.3, len(at)), len(f0))
    return scipy.signal.lfilter([1], [1, -np.exp(-1 / (ring * SYNTH_SR))], impulses)


def add_at(y: np.ndarray, seconds: float, event: np.ndarray) -> None:
    """Add ``event`` to ``y`` in place, ``seconds`` after its start; cut it at the end of ``y``."""
    part = y[int(seconds * SYNTH_SR) :][: len(event)]
    part += event[: len(part)]


def dog_bark(rec: Generator, rng: Generator, n: int) -> np.ndarray:
    """Harmonic bursts at irregular times, filtered by the formants of a large or small dog."""
    size = rec.random()  # 0 a large dog, 1 a small one
    pitch = 200 * 4 ** (size + rec.normal(0, 0.1))
    formants = np.array([500, 1_300, 2_700]) * (0.8 + 0.6 * size) * rec.uniform(0.8, 1.25, 3)
    length, gap, breath, rise = rec.uniform([0.07, 0.12, 0.2, 0.1], [0.3, 0.7, 0.9, 0.7])
    table = wavetable(rec, 2 * pitch, rec.uniform(0.2, 0.8))
    y, at = np.zeros(n), rng.uniform(0, 0.4)
    while at < n / SYNTH_SR:
        u = np.linspace(0, 1, int(SYNTH_SR * length * rng.uniform(0.7, 1.5)))
        f0 = pitch * rng.lognormal(0, 0.08) * (1 + rise * np.sin(np.pi * u**0.6))
        burst = oscillate(table, f0) + breath * rng.standard_normal(len(u))
        add_at(y, at, burst * rng.uniform(0.4, 1) * np.sqrt(u) * (1 - u) ** 1.5)
        at += len(u) / SYNTH_SR + gap * rng.lognormal(0, 0.4) + rng.choice([0, 0.6], p=[0.8, 0.2])
    return resonate(y, formants, 3.0)


def drilling(rec: Generator, rng: Generator, n: int) -> np.ndarray:
    """The blows of a hammer drill on steel, a rotary motor that slows under load, or both."""
    hammer = rec.choice([0.0, rec.uniform(0.3, 0.8), 1.0], p=[0.35, 0.25, 0.4])
    blow_hz, ring, steel = rec.uniform(9, 35), rec.uniform(0.004, 0.03), rec.uniform(1_000, 7_000, 3)
    motor_hz, sag, grind = rec.uniform([70, 0.01, 0.1], [420, 0.15, 1.2])
    table, lifts = wavetable(rec, motor_hz, rec.uniform(0.3, 1.1)), rec.uniform(0.5, 3)
    noise, load = rng.standard_normal(n), np.abs(drift(rng, n, 1.5))
    blows = strokes(rng, blow_hz * (1 + 0.05 * drift(rng, n, 2)), np.ones(1), 0.02, ring)
    motor = oscillate(table, motor_hz * (1 - sag * load)) + grind * noise
    y = hammer * resonate(blows * noise, steel, 1.5) + (1.05 - hammer) * motor
    return y * np.clip(4 - lifts * load, 0.05, 1)  # quiet moments: the drill is lifted


def engine_idling(rec: Generator, rng: Generator, n: int) -> np.ndarray:
    """1 to 8 cylinders of unequal strength, an exhaust, hiss, and in some recordings a diesel's knock."""
    cylinders = int(rec.choice([1, 2, 3, 4, 4, 6, 8]))
    weights = rec.uniform(1 - rec.uniform(0.1, 0.8), 1, cylinders)
    rpm, wander, jitter, q, hiss = rec.uniform([550, 0.005, 0.005, 0.7, 0.02], [1_300, 0.06, 0.08, 3, 0.12])
    exhaust, steel, knock = rec.uniform(50, 500, 3), rec.uniform(900, 5_000, 2), rec.uniform(-0.5, 0.6)
    firing_hz = rpm / 120 * cylinders * (1 + wander * drift(rng, n, 1.0))  # four-stroke: every second turn
    firing, noise = strokes(rng, firing_hz, weights, jitter, 0.004), rng.standard_normal(n)
    return resonate(firing, exhaust, q) + max(knock, 0) * resonate(firing * noise, steel, 2.0) + hiss * noise


def siren(rec: Generator, rng: Generator, n: int) -> np.ndarray:
    """A wail, yelp or two-tone horn between two pitches, with a slight Doppler shift as it passes."""
    style = rec.integers(3)
    rate = rec.uniform(*[(0.1, 0.5), (1.5, 6), (0.4, 1.6)][style])
    low, span = rec.uniform(400, 900), rec.uniform(1.2, (3, 3, 1.6)[style])
    rising, doppler, swell = rec.uniform([0.25, 0, 0], [0.85, 0.05, 0.7])
    table = wavetable(rec, 1.1 * low * span, rec.uniform(0.9, 2.2))
    t = np.arange(n) / SYNTH_SR
    phase = 2 * np.pi * (rate * t + rng.random())
    sweep = np.tanh(30 * np.sin(phase)) if style == 2 else scipy.signal.sawtooth(phase, rising)
    f0 = low * span ** (0.5 + 0.5 * sweep) * (1 - doppler * np.tanh((t - rng.uniform(-1, 5)) / 0.8))
    return oscillate(table, f0) * np.exp(swell * drift(rng, n, 0.7))


def street_music(rec: Generator, rng: Generator, n: int) -> np.ndarray:
    """A tune, chords or drums; each of the other two may be added at a lower level."""
    beat, root, scale = 60 / rec.uniform(65, 170), 130 * 2 ** rec.uniform(0, 1.2), SCALES[rec.integers(3)]
    tune, chords, drums = rec.permutation([1.0, rec.choice([0, 0.6]), rec.choice([0, 0.6])])
    tables = [wavetable(rec, 8 * root, rec.uniform(0.3, 2.5)) for _ in range(2)]
    sustained, vibrato, ring = rec.random(2) < 0.5, rec.uniform(0, 0.012), rec.uniform(0.02, 0.07)
    accents, drum_hz = rec.random(4) ** 2, rec.uniform([50, 150, 5_000], [90, 400, 12_000])

    def note(voice: int, degree: int, seconds: float) -> np.ndarray:
        octave, step = divmod(degree, len(scale))
        t = np.arange(int(SYNTH_SR * seconds)) / SYNTH_SR
        f0 = root * 2 ** (octave + scale[step] / 12) * (1 + vibrato * np.sin(2 * np.pi * 5.5 * t))
        fade = np.minimum(1, (seconds - t) / 0.03) if sustained[voice] else np.exp(-4 * t / seconds)
        return oscillate(tables[voice], f0) * fade * np.minimum(1, t / 0.01)

    hits = strokes(rng, np.full(n, 2 / beat), accents, 0.005, ring)
    y, degree = drums * resonate(hits * rng.standard_normal(n), drum_hz, 1.0), 6
    for i, at in enumerate(np.arange(rng.random() * beat / 2, n / SYNTH_SR, beat / 2)):
        degree = int(np.clip(degree + rng.integers(-2, 3), 0, 10))
        if i == 0 or rng.random() < 0.75:
            add_at(y, at, tune * note(0, degree, beat * rng.choice([0.5, 1.0])))
        if i % 4 == 0:
            base = rng.choice([0, 3, 4])
            add_at(y, at, 0.6 * chords * sum(note(1, base + third, 2 * beat) for third in (0, 2, 4)))
    return y


SOURCES = {source.__name__: source for source in (dog_bark, drilling, engine_idling, siren, street_music)}
CLASS_IDS = {label: URBANSOUND8K_CLASSES.index(label) for label in SOURCES}


class Recording(NamedTuple):
    """A simulated source recording; ``entropy`` seeds the properties that its slices share."""

    label: str
    fs_id: int
    entropy: tuple[int, int, int]  # seed, class ID, index within the class
    sr: int
    channels: int
    suffix: str
    subtype: str


def draw_recording(seed: int, label: str, index: int, fs_id: int) -> Recording:
    """Draw the file format of recording ``index`` of a class."""
    rng = default_rng((seed, CLASS_IDS[label], index, 0))
    sr, channels, form = int(rng.choice(SAMPLE_RATES)), int(rng.integers(1, 3)), FORMATS[rng.integers(len(FORMATS))]
    return Recording(label, fs_id, (seed, CLASS_IDS[label], index), sr, channels, *form)


def render_slice(recording: Recording, index: int) -> np.ndarray:
    """Synthesise a slice of a recording: float32 (N, channels) at its sampling rate, 1 to 4 s long, peak below 1."""
    source, distant, rec = default_rng((*recording.entropy, 1)).spawn(3)
    rng = default_rng((*recording.entropy, 2 + index))
    other = rec.choice([label for label in SOURCES if label != recording.label])
    distant_db, snr_db, peak_db, wet, rt60 = rec.uniform([-25, 5, -20, 0.1, 0.1], [-10, 20, -1, 1.0, 0.8])
    octaves = np.log2(EQ_HZ / 1_000)
    noise_db = rng.normal(-rec.uniform(2, 4) * octaves, 2)  # traffic, wind and hiss
    mic_db = rng.normal(rec.normal(rec.uniform(-1, 1) * octaves, 1.5), 2.5)  # the microphone moves between slices
    t = np.arange(SYNTH_SR // 2) / SYNTH_SR
    tail = rec.standard_normal((recording.channels, len(t))) * 10 ** (-3 * t / rt60)
    room = wet * tail / np.linalg.norm(tail, axis=-1, keepdims=True)
    room[:, 0] += 1  # the direct sound

    n = int(SYNTH_SR * (rng.uniform(1, 4) if rng.random() < 0.2 else 4))
    snr_db = rng.uniform(-3, 0) if rng.random() < 0.12 else rng.normal(snr_db, 6)
    y = normalise(SOURCES[recording.label](source, rng, n))
    if rng.random() < 0.6:
        y += 10 ** (distant_db / 20) * normalise(SOURCES[other](distant, rng, n))
    y = scipy.signal.fftconvolve(y[None], room, axes=-1)[:, :n]
    noise = equalise(rng.standard_normal(y.shape), noise_db) * np.exp(0.3 * drift(rng, n, 1.5))
    y += normalise(noise) * y.std() * 10 ** (-snr_db / 20)
    y = soxr.resample(equalise(y, mic_db).T, SYNTH_SR, recording.sr)
    peak = 10 ** (min(-0.5, rng.normal(peak_db, 1.5)) / 20)
    return (y * (peak / np.abs(y).max())).astype(np.float32)


def plan(size: DemoSize) -> list[tuple[str, Recording, int]]:
    """List the clips of a data set, training clips first: relative path, recording, index of the slice."""
    rng = default_rng((size.seed, 0))
    fs_ids = iter((10_000 + rng.permutation(200_000)).tolist())
    # with the offset, the test set's sounds do not change when training recordings are added
    ranges = range(size.recordings), range(100_000, 100_000 + size.test_recordings)
    train, test = ([draw_recording(size.seed, c, i, next(fs_ids)) for c in CLASS_IDS for i in part] for part in ranges)
    clips = []
    for rec, i in product(train, range(size.slices)):
        name = f"{rec.fs_id}-{CLASS_IDS[rec.label]}-{i // 3}-{i % 3}.{rec.suffix}"
        clips.append((f"train/train/{rec.label}/{name}", rec, i))
    for number, at in enumerate(rng.permutation(len(test) * size.test_slices)):
        rec, i = test[at // size.test_slices], int(at % size.test_slices)
        clips.append((f"test/test/clip_{number:04d}.{rec.suffix}", rec, i))
    return clips


def write_demo_data(folder: Path, clips: list[tuple[str, Recording, int]]) -> None:
    """Write the clips, the sample submission and a README into ``folder``."""
    for name, recording, index in tqdm(clips, desc="synthesising demo sounds", unit="clip", disable=None):
        path, y = folder / name, render_slice(recording, index)
        path.parent.mkdir(parents=True, exist_ok=True)
        if recording.subtype == "FLOAT":
            # libsndfile writes the current time into float wavs, so their bytes would not be reproducible
            scipy.io.wavfile.write(path, recording.sr, y)
        else:
            sf.write(path, y, recording.sr, subtype=recording.subtype)
    test = [f"{Path(name).name},dog_bark\n" for name, *_ in clips if name.startswith("test/")]
    (folder / "sample_submission.csv").write_text("".join(["ID,Class\n", *test]))
    (folder / "README.txt").write_text(
        f"{len(clips) - len(test)} training and {len(test)} test clips, all synthetic: "
        f"shared/data/demo_data.py made them with seed {clips[0][1].entropy[0]}. "
        "Scores on them do not predict scores in the competition.\n"
    )


def make_demo_data(data_dir: Path | str, **size: int) -> Path:
    """Synthesise the demo data in the competition's layout. The folder appears only when it is complete.

    Equal arguments give identical files. A folder made earlier with equal arguments is kept.

    Args:
        data_dir: folder to create.
        size: fields of ``DemoSize`` that differ from the defaults.

    Raises:
        UserError: ``data_dir`` holds something else, or a number is out of range.
    """
    wanted = DemoSize(**size)
    for name, number in dataclasses.asdict(wanted).items():
        if number < (least := 0 if name == "seed" else 1):
            raise UserError(f"--{name.replace('_', '-')} {number}: must be {least} or more")
    made_with = json.dumps({"version": VERSION, **dataclasses.asdict(wanted)}, indent=2) + "\n"
    data_dir = Path(data_dir).resolve()
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    partial = data_dir.with_name(data_dir.name + ".partial")
    with FileLock(data_dir.with_name(data_dir.name + ".lock")):
        marker = data_dir / "demo_data.json"
        if marker.is_file() and marker.read_text() == made_with:
            return data_dir
        if data_dir.exists():
            raise UserError(f"--data-dir {data_dir}: exists without these demo sounds; remove it or choose another")
        shutil.rmtree(partial, ignore_errors=True)  # left by a killed process
        with naming_full_disk(partial):
            write_demo_data(partial, plan(wanted))
            (partial / marker.name).write_text(made_with)
        partial.replace(data_dir)
    return data_dir
