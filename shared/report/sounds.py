"""The sounds in the report: for each class real clips, real clips through each vocoder, and each generator's samples.

All pictures have one time axis, one frequency axis and one range of levels.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from shared.audio import resample
from shared.errors import AudioError
from shared.features.spec import FeatureSpec
from shared.report.pages import data_uri, flac_uri, read_sound
from shared.report.plots import spectrogram_png
from shared.report.run_view import RunView
from shared.runs.sounds import RealClip, Samples, find_samples, real_clips

PER_SOURCE = 2  # sounds of a class from each source
MAX_BYTES = 8 * 10**6  # of all sounds and pictures; beyond it one sound from each source is shown, then fewer classes
COLUMNS, BANDS = 220, 64  # of a picture, in pixels
WINDOW_SECONDS = 0.046
TICKS = (500, 2000, 8000)  # Hz


@dataclasses.dataclass(frozen=True)
class Source:
    """Where sounds of a class come from: a title, a remark, and the files."""

    title: str
    remark: str
    files: list[Path]


@dataclasses.dataclass(frozen=True)
class Card:
    """A source's sounds as the page shows them: (player, picture) as data URIs."""

    title: str
    remark: str
    sounds: list[tuple[str, str]]

    @property
    def bytes(self) -> int:
        return sum(len(uri) for sound in self.sounds for uri in sound)


@dataclasses.dataclass(frozen=True)
class Grid:
    """All cards by class.

    Attributes:
        spec: the spectrograms of the pictures.
        ticks: (label, height in the picture from 0 to 1) of some frequencies.
        left_out: classes that are left out to keep the page small.
    """

    cards: dict[str, list[Card]]
    spec: FeatureSpec
    ticks: list[tuple[str, float]]
    left_out: list[str]


def sound_grid(generators: Sequence[RunView]) -> Grid | None:
    """The grid of these runs; None if none of them has a sound."""
    sources = find_sources(generators)
    if not sources:
        return None
    spec = common_spec([run.config["features"] for run in generators])
    made: dict[Path, tuple[str, str] | None] = {}

    def embedded(path: Path) -> tuple[str, str] | None:
        if path not in made:
            made[path] = embed(path, spec)
        return made[path]

    for per_source in range(PER_SOURCE, 0, -1):
        cards = {label: cards_of(those, per_source, embedded) for label, those in sources.items()}
        if sum(card.bytes for row in cards.values() for card in row) <= MAX_BYTES:
            break
    sizes = np.cumsum([sum(card.bytes for card in row) for row in cards.values()])
    shown = list(cards)[: max(1, int(np.searchsorted(sizes, MAX_BYTES, side="right")))]
    return Grid({label: cards[label] for label in shown}, spec, ticks(spec), list(cards)[len(shown) :])


def find_sources(generators: Sequence[RunView]) -> dict[str, list[Source]]:
    """class -> real clips, real clips through each vocoder, samples of each run; classes in alphabetical order."""
    samples = [(run, found) for run in generators for found in find_samples(run.dir, run.metrics)]
    clips = next(filter(None, (real_clips(run.dir, run.metrics.get("classes", [])) for run in generators)), {})
    return {
        label: [
            *real_sources(label, clips.get(label, []), samples),
            *(
                Source(run.name, remark(found), found.generated[label])
                for run, found in samples
                if label in found.generated
            ),
        ]
        for label in sorted({label for _, found in samples for label in found.generated})
    }


def remark(samples: Samples) -> str:
    """The vocoder, what the folder's name says beside it, and how sounds were selected."""
    if samples.name is None:
        return "last epoch"
    name = samples.name.removeprefix("samples").removeprefix("-")
    best = f"best of {samples.best_of} by a classifier" if samples.best_of > 1 else ""
    return ", ".join(dict.fromkeys(filter(None, (samples.vocoder, name, best))))


def real_sources(label: str, clips: Sequence[RealClip], samples: Sequence[tuple[RunView, Samples]]) -> list[Source]:
    """The real clips that most runs have vocoded, untouched and through each vocoder of each preset."""
    vocoded = [(run, found, {path.stem: path for path in found.vocoded.get(label, [])}) for run, found in samples]
    chosen = [stem for stem, _ in Counter(stem for *_, paths in vocoded for stem in paths).most_common(PER_SOURCE)]
    by_stem = {clip.path.stem: clip for clip in clips}
    real = [by_stem[stem] for stem in chosen if stem in by_stem] or list(clips[:PER_SOURCE])
    sources = {}
    if real:
        held_out = all(clip.held_out for clip in real)
        sources["real"] = Source("real", "held-out recording" if held_out else "", [clip.path for clip in real])
    for run, found, paths in vocoded:
        if files := [paths[stem] for stem in chosen if stem in paths]:
            preset = run.config["options"].get("features")
            how = ", ".join(filter(None, (found.vocoder, preset and f"preset {preset}")))
            sources.setdefault(how, Source("real, vocoded", how, files))
    return list(sources.values())


def cards_of(
    sources: Sequence[Source], per_source: int, embedded: Callable[[Path], tuple[str, str] | None]
) -> list[Card]:
    """The cards of a class, each with at most ``per_source`` sounds; sources without a readable file are left out."""
    cards = [
        Card(source.title, source.remark, [sound for path in source.files[:per_source] if (sound := embedded(path))])
        for source in sources
    ]
    return [card for card in cards if card.sounds]


def embed(path: Path, spec: FeatureSpec) -> tuple[str, str] | None:
    """Player and picture of a file as data URIs; None if it cannot be decoded."""
    try:
        y, sr = read_sound(path, duration=spec.duration, max_sr=spec.sr)
    except AudioError:
        return None
    return flac_uri(y, sr), data_uri(spectrogram_png(resample(y, sr, spec.sr), spec), "image/png")


def common_spec(features: Sequence[dict]) -> FeatureSpec:
    """The spectrogram of all pictures: as long as the longest sounds, up to the highest sampling rate's half."""
    sr, duration = max(each["sr"] for each in features), max(each["duration"] for each in features)
    hop_length = -(-round(sr * duration) // COLUMNS)
    n_fft = 2 ** int(np.ceil(np.log2(max(sr * WINDOW_SECONDS, 2 * hop_length))))
    return FeatureSpec(sr=sr, duration=duration, n_fft=n_fft, hop_length=hop_length, n_mels=BANDS)


def ticks(spec: FeatureSpec) -> list[tuple[str, float]]:
    from librosa import hz_to_mel  # takes half a second, which --help does not need

    low, high = hz_to_mel([spec.fmin, spec.sr / 2])
    heights = (hz_to_mel(np.asarray(TICKS, dtype=float)) - low) / (high - low)
    names = [f"{f // 1000} kHz" if f >= 1000 else f"{f} Hz" for f in TICKS]
    return [(name, float(height)) for name, height in zip(names, heights, strict=True) if height < 0.95]
