"""What ``evaluate`` does: compare samples, real clips and noise, and write their figures down."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from classification.rundir import read_run
from generation.evaluation import clips
from generation.evaluation.copies import PICTURE, find_copies
from generation.evaluation.notes import notes_on_classifier
from generation.evaluation.options import EvaluateOptions
from generation.evaluation.scorers import Compared, score
from generation.evaluation.tables import table
from generation.model_card import write_card
from generation.rundir import EVALUATION, mark_trained_on, read_origin
from shared.data.datasets import load_dataset
from shared.errors import UserError
from shared.features.cache import FeatureCache
from shared.files import write_json

NO_FLOOR = (
    "There are no figures of real held-out clips, because the generator was trained on every recording of the "
    "reference. Train with --holdout-share to hold recordings out."
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
    window = read_run(options.classifier, flag="--classifier")[0]["features"]["duration"]
    cache = FeatureCache(clips.within_band(PICTURE, listed.path, duration=window), options.cache_dir)
    drawn, known = (clips.Pictured.of(files, cache, n_jobs=options.n_jobs) for files in (listed, manifest))
    made = clips.at_most(drawn.usable(listed, option="samples", folder=samples), most, seed=seed)
    searched, compared, held_out = clips.divide(known.usable(manifest, option="reference", folder=reference), seed=seed)
    real = clips.at_most(compared, most, seed=seed)
    floor = None if held_out is None else clips.matching(held_out, made, seed=seed)
    found = find_copies(
        drawn.of_files(made),
        known.of_files(searched),
        None if floor is None else known.of_files(floor),
        compared=known.of_files(compared),
        common=common,
    )
    with naming("--classifier"):
        scored = score(options.classifier, Compared(real, {"samples": made, "floor": floor}, common), options)
    evaluation = {
        "options": {
            "samples": str(samples),
            "reference": str(reference),
            "classifier": str(options.classifier),
            "seed": seed,
        },
        "generator": run and str(run),
        "clips": scored["clips"] | {"trained_on": len(searched)},
        "has_floor": floor is not None,
        "metrics": scored["metrics"],
        "by_label": scored["by_label"],
        "copies": found,
        "notes": [
            *assumed,
            *([] if floor is not None else [NO_FLOOR]),
            *scored["notes"],
            *notes_on_classifier(options.classifier, dataset),
        ],
    }
    print(f"{table(evaluation)}\n-> {options.output}")
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
