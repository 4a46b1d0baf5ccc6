"""frequency-quest recordings: near-duplicates and groups of similar clips in a data folder."""

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
    """Count near-duplicates and groups of similar clips in a data folder. If the file names contain the recordings,
    compare the groups with them."""

    data_dir: Path
    """Folder of sounds (Kaggle layout, a folder per class, UrbanSound8K, or recordings/)."""
    distance: float = DISTANCE
    """Merge groups up to this mean distance (1 - cosine), 0 to 2; a larger value gives fewer and larger groups."""
    recordings: Literal["all", "even", "odd"] = "all"
    """Use all recordings, or only those at even or odd positions of each class; the thresholds were chosen on even."""
    cache_dir: Path = CACHE_DIR
    """Folder of the cached spectrograms."""
    n_jobs: int | None = None
    """Processes that compute spectrograms; None is one per core."""


def main() -> None:
    options = tyro.cli(RecordingsOptions)
    if not 0 <= options.distance <= 2:
        raise UserError(f"--distance {options.distance}: must be between 0 and 2")
    import pandas as pd  # imported here, like scikit-learn and joblib below, so that --help is fast

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
        raise UserError(f"--data-dir {options.data_dir}: none of its {len(manifest)} files can be used; give others")
    labels, recordings = (manifest[name].iloc[clips.kept].to_numpy(object) for name in ("label", "group"))
    began = time.perf_counter()
    pairs = near_duplicates(clips.features)
    print(f"{len(pairs)} near-duplicate pairs among {len(labels)} clips ({time.perf_counter() - began:.1f} s)")
    groups = similarity_groups(clips.features, labels, distance=options.distance, pairs=pairs)
    print(f"{len(set(groups))} groups of similar clips ({time.perf_counter() - began:.1f} s in total)")
    for label, members in pd.Series(groups).groupby(labels):
        sizes = members.value_counts()
        largest = f"the largest has {sizes.iloc[0]} of {len(members)} clips"
        print(f"  {label}: {len(sizes)} groups; {largest}")
    if dataset.groups_known:
        print(f"{len(set(recordings))} recordings, known from the file names; agreement with the groups:")
        same = (recordings[pairs.i] == recordings[pairs.j]).sum()
        print(f"  near_duplicates/precision {same / max(1, len(pairs)):.3f}")
        for name, value in agreement(groups, recordings, labels).items():
            print(f"  {name} {value:.3f}")
