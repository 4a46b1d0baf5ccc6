"""What every entry script's command line shares: the common options, recipes and the first steps of a run."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import pandas as pd
import tyro

from shared.data.datasets import Dataset, load_dataset, segments
from shared.data.demo_data import make_demo_data
from shared.data.splits import take_fraction
from shared.errors import UserError
from shared.features.cache import DEFAULT_CACHE_DIR, FeatureCache, Features
from shared.features.transforms import FeatureSpec
from shared.files import PROJECT_ROOT
from shared.runs.run import Run, describe, fingerprint

DEMO_DIR = PROJECT_ROOT / "data" / "demo"
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16"]
OptionsT = TypeVar("OptionsT", bound="CommonOptions")


@dataclasses.dataclass(kw_only=True)
class CommonOptions:
    """The options that carry one name in every entry."""

    data_dir: Path | None = None
    """Folder of labelled sounds; None synthesises the embedded demo data in data/demo."""
    out_dir: Path | None = None
    """Run folder; the same command on it resumes. None is runs/<what is trained>."""
    recipe: str = "plain"
    """Named set of defaults; flags override it."""
    epochs: int = 40
    """Passes over the training clips."""
    batch_size: int = 32
    """Clips a step."""
    seed: int = 0
    """Of the split, the initial weights, the order of the batches and all noise."""
    fraction: float = 1.0
    """Share of each class's clips used, for quick trials."""
    max_skip: float = 0.2
    """Share of the files that may turn out unusable; above it nothing is trained."""
    device: Device = "auto"
    """Where to compute; auto takes a GPU if there is one."""
    precision: Precision = "auto"
    """Arithmetic of the network; auto is bfloat16 only where it was measured to pay."""
    cache_dir: Path = DEFAULT_CACHE_DIR
    """Where the computed spectrograms are kept."""
    n_jobs: int | None = None
    """Processes that compute spectrograms; None is one a core."""
    dry_run: bool = False
    """Print the run's configuration and stop."""
    overwrite: bool = False
    """Throw away the run in --out-dir and begin anew."""

    def check(self) -> None:
        """Refuse values no run can use; entries add to it.

        Raises:
            UserError: naming the option, its value and what it must be.
        """
        self.require("1 or more", lambda value: value is None or value >= 1, "epochs", "batch_size")
        self.require("0 or more", lambda value: value >= 0, "seed")
        self.require("between 0 and 1", lambda value: 0 <= value <= 1, "max_skip")

    def require(self, what: str, test: Callable[[Any], bool], *names: str) -> None:
        for name in names:
            if not test(getattr(self, name)):
                raise UserError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be {what}")


def parse(
    options: type[OptionsT],
    recipes: Mapping[str, Mapping[str, Any]],
    *,
    models: Mapping[str, Mapping[str, Any]] | None = None,
) -> OptionsT:
    """The command line as ``options``: the recipe's differences become the defaults, flags override them.

    ``models`` are the differences of each --model, where an entry has one; the recipe's come on top.
    """
    flags = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    flags.add_argument("--recipe", nargs="?", default=options.recipe)
    flags.add_argument("--model", nargs="?", default=getattr(options, "model", None))
    chosen = flags.parse_known_args()[0]
    if chosen.recipe not in recipes:
        raise UserError(f"--recipe {chosen.recipe}: unknown; choose one of {', '.join(recipes)}")
    differences = (models or {}).get(chosen.model, {}) | recipes[chosen.recipe]
    parsed = tyro.cli(options, default=options(recipe=chosen.recipe, **differences))
    parsed.check()
    return parsed


@dataclasses.dataclass(frozen=True)
class Clips:
    """The usable labelled clips of a data folder: row i of ``manifest`` is clip i of ``features``."""

    dataset: Dataset
    manifest: pd.DataFrame
    features: Features
    rejects: dict[Path, str]
    data: dict[str, Any]  # what config.json says of them

    @property
    def classes(self) -> list[str]:
        """The label encoder: a class's ordinal is its place in this sorted list."""
        return sorted(self.manifest.label.unique())


def find_data(options: CommonOptions) -> Dataset:
    """The data folder, recognised; without one the demo sounds, made if need be."""
    if options.data_dir is None:
        make_demo_data(DEMO_DIR)
        print(f"no --data-dir given: training on SYNTHETIC demo sounds in {DEMO_DIR}", flush=True)
    return load_dataset(options.data_dir or DEMO_DIR)


def load_clips(options: CommonOptions, dataset: Dataset, spec: FeatureSpec, *, segmented: bool = False) -> Clips:
    """Compute the features that are missing, leave out and list what cannot be used.

    ``segmented`` splits every clip into parts of the spec's duration, each of which then is a clip.
    """
    manifest = take_fraction(dataset.manifest, fraction=options.fraction, seed=options.seed)
    if segmented:
        manifest = segments(manifest, duration=spec.duration)
    offsets = manifest.offset if segmented else None
    clips = FeatureCache(spec, options.cache_dir).build(list(manifest.path), offsets=offsets, n_jobs=options.n_jobs)
    if not clips.kept:
        path, reason = next(iter(clips.rejects.items()))
        raise UserError(
            f"--data-dir {dataset.root}: none of its {len(manifest)} files is usable; the first, {path}: {reason}"
        )
    if len(clips.rejects) > options.max_skip * len(manifest):
        path, reason = next(iter(clips.rejects.items()))
        raise UserError(
            f"--max-skip {options.max_skip}: {len(clips.rejects)} of {len(manifest)} files are unusable; the first, "
            f"{path}: {reason}. Mend them, or allow a larger share"
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
    return Clips(dataset, manifest, clips.features, clips.rejects, data)


def open_run(
    options: CommonOptions,
    clips: Clips,
    *,
    default_dir: str,
    extendable: frozenset[str] = frozenset(),
    details: Mapping[str, Any] | None = None,
) -> Run:
    """The run folder of these options; with --dry-run prints its configuration and ends the program."""
    config = describe(dataclasses.asdict(options), clips.data) | dict(details or {})
    if options.dry_run:
        print(json.dumps(config, indent=2))
        sys.exit(0)
    out_dir = options.out_dir or Path("runs") / default_dir
    run = Run(out_dir, config, overwrite=options.overwrite, extendable=extendable)
    run.write_rejects(clips.rejects)
    return run


def once(run: Run, train: Callable[[], None]) -> None:
    """Train unless the run folder already holds the finished run."""
    if run.finished:
        print(f"{run.dir} is already done; nothing to do (--overwrite begins it anew)")
    else:
        train()
    run.close()
