"""What ``evaluate`` does: samples, real clips and noise through the classifier, their figures, evaluation.json."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from classification.inference.classifier import Classifier
from classification.rundir import read_run
from generation.evaluation import clips, figures
from generation.evaluation.notes import notes_on, notes_on_classifier
from generation.rundir import CLIPS, DESCRIPTION, heard_by, read_origin
from shared.data.datasets import Dataset, load_dataset
from shared.errors import UserError
from shared.features.cache import FeatureCache
from shared.files import CACHE_DIR, write_json

NO_FLOOR = (
    "the generator was trained on every recording of the reference, so there is no floor, and which samples are copies "
    "is not known; train with --holdout-share to keep recordings out"
)
HALVES = "copies are searched for in all of it, and the floor is one half of its recordings against the other half"


def evaluate(
    samples: Path,
    reference: Path,
    classifier: Path,
    *,
    output: Path,
    generator: Path | None = None,
    max_clips: int = 5000,
    seed: int = 0,
    device: str = "auto",
    cache_dir: Path = CACHE_DIR,
    n_jobs: int | None = None,
) -> None:
    """Compare samples with real clips and write evaluation.json; the arguments are the options of evaluate.py.

    Raises:
        UserError: names the option and says what is wrong with it.
    """
    with naming("--classifier", instead_of="--model-dir"):
        read_run(classifier)
    with naming("--reference", instead_of="--data-dir"):
        dataset = load_dataset(reference)
    origin = read_origin(samples)
    with naming("--samples", instead_of="--data-dir"):
        listed = clips.list_samples(samples, [*origin.get("classes", []), *dataset.manifest.label.unique()])
    run = generator or origin.get("generator")
    manifest, assumed = mark_heard(dataset, run, asked=generator is not None)
    common = set(listed.label) & set(manifest.label)
    if common == set(listed.label):
        manifest = manifest[manifest.label.isin(common)]
    with naming("--classifier", instead_of="--model-dir"):
        model = Classifier.load(classifier, device=device)
    cache = FeatureCache(model.spec, cache_dir)
    with naming(f"--samples {samples}:"):
        made = clips.embed(model, listed, cache, n_jobs=n_jobs).at_most(max_clips, seed=seed)
    with naming(f"--reference {reference}:"):
        known = clips.divide(clips.embed(model, manifest, cache, n_jobs=n_jobs), seed=seed)
    real = known.apart.at_most(max_clips, seed=seed)
    floor = known.unheard and clips.matching(known.unheard, made, seed=seed)
    noise = clips.embed_noise(model, made.manifest.label, real.manifest.path, seed=seed)
    how = {"classes": model.classes, "common": common, "seed": seed}
    how["by_chance"] = figures.nearness_by_chance(known.apart, floor)
    found = {
        "samples": figures.compare(made, real, heard=known.heard, **how),
        "floor": figures.compare(floor, real, heard=known.apart, **how) if floor else figures.NOTHING,
        "ceiling": figures.compare(noise, real, heard=known.heard, **how),
    }
    sizes = {"samples": made, "train": real, "heard": known.heard, "floor": floor or []}
    evaluation = {
        "options": {"samples": str(samples), "reference": str(reference), "classifier": str(classifier), "seed": seed},
        "generator": run and str(run),
        "clips": {name: len(those) for name, those in sizes.items()} | {"features": made.features.shape[1]},
        "has_floor": floor is not None,
        "metrics": {
            name: {"name": title, "better": better} | {column: found[column][0][name] for column in found}
            for name, (title, better) in figures.METRICS.items()
        },
        "by_label": {column: by_label for column, (_, by_label) in found.items()},
        "closest": figures.closest(made, known.heard),
        "notes": [
            *assumed,
            *([] if floor else [NO_FLOOR]),
            *notes_on(made, real, floor, classifier=model, common=common),
            *notes_on_classifier(classifier, dataset),
        ],
    }
    write_json(output, figures.without_nan(evaluation))
    print(f"{figures.table(evaluation)}\n-> {output}")


def mark_heard(dataset: Dataset, run: Path | None, *, asked: bool) -> tuple[pd.DataFrame, list[str]]:
    """The reference's manifest with the columns heard and unheard by the generator, and what had to be assumed.

    Args:
        run: the generator's run, where it is known.
        asked: whether --generator names it.

    Raises:
        UserError: --generator names no run of a generator.
    """
    if asked and not (run / DESCRIPTION).is_file():
        raise UserError(f"--generator {run}: no trained generator; give the --out-dir of one of generation/train_*.py")
    if run is not None and (run / CLIPS).is_file():
        manifest = dataset.manifest.join(heard_by(run, dataset))
        if manifest.heard.any():
            return manifest[manifest.heard | manifest.unheard], []
        return manifest, [f"the generator was trained on no clip of the reference: {HALVES}"]
    why = "the generator of these samples is not known (--generator RUN names it)"
    if run is not None:
        why = f"{run} does not say what it was trained on (it has no {CLIPS})"
    assumed = f"{why}, so it may have been trained on any clip of the reference: {HALVES}"
    return dataset.manifest.assign(heard=False, unheard=False), [assumed]


@contextlib.contextmanager
def naming(flag: str, *, instead_of: str = "") -> Iterator[None]:
    """Errors name the option that was given."""
    try:
        yield
    except UserError as error:
        said = str(error)
        raise UserError(said.replace(instead_of, flag) if instead_of else f"{flag} {said}") from error
