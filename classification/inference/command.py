"""The steps of ``predict``, from its options to the predictions of every sound."""

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from classification.inference.classifier import Classifier, quick_imports
from classification.inference.options import PredictOptions
from classification.inference.sounds import Result, Sound, list_sounds, predict_sounds
from classification.inference.timeline import csv_text
from classification.rundir import read_run
from shared.errors import UserError
from shared.features.cache import FeatureCache
from shared.files import write_text


def predict(options: PredictOptions) -> None:
    """Run the whole command: find the sounds, load the model, predict, print or write the predictions."""
    sounds = prepare(options)
    with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):
        with quick_imports():
            classifier = Classifier.load(options.model_dir, device=options.device, backbone_path=options.backbone_path)
        if options.together and classifier.together is None:
            raise UserError(f"--together: {options.model_dir} did not learn to find clips of one recording; omit it")
        if options.sample_submission is not None:
            submit(options, classifier)
            return
        results, skipped = predict_sounds(classifier, sounds, options)
        if options.output is not None:
            rows = [result.row(probabilities=options.probabilities) for result in results]
            write_text(options.output, csv_text(rows))
        report(results, skipped, options.output)
    if options.json:
        answer = {"model": str(options.model_dir), "framework": classifier.framework, "classes": classifier.classes}
        answer["predictions"] = [result.json() for result in results]
        answer["skipped"] = [{"id": sound.id, "reason": reason} for sound, reason in skipped]
        print(json.dumps(answer, indent=2))


def prepare(options: PredictOptions) -> list[Sound]:
    """Check the options and list the sounds to predict; the list is empty for a submission.

    Raises:
        UserError: an impossible option; raised before a framework is loaded.
    """
    read_run(options.model_dir)
    for flag, count in (("--top-k", options.top_k), ("--n-jobs", options.n_jobs)):
        if count is not None and count < 1:
            raise UserError(f"{flag} {count}: must be 1 or more")
    if options.output is not None and options.output.is_dir():
        raise UserError(f"--output {options.output}: is a folder; give the file name of a CSV")
    sounds = []
    if options.sample_submission is None:
        sounds = list_sounds(options.input)
    elif not options.sample_submission.is_file():
        raise UserError(f"--sample-submission {options.sample_submission}: no such file; give a CSV of IDs")
    elif not options.input.is_dir() or options.output is None or options.json or options.timeline is not None:
        raise UserError("--sample-submission: needs a folder as --input and an --output; omit --json and --timeline")
    for flag, folder in (("--output", options.output and options.output.parent), ("--timeline", options.timeline)):
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{flag} {folder}: cannot be made ({error.strerror}); choose another folder") from error
    return sounds


def report(results: Sequence[Result], skipped: Sequence[tuple[Sound, str]], output: Path | None) -> None:
    """Print each result, or only counts if they are in ``output``; then name and count the skipped files."""
    if output is None:
        for result in results:
            print(f"{result.sound.id}: {result.prediction}")
    else:
        counts = sorted(Counter(result.prediction.label for result in results).items())
        print(f"{output}: {len(results)} rows ({', '.join(f'{label} {n}' for label, n in counts)})")
    for sound, reason in skipped:
        print(f"skipped {sound.id}: {reason}")
    if skipped:
        print(f"{len(skipped)} of {len(skipped) + len(results)} files skipped")


def submit(options: PredictOptions, classifier: Classifier) -> None:
    """Write the rows and columns of --sample-submission in its order; every clip is cut or padded as in training."""
    from classification.inference import test_set  # imported here: pandas takes a second to load

    wanted = test_set.wanted_ids([], options.sample_submission)
    cache = FeatureCache(classifier.spec, options.cache_dir)
    table, failed = test_set.predict_test_set(
        wanted, options.input, classifier, cache, together=options.together, n_jobs=options.n_jobs
    )
    test_set.write_submission(options.output, table, failed)
