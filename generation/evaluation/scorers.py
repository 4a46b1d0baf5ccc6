"""The figures of an evaluation by one classifier, the scorer."""

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

from classification.inference.classifier import Classifier
from generation.evaluation.embedding import embed, embed_noise
from generation.evaluation.figures import COLUMNS, METRICS, NOTHING, compare
from generation.evaluation.notes import notes_on
from generation.evaluation.options import EvaluateOptions
from shared.features.cache import FeatureCache


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


def score(classifier: Path, files: Compared, options: EvaluateOptions) -> dict[str, Any]:
    """The figures by one classifier: features (their number D), clips, metrics, by_label and notes."""
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
    found = {name: NOTHING if x is None else compare(x, real, **how) for name, x in (seen | {"ceiling": noise}).items()}
    sizes = {"real": real} | seen
    return {
        "classifier": str(classifier),
        "features": made.features.shape[1],
        "clips": {name: 0 if x is None else len(x) for name, x in sizes.items()},
        "metrics": {
            name: {"name": title, "better": better} | {key: found[key][0][name] for key in COLUMNS if key in found}
            for name, (title, better) in METRICS.items()
        },
        "by_label": {name: by_label for name, (_, by_label) in found.items()},
        "notes": notes_on(made, real, seen["floor"], classifier=model, common=files.common),
    }
