"""The figures of an evaluation by the scorers: each is a classifier, computed in a process of its own."""

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from classification.inference.classifier import Classifier
from generation.evaluation.embedding import embed, embed_noise
from generation.evaluation.figures import COLUMNS, METRICS, NOTHING, accuracy_share, compare
from generation.evaluation.notes import notes_on
from generation.evaluation.options import EvaluateOptions
from shared.features.cache import FeatureCache
from shared.files import read_json
from shared.runs.processes import in_own_process


@dataclasses.dataclass(frozen=True)
class Compared:
    """The files that every scorer compares.

    Attributes:
        real: the real clips that all others are compared with.
        others: column of the table -> its files, or None; "samples" are the generated ones.
        common: labels that samples and reference share.
    """

    real: pd.DataFrame
    others: dict[str, pd.DataFrame | None]
    common: Collection[str]


def score_all(classifiers: Sequence[Path], files: Compared, options: EvaluateOptions) -> list[dict[str, Any]]:
    """The figures by each classifier; several never share a process, because their frameworks must not."""
    if len(classifiers) == 1:
        return [score(classifiers[0], files, options)]
    return [in_own_process(score, run, files, options) for run in classifiers]


def score(classifier: Path, files: Compared, options: EvaluateOptions) -> dict[str, Any]:
    """The figures by one classifier: name, title, features (their number), clips, metrics, by_label and notes."""
    model = Classifier.load(classifier, device=options.device)
    cache = FeatureCache(model.spec, options.cache_dir)
    seen = {
        name: None if those is None else embed(model, those, cache, name=name, n_jobs=options.n_jobs)
        for name, those in files.others.items()
    }
    real = embed(model, files.real, cache, name="real", n_jobs=options.n_jobs)
    made = seen["samples"]
    noise = embed_noise(model, made.manifest.label, real.manifest.path, seed=options.seed)
    how = {"common": files.common, "seed": options.seed}
    held_out = {"floor": None, "vocoded_floor": None}  # these are the held-out clips
    found = {
        name: NOTHING if x is None else compare(x, real, held_out.get(name, seen["floor"]), **how)
        for name, x in (seen | {"ceiling": noise}).items()
    }
    sizes = {"real": real} | seen
    metrics = {
        name: {"name": title, "better": better} | {key: found[key][0][name] for key in COLUMNS if key in found}
        for name, (title, better) in METRICS.items()
    }
    by_label = {name: rows for name, (_, rows) in found.items()}
    return {
        "classifier": str(classifier),
        "name": classifier.resolve().name,
        "title": title_of(classifier),
        "features": made.features.shape[1],
        "clips": {name: 0 if x is None else len(x) for name, x in sizes.items()},
        "metrics": metrics,
        "by_label": by_label,
        "accuracy_share": accuracy_share(metrics, by_label),
        "notes": notes_on(made, real, seen["floor"], classifier=model, common=files.common),
    }


def title_of(classifier: Path) -> str:
    """What distinguishes a classifier from another, e.g. "keras, strong, features classifier, seed 1"."""
    options = read_json(classifier / "config.json")["options"]
    return f"{options['framework']}, {options['recipe']}, features {options['features']}, seed {options['seed']}"
