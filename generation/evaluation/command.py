"""What ``evaluate`` does: compare samples, real clips and noise, and write their figures down."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from classification.rundir import read_run
from generation.evaluation import clips
from generation.evaluation.backbone_space import backbone_distances
from generation.evaluation.changes import FRAMES, frame_change
from generation.evaluation.copies import PICTURE, find_copies
from generation.evaluation.figures import accuracy_share, mean_of
from generation.evaluation.notes import notes_on_scorers
from generation.evaluation.options import EvaluateOptions
from generation.evaluation.scorers import Compared, score_all
from generation.evaluation.tables import table
from generation.evaluation.vocoded import features_of, vocode, vocoder_of
from generation.model_card import write_card
from generation.rundir import EVALUATION, mark_trained_on, read_origin
from shared.data.datasets import load_dataset
from shared.errors import UserError
from shared.features.backbone import spec_of
from shared.features.cache import FeatureCache
from shared.features.spec import FeatureSpec
from shared.files import write_json
from shared.runs.processes import in_own_process

NO_FLOOR = (
    "There are no figures of real held-out clips, because the generator was trained on every recording of the "
    "reference. Train with --holdout-share to hold recordings out."
)

NO_VOCODER = (
    "It is not known which features and vocoder made the samples, so no real clips were passed through them "
    "(name the generator's run with --generator RUN)."
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
    generator = options.generator or origin.get("generator")
    manifest, assumed = mark_trained_on(dataset, generator, asked=options.generator is not None)
    common = set(listed.label) & set(manifest.label)
    if common == set(listed.label):
        manifest = manifest[manifest.label.isin(common)]
    configs = [read_run(run, flag="--classifier")[0] for run in options.classifier]
    window = max(config["features"]["duration"] for config in configs)
    space = space_of(options, window)

    def cache_of(spec: FeatureSpec) -> FeatureCache:
        return FeatureCache(clips.within_band(spec, listed.path, duration=window), options.cache_dir)

    drawn, known = (clips.Pictured.of(files, cache_of(PICTURE), n_jobs=options.n_jobs) for files in (listed, manifest))
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
    with tempfile.TemporaryDirectory() as folder:
        real_ones = {"vocoded_training": clips.matching(compared, made, seed=seed), "vocoded_floor": floor}
        vocoded = pass_through_vocoder(generator, origin, real_ones, Path(folder), options)
        others = {"samples": made, "floor": floor} | vocoded
        changes = frame_change(others, real, cache_of(FRAMES), n_jobs=options.n_jobs)
        apart = space and backbone_distances(others, real, space, seed=seed, n_jobs=options.n_jobs)
        with naming("--classifier"):
            scored = score_all(options.classifier, Compared(real, others, common), options)
    metrics, by_label = (mean_of([scorer[name] for scorer in scored]) for name in ("metrics", "by_label"))
    evaluation = {
        "options": {
            "samples": str(samples),
            "reference": str(reference),
            "classifiers": [str(run) for run in options.classifier],
            "seed": seed,
        },
        "generator": generator and str(generator),
        "clips": scored[0]["clips"] | {"trained_on": len(searched)},
        "has_floor": floor is not None,
        "metrics": metrics,
        "by_label": by_label,
        "accuracy_share": accuracy_share(metrics, by_label),
        "scorers": [{key: value for key, value in scorer.items() if key != "notes"} for scorer in scored],
        "copies": found,
        "frame_change": changes,
        "backbone": apart,
        "notes": [
            *assumed,
            *([] if floor is not None else [NO_FLOOR]),
            *([] if vocoded["vocoded_training"] is not None else [NO_VOCODER]),
            *dict.fromkeys(note for scorer in scored for note in scorer["notes"]),
            *notes_on_scorers(options.classifier, floor, dataset, judge_of(origin)),
        ],
    }
    print(f"{table(evaluation)}\n-> {options.output}")
    evaluation = json.loads(json.dumps(evaluation), parse_constant=lambda _: None)  # NaN is not JSON
    write_json(options.output, evaluation)
    if generator and (generator / "metrics.json").is_file():
        update_run(generator, evaluation)


def pass_through_vocoder(
    run: Path | None,
    origin: dict[str, Any],
    files: dict[str, pd.DataFrame | None],
    folder: Path,
    options: EvaluateOptions,
) -> dict[str, pd.DataFrame | None]:
    """The real clips of these tables through the features and the vocoder of the samples, written into ``folder``.

    None stays None; all are None if the generator's features are unknown.
    """
    if (spec := features_of(run)) is None:
        return dict.fromkeys(files)
    known = {name: table for name, table in files.items() if table is not None}
    return files | in_own_process(vocode, known, spec, vocoder_of(run, origin), folder, options.device)


def space_of(options: EvaluateOptions, duration: float) -> FeatureCache | None:
    """The cache of --backbone-path's embeddings of clips of this many seconds; None without the option."""
    if options.backbone_path is None:
        return None
    return FeatureCache(spec_of(options.backbone_path, options.backbone_sr, duration=duration), options.cache_dir)


def judge_of(origin: dict[str, Any]) -> Path | None:
    """The classifier that chose the samples (--best-of); None if they were not chosen."""
    named = origin.get("best_of_classifier") or origin.get("options", {}).get("best_of_classifier")
    return Path(named) if named else None


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
