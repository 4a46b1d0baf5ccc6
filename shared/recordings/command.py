"""frequency-quest recordings: the near-duplicates of a data folder, and how well its recordings are recovered."""

import dataclasses
import time
from pathlib import Path
from typing import Literal

import tyro

from shared.errors import UserError
from shared.features.spec import PRESETS
from shared.files import CACHE_DIR
from shared.recordings.thresholds import DISTANCE


@dataclasses.dataclass(kw_only=True)
class RecordingsOptions:
    """Find near-duplicates and groups in a data folder, and compare them with its recordings if names tell those."""

    data_dir: Path
    """Folder of sounds (Kaggle layout, a folder per class, UrbanSound8K, or recordings/)."""
    distance: float = DISTANCE
    """1 - cosine at which groups stay apart, 0 to 2; more makes fewer and larger groups."""
    recordings: Literal["all", "even", "odd"] = "all"
    """All, or those in even or odd places of each class; the defaults were chosen on the even ones."""
    cache_dir: Path = CACHE_DIR
    """Where the spectrograms are kept."""
    n_jobs: int | None = None
    """Processes that compute spectrograms; None is one a core."""


def main() -> None:
    options = tyro.cli(RecordingsOptions)
    if not 0 <= options.distance <= 2:
        raise UserError(f"--distance {options.distance}: must be between 0 and 2")
    import pandas as pd  # and scikit-learn, joblib: --help does not wait for them

    from shared.data.datasets import load_dataset
    from shared.features.cache import FeatureCache
    from shared.recordings.similarity import agreement, near_duplicates, similarity_groups

    dataset = load_dataset(options.data_dir)
    manifest = dataset.manifest
    if options.recordings != "all":
        place = manifest.groupby("label").group.rank("dense") - 1
        manifest = manifest[place % 2 == (options.recordings == "odd")]
    clips = FeatureCache(PRESETS["classifier"], options.cache_dir).build(list(manifest.path), n_jobs=options.n_jobs)
    if not clips.kept:
        raise UserError(f"--data-dir {options.data_dir}: none of its {len(manifest)} files is usable")
    labels, recordings = (manifest[name].iloc[clips.kept].to_numpy(object) for name in ("label", "group"))
    began = time.perf_counter()
    pairs = near_duplicates(clips.features)
    print(f"{len(pairs)} near-duplicate pairs among {len(labels)} clips ({time.perf_counter() - began:.1f} s)")
    groups = similarity_groups(clips.features, labels, distance=options.distance, pairs=pairs)
    print(f"{len(set(groups))} groups (in all {time.perf_counter() - began:.1f} s)")
    for label, members in pd.Series(groups).groupby(labels):
        sizes = members.value_counts()
        print(f"  {label}: {len(sizes)}, the largest {sizes.iloc[0] / len(members):.0%} of {len(members)} clips")
    if dataset.groups_known:
        print(f"{len(set(recordings))} recordings known by name")
        same = (recordings[pairs.i] == recordings[pairs.j]).sum()
        print(f"  near_duplicates/precision {same / max(1, len(pairs)):.3f}")
        for name, value in agreement(groups, recordings, labels).items():
            print(f"  {name} {value:.3f}")
