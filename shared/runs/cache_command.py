"""frequency-quest cache: the spectrograms of a data folder, computed before any training needs them."""

import dataclasses
from pathlib import Path

import tyro

from shared.features.spec import preset
from shared.files import CACHE_DIR


@dataclasses.dataclass(kw_only=True)
class CacheOptions:
    """Compute the spectrograms of a data folder once; training reads them from there."""

    data_dir: Path
    """Folder of sounds (Kaggle layout, a folder per class, UrbanSound8K, or recordings/)."""
    preset: str = "classifier"
    """Which FeatureSpec of shared/features/spec.py: classifier, strong, cgan, digits, ..."""
    cache_dir: Path = CACHE_DIR
    """Where the shards go."""
    n_jobs: int | None = None
    """Worker processes; None is one a core."""


def main() -> None:
    options = tyro.cli(CacheOptions)
    spec = preset(options.preset)
    from shared.data.datasets import load_dataset  # pandas and joblib: --help does not wait for them
    from shared.features.cache import FeatureCache

    dataset = load_dataset(options.data_dir)
    cache = FeatureCache(spec, options.cache_dir)
    clips = cache.build([*dataset.manifest.path, *dataset.test_files], n_jobs=options.n_jobs)
    for path, reason in clips.rejects.items():
        print(f"skipped {path}: {reason}")
    print(f"{len(clips.kept)} clips of {spec.shape} in {cache.dir}, {len(clips.rejects)} skipped")
