"""What ``evaluate`` does: embed samples, real clips and noise, compute their figures, write them down."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from classification.inference.classifier import Classifier
from generation.evaluation import clips, figures
from generation.evaluation.notes import notes_on, notes_on_classifier
from generation.evaluation.options import EvaluateOptions
from generation.model_card import write_card
from generation.rundir import EVALUATION, mark_trained_on, read_origin
from shared.data.datasets import load_dataset
from shared.errors import UserError
from shared.features.cache import FeatureCache
from shared.files import write_json

NO_FLOOR = (
    "There are no figures of real held-out clips, because the generator was trained on every recording of the "
    "reference. Copies cannot be counted either. Train with --holdout-share to hold recordings out."
)


def evaluate(options: EvaluateOptions) -> None:
    """Compare samples with real clips and write evaluation.json, also into the finished run that made the samples.

    Raises:
        UserError: an option is wrong; the message names it and says why.
    """
    samples, reference, most, seed = options.samples, options.reference, options.max_clips, options.seed
    with naming("--reference"):
        dataset = load_dataset(reference)
    origin = read_origin(samples)
    with naming("--samples"):
        listed = clips.list_samples(samples, [*origin.get("classes", []), *dataset.manifest.label.unique()])
    run = options.generator or origin.get("generator")
    manifest, assumed = mark_trained_on(dataset, run, asked=options.generator is not None)
    common = set(listed.label) & set(manifest.label)
    if common == set(listed.label):
        manifest = manifest[manifest.label.isin(common)]
    with naming("--classifier"):
        model = Classifier.load(options.classifier, device=options.device)
    cache = FeatureCache(model.spec, options.cache_dir)
    made = clips.embed(model, listed, cache, option="samples", folder=samples, n_jobs=options.n_jobs)
    known = clips.embed(model, manifest, cache, option="reference", folder=reference, n_jobs=options.n_jobs)
    made, (searched, compared, held_out) = made.at_most(most, seed=seed), clips.divide(known, seed=seed)
    real = compared.at_most(most, seed=seed)
    floor = held_out and clips.matching(held_out, made, seed=seed)
    noise = clips.embed_noise(model, made.manifest.label, real.manifest.path, seed=seed)
    how = {"copy_distance": figures.copy_distance(compared, floor), "common": common, "seed": seed}
    found = {
        "samples": figures.compare(made, real, searched=searched, **how),
        "floor": figures.compare(floor, real, searched=compared, **how) if floor else figures.NOTHING,
        "ceiling": figures.compare(noise, real, searched=searched, **how),
    }
    sizes = {"samples": made, "real": real, "trained_on": searched, "floor": floor or []}
    given = {"samples": str(samples), "reference": str(reference), "classifier": str(options.classifier), "seed": seed}
    evaluation = {
        "options": given,
        "generator": run and str(run),
        "clips": {name: len(those) for name, those in sizes.items()} | {"features": made.features.shape[1]},
        "has_floor": floor is not None,
        "metrics": {
            name: {"name": title, "better": better} | {column: found[column][0][name] for column in found}
            for name, (title, better) in figures.METRICS.items()
        },
        "by_label": {column: by_label for column, (_, by_label) in found.items()},
        "closest": figures.closest(made, searched),
        "notes": [
            *assumed,
            *([] if floor else [NO_FLOOR]),
            *notes_on(made, real, floor, classifier=model, common=common),
            *notes_on_classifier(options.classifier, dataset),
        ],
    }
    print(f"{figures.table(evaluation)}\n-> {options.output}")
    evaluation = json.loads(json.dumps(evaluation), parse_constant=lambda _: None)  # NaN is not JSON
    write_json(options.output, evaluation)
    if run and (run / "metrics.json").is_file():
        update_run(run, evaluation)


def update_run(run: Path, evaluation: dict[str, Any]) -> None:
    """Write the figures into the generator's run and into its model card."""
    write_json(run / EVALUATION, evaluation)
    with contextlib.suppress(UserError):  # a run of an older version lacks what a card shows
        print(f"-> {write_card(run)}")


@contextlib.contextmanager
def naming(flag: str) -> Iterator[None]:
    """Errors name the option that was given."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace("--data-dir", flag).replace("--model-dir", flag)) from error
