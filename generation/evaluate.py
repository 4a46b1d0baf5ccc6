"""Judge generated sounds: python generation/evaluate.py --samples DIR --reference DIR --classifier RUN

The samples are compared with the train clips, half of the reference's recordings. As many clips of the other half are
compared with them too: the floor, what perfect samples would get. White noise is the ceiling.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import tyro

from classification.inference.classifier import Classifier
from classification.rundir import read_run
from generation import evaluation as judging
from shared.data.datasets import Dataset, load_dataset
from shared.errors import UserError, run_entry
from shared.features.cache import FeatureCache
from shared.files import CACHE_DIR, write_json
from shared.runs.options import Device


@dataclasses.dataclass(kw_only=True)
class EvaluateOptions:
    """Set generated sounds beside real ones and noise, as a classifier hears them."""

    samples: Path
    """Folder of generated sounds: <label>_<n>.wav, or a folder per class."""
    reference: Path
    """Folder of real sounds in any layout; half of its recordings are compared with, half are the floor."""
    classifier: Path
    """Run folder of classification/train.py, finished, of either framework."""
    output: Path | None = None
    """JSON to write; None is evaluation.json in --samples."""
    max_clips: int = 5000
    """Most clips taken of the samples and of each half of the reference."""
    seed: int = 0
    """Of the halves, the drawings and the noise."""
    device: Device = "auto"
    """Where to compute."""
    cache_dir: Path = CACHE_DIR
    """Where the computed spectrograms are kept."""
    n_jobs: int | None = None
    """Processes that compute those; None is one a core."""


def main() -> None:
    options = tyro.cli(EvaluateOptions)
    samples, dataset = prepare(options)
    common = set(samples.label) & set(dataset.manifest.label)
    alike = dataset.manifest.label.isin(common) if common == set(samples.label) else slice(None)
    with naming("--classifier", instead_of="--model-dir"):
        classifier = Classifier.load(options.classifier, device=options.device)
    cache, duration = FeatureCache(classifier.spec, options.cache_dir), classifier.spec.duration
    samples = judging.windows(samples, duration=duration, most=options.max_clips, seed=options.seed)
    reference = judging.windows(
        dataset.manifest[alike], duration=duration, most=2 * options.max_clips, seed=options.seed
    )
    with naming(f"--samples {options.samples}:"):
        made = judging.hear(classifier, samples, cache, n_jobs=options.n_jobs)
    with naming(f"--reference {options.reference}:"):
        real = judging.hear(classifier, reference, cache, n_jobs=options.n_jobs)
        train, held = judging.halves(real, seed=options.seed)
    floor = judging.matching(held, made, seed=options.seed)
    noise = judging.hear_noise(classifier, made.manifest.label, train.manifest.path, seed=options.seed)
    figures, by_label = {}, {}
    for column, clips in {"samples": made, "floor": floor, "ceiling": noise}.items():
        figures[column], by_label[column] = judging.judge(
            clips, train, floor, classes=classifier.classes, common=common, seed=options.seed
        )
    notes = judging.notes_on(made, train, floor, classifier=classifier, common=common)
    evaluation = {
        "options": {name: str(getattr(options, name)) for name in ("samples", "reference", "classifier", "seed")},
        "clips": {"samples": len(made), "train": len(train), "floor": len(floor), "features": made.features.shape[1]},
        "metrics": {
            name: {"name": title, "better": better} | {column: figures[column][name] for column in figures}
            for name, (title, better) in judging.METRICS.items()
        },
        "by_label": by_label,
        "closest": judging.closest(made, real),
        "notes": notes + judging.notes_on_run(options.classifier, dataset),
    }
    output = options.output or options.samples / "evaluation.json"
    write_json(output, judging.without_nan(evaluation))
    print(f"{judging.report(evaluation)}\n-> {output}")


def prepare(options: EvaluateOptions) -> tuple[pd.DataFrame, Dataset]:
    """Refuse what cannot work before a framework is loaded; the samples and the reference."""
    for flag, value, least in (("--max-clips", options.max_clips, 10), ("--seed", options.seed, 0)):
        if value < least:
            raise UserError(f"{flag} {value}: must be {least} or more")
    if options.output is not None and options.output.is_dir():
        raise UserError(f"--output {options.output}: is a folder; give the JSON to write")
    with naming("--classifier", instead_of="--model-dir"):
        read_run(options.classifier)
    with naming("--samples", instead_of="--data-dir"):
        samples = judging.list_samples(options.samples)
    try:
        (options.output or options.samples / "evaluation.json").parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output {options.output}: its folder cannot be made ({error.strerror})") from error
    with naming("--reference", instead_of="--data-dir"):
        return samples, load_dataset(options.reference)


@contextlib.contextmanager
def naming(flag: str, *, instead_of: str = "") -> Iterator[None]:
    """Errors name the option that was given."""
    try:
        yield
    except UserError as error:
        said = str(error)
        raise UserError(said.replace(instead_of, flag) if instead_of else f"{flag} {said}") from error


if __name__ == "__main__":
    run_entry(main)
