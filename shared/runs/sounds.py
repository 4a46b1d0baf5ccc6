"""The sounds of a generator's run: what it generated, the real clips of its data folder, real clips vocoded by it.

A run has samples/, and samples-<name>/ for other vocoders or settings. They hold <label>_<n>.wav, samples.json and
reference/<label>/<clip>.wav: real clips that passed through the same vocoder.
"""

import csv
import dataclasses
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from shared.errors import UserError
from shared.files import base_folder, read_json, safe_name

CLIPS = "clips.csv"  # every clip of the data folder: path, label, recording, clip, trained_on (true or false)
SAMPLES = "samples.json"  # in a folder of samples: the run of the generator that made them, its classes, the vocoder
REFERENCE = "reference"
_SAMPLE_NAME = re.compile(r"(?P<label>.+?)_(?:ep)?\d+")  # <label>_<n> of sample.py, <label>_ep<n> of a run's epochs


@dataclasses.dataclass(frozen=True)
class Samples:
    """Sounds of a run that passed through one vocoder: class -> files, generated and real.

    Attributes:
        name: the folder in the run; None if the sounds are those of the last epoch.
        vocoder: its name; "" if the run does not say.
        best_of: a classifier chose each sound among this many.
    """

    name: str | None
    vocoder: str
    best_of: int
    generated: dict[str, list[Path]]
    vocoded: dict[str, list[Path]]


@dataclasses.dataclass(frozen=True)
class RealClip:
    """A real clip; it is held out if the generator was not trained on any clip of its recording."""

    path: Path
    label: str
    held_out: bool


def sample_labels(files: Sequence[Path], classes: Iterable[str]) -> list[str]:
    """The labels in the names of generated sounds; "" where a name has none.

    Args:
        classes: labels to restore where a file name holds their ``safe_name``.
    """
    label_of = {safe_name(label): label for label in classes}
    names = [_SAMPLE_NAME.fullmatch(path.stem) for path in files]
    return [label_of.get(name["label"], name["label"]) if name else "" for name in names]


def find_samples(run_dir: Path, metrics: dict[str, Any]) -> list[Samples]:
    """The sounds of each folder of samples; without such a folder, those of the run's last epoch.

    Args:
        metrics: the run's metrics.json.
    """
    classes = metrics.get("classes", [])
    found = []
    for folder in sorted(run_dir.glob("samples*/")):
        if generated := _by_label(sorted(folder.glob("*.wav")), classes):
            said = _said(folder)
            vocoder = said.get("vocoder") or metrics.get("vocoder", "")
            vocoded = {
                label: files
                for label in generated
                if (files := sorted((folder / REFERENCE / safe_name(label)).glob("*.wav")))
            }
            found.append(Samples(folder.name, vocoder, said.get("best_of", 1), generated, vocoded))
    last_epoch = sorted(run_dir.glob(f"*_generated_audio/*_ep{metrics.get('train/epochs')}.wav"))
    if not found and last_epoch:
        found = [Samples(None, metrics.get("vocoder", ""), 1, _by_label(last_epoch, classes), {})]
    return found


def _by_label(files: Sequence[Path], classes: Iterable[str]) -> dict[str, list[Path]]:
    by_label = defaultdict(list)
    for path, label in zip(files, sample_labels(files, classes), strict=True):
        by_label[label].append(path)
    return dict(by_label)


def _said(folder: Path) -> dict[str, Any]:
    """samples.json; {} for samples of another origin."""
    try:
        return dict(read_json(folder / SAMPLES))
    except (OSError, UserError, ValueError, TypeError):
        return {}


def real_clips(
    run_dir: Path, classes: Sequence[str], *, data_dir: Path | None = None, seed: int = 0
) -> dict[str, list[RealClip]]:
    """The real clips of each class, in random order: first one of each recording, then a second one, and so on.

    Only clips of held-out recordings are returned for a class that has some. A generator of a single class, whatever
    its name, takes the clips of all labels.

    Args:
        classes: the classes of the generator.
        data_dir: where the clips are; None takes the folder that the run was trained on.

    Returns:
        class -> clips whose file exists; {} if the run does not list its clips.
    """
    if not (run_dir / CLIPS).is_file():
        return {}
    root = base_folder(data_dir or Path(read_json(run_dir / "config.json", data=dict)["data"]["root"]))
    with (run_dir / CLIPS).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    trained_on = {row["recording"] for row in rows if row.get("trained_on") == "True"}
    recordings: dict[str, dict[str, list[RealClip]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        label = classes[0] if len(classes) == 1 else row["label"]
        held_out = bool(trained_on) and row["recording"] not in trained_on
        if label in classes and (path := root / row["path"]).is_file():
            recordings[label][row["recording"]].append(RealClip(path, label, held_out))
    return {label: _spread(recordings[label], random.Random(seed)) for label in classes if label in recordings}


def _spread(by_recording: dict[str, list[RealClip]], rng: random.Random) -> list[RealClip]:
    held_out = [clips for clips in by_recording.values() if clips[0].held_out]
    chosen = [rng.sample(clips, len(clips)) for clips in held_out or by_recording.values()]
    rng.shuffle(chosen)
    ordered = sorted(((turn, i) for i, clips in enumerate(chosen) for turn in range(len(clips))))
    return [chosen[i][turn] for turn, i in ordered]
