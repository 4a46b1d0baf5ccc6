"""The first steps of every training: load the usable clips of the data folder and open the run folder."""

import dataclasses
import json
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from shared.data.datasets import Dataset, load_dataset, segments
from shared.data.demo_data import make_demo_data
from shared.data.splits import take_fraction
from shared.errors import UserError
from shared.features.cache import FeatureCache
from shared.features.shards import Features
from shared.features.spec import FeatureSpec
from shared.files import DEMO_DIR
from shared.runs import ranks
from shared.runs.options import CommonOptions, flat
from shared.runs.run import Run, UnwrittenRun, describe, fingerprint


@dataclasses.dataclass(frozen=True)
class Clips:
    """The usable labelled clips of a data folder: row i of ``manifest`` is clip i of ``features``."""

    dataset: Dataset
    manifest: pd.DataFrame
    features: Features
    rejects: dict[str, str]
    data: dict[str, Any]  # the entry "data" of config.json

    @property
    def classes(self) -> list[str]:
        """The class names in the order of their ordinals."""
        return sorted(self.manifest.label.unique())

    def take(self, rows: np.ndarray) -> Self:
        """The clips at these positions."""
        manifest = self.manifest.iloc[rows].reset_index(drop=True)
        return dataclasses.replace(self, manifest=manifest, features=self.features.take(rows))


def find_data(options: CommonOptions) -> Dataset:
    """The clips of the data folder; without --data-dir, the demo sounds, which are synthesised if missing."""
    if options.data_dir is None:
        with ranks.first_alone():
            make_demo_data(DEMO_DIR)
        print(f"no --data-dir: training on SYNTHETIC demo sounds in {DEMO_DIR}", flush=True)
    return load_dataset(options.data_dir or DEMO_DIR)


def load_clips(options: CommonOptions, dataset: Dataset, spec: FeatureSpec, *, segmented: bool = False) -> Clips:
    """Compute the spectrograms that are not in the cache, and leave out unusable files.

    Args:
        segmented: cut every file into clips of the spec's duration.

    Raises:
        UserError: no file is usable, or more are unusable than --max-skip allows.
    """
    manifest = take_fraction(dataset.manifest, fraction=options.fraction, seed=options.seed)
    if segmented:
        manifest = segments(manifest, duration=spec.duration)
    offsets = manifest.offset if segmented else None
    how = {"offsets": offsets, "n_jobs": options.n_jobs, "verify_data": options.verify_data}
    cache = FeatureCache(spec, options.cache_dir, scheduler=options.scheduler)
    with ranks.first_alone():
        clips = cache.build(list(manifest.path), **how)
    first = next((f"the first, {path}: {reason}" for path, reason in clips.rejects.items()), "")
    if not clips.kept:
        raise UserError(f"--data-dir {dataset.root}: none of its {len(manifest)} files is usable; {first}")
    if len(clips.rejects) > options.max_skip * len(manifest):
        raise UserError(
            f"--max-skip {options.max_skip}: {len(clips.rejects)} of {len(manifest)} files are unusable; {first}. "
            "Repair or remove them, or allow a larger share"
        )
    manifest = manifest.iloc[clips.kept].reset_index(drop=True)
    data = {
        "root": dataset.root,
        "layout": dataset.layout,
        "synthetic": (dataset.root / "demo_data.json").is_file(),
        "clips": len(manifest),
        "classes": manifest.label.value_counts().sort_index().to_dict(),
        "recordings": int(manifest.group.nunique()) if dataset.groups_known else None,
        "skipped": len(clips.rejects),
        "fingerprint": fingerprint(manifest, clips.hashes),
    }
    if backbone := spec.used_backbone:
        data["backbone"] = backbone.content
    return Clips(dataset, manifest, clips.features, clips.rejects, data)


def open_run(
    options: CommonOptions, clips: Clips, *, default_dir: str, details: dict[str, Any], extendable: Collection[str] = ()
) -> Run:
    """Open the run folder of these options. With --dry-run, print the configuration and exit instead.

    Raises:
        UserError: a machine of the launch has other data than the first.
    """
    config = describe(flat(options), clips.data) | details
    if options.dry_run:
        print(json.dumps(config, indent=2))
        ranks.end()
        sys.exit(0)
    out_dir = options.out_dir or Path("runs") / default_dir
    if ranks.agreed(clips.data["fingerprint"]) != clips.data["fingerprint"]:
        raise UserError(f"--data-dir {clips.dataset.root}: differs from that of the launch's first machine")
    if not ranks.is_first():
        return UnwrittenRun(out_dir, config)
    run = Run(out_dir, config, overwrite=options.overwrite, extendable=extendable)
    run.write_rejects(clips.rejects)
    return run


def once(run: Run, train: Callable[[], None]) -> None:
    """Train unless the run is already finished. The processes of a launch part after it."""
    if ranks.agreed(run.finished):
        print(f"{run.dir} is already done; --overwrite trains it again")
    else:
        train()
    run.close()
    ranks.end()
