"""frequency-quest cache: compute a data folder's spectrograms before training, and look after those on the disk."""

import dataclasses
from pathlib import Path
from typing import Literal

import tyro

from shared.errors import UserError
from shared.features.spec import preset
from shared.files import CACHE_DIR


@dataclasses.dataclass(kw_only=True)
class CacheOptions:
    """Compute a data folder's spectrograms once, so that trainings start sooner, or look after those on the disk."""

    action: tyro.conf.Positional[Literal["build", "info", "verify", "repair", "prune"]] = "build"
    """build computes the spectrograms of --data-dir. info lists the cache's folders. verify compares all files with
    their checksums; its exit code is 2 if some are damaged. repair removes damaged files, so that the next command
    computes their clips again. prune deletes what other versions of the code or the libraries computed, and files that
    no index lists."""
    data_dir: Path | None = None
    """Folder of sounds, such as one folder per class, or a CSV that lists them (docs/data.md); build only."""
    preset: str = "classifier"
    """Spectrogram preset of shared/features/spec.py, such as classifier, strong, cgan or digits; build only."""
    cache_dir: Path = CACHE_DIR
    """Folder of the computed spectrograms."""
    n_jobs: int | None = None
    """Processes that compute spectrograms; None uses all cores."""
    scheduler: str | None = None
    """Address of a Dask cluster whose workers compute spectrograms (docs/cluster.md), or local for one on this machine;
    None uses no Dask; build only."""


def main() -> None:
    options = tyro.cli(CacheOptions)
    if options.action == "build":
        build(options)
    elif not options.cache_dir.is_dir():
        raise UserError(f"--cache-dir {options.cache_dir}: no such folder; give a cache folder, or build one")
    else:
        look_after(options)


def build(options: CacheOptions) -> None:
    """Compute the spectrograms of the data folder."""
    spec = preset(options.preset)
    if options.data_dir is None:
        raise UserError("--data-dir: missing; name the folder of sounds whose spectrograms are computed")
    from shared.data.datasets import load_dataset  # imported late: --help does not wait for pandas and joblib
    from shared.features.cache import FeatureCache

    dataset = load_dataset(options.data_dir)
    cache = FeatureCache(spec, options.cache_dir, scheduler=options.scheduler)
    clips = cache.build([*dataset.manifest.path, *dataset.test_files], n_jobs=options.n_jobs)
    for path, reason in clips.rejects.items():
        print(f"skipped {path}: {reason}")
    print(f"{len(clips.kept)} spectrograms of shape {spec.shape} in {cache.dir}; {len(clips.rejects)} files skipped")


def look_after(options: CacheOptions) -> None:
    """List, verify, repair or prune the folders of the cache.

    Raises:
        UserError: ``verify`` found damage.
    """
    from shared.features import upkeep

    found = list(upkeep.folders(options.cache_dir))
    damage = freed = 0
    for folder in found:
        state = "of other versions" if folder.outdated else "current"
        if folder.unlisted:
            state += f", {len(folder.unlisted)} file(s) that no index lists"
        about = f"{folder.path}: {folder.preset}, {len(folder.index)} clips, {folder.size / 2**20:.1f} MiB, {state}"
        if options.action == "info":
            print(about)
        elif options.action == "prune":
            freed += upkeep.prune(folder)
        else:
            names = folder.damaged() if options.action == "verify" else upkeep.repair(folder)
            damage += len(names) + folder.index.damaged
            faults = f"{len(names)} of {len(folder.index.shards)} shards and {folder.index.damaged} lines damaged"
            print(f"{about}: {faults if names or folder.index.damaged else 'intact'}")
            print(*(f"  {folder.path / name}.npy" for name in names), sep="\n", end="\n" if names else "")
    if not found:
        print(f"{options.cache_dir}: holds no spectrograms")
    if options.action == "prune":
        print(f"freed {freed / 2**20:.1f} MiB")
    elif options.action == "repair" and damage:
        print("removed; the next command that needs these clips computes them again")
    elif damage:
        raise UserError(f"--cache-dir {options.cache_dir}: damaged; frequency-quest cache repair removes the damage")
