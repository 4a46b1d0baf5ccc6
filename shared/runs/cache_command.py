"""frequency-quest cache: compute the spectrograms of a data folder before training."""

import dataclasses
from pathlib import Path

import tyro

from shared.features.spec import preset
from shared.files import CACHE_DIR


@dataclasses.dataclass(kw_only=True)
class CacheOptions:
    """Compute the spectrograms of a data folder once, so that trainings start sooner."""

    data_dir: Path
    """Folder of sounds in a layout that docs/data.md lists, such as one folder per class."""
    preset: str = "classifier"
    """Spectrogram preset of shared/features/spec.py, such as classifier, strong, cgan or digits."""
    cache_dir: Path = CACHE_DIR
    """Folder for the computed spectrograms."""
    n_jobs: int | None = None
    """Processes that compute spectrograms; None uses all cores."""


def main() -> None:
    options = tyro.cli(CacheOptions)
    spec = preset(options.preset)
    from shared.data.datasets import load_dataset  # imported late: --help does not wait for pandas and joblib
    from shared.features.cache import FeatureCache

    dataset = load_dataset(options.data_dir)
    cache = FeatureCache(spec, options.cache_dir)
    clips = cache.build([*dataset.manifest.path, *dataset.test_files], n_jobs=options.n_jobs)
    for path, reason in clips.rejects.items():
        print(f"skipped {path}: {reason}")
    print(f"{len(clips.kept)} spectrograms of shape {spec.shape} in {cache.dir}; {len(clips.rejects)} files skipped")
