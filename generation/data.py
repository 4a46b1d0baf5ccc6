"""What a generator is trained on: the clips of a data folder in its representation, and its open run folder."""

import dataclasses
import importlib

from generation.recipes import GeneratorOptions
from shared.errors import UserError
from shared.runs.run import Run
from shared.runs.start import Clips, find_data, load_clips, once, open_run


def open_clips(options: GeneratorOptions, *, default_dir: str) -> tuple[Clips, Run]:
    """The usable clips, one class where they are not told apart, and the run folder of these options.

    Raises:
        UserError: too few clips, or a folder that holds another run.
    """
    clips = load_clips(options, find_data(options), options.spec, segmented=options.segment_seconds is not None)
    if len(clips.manifest) < 2:
        raise UserError(f"--data-dir {clips.dataset.root}: one usable clip only; a generator needs more")
    if not options.conditional:
        clips = dataclasses.replace(clips, manifest=clips.manifest.assign(label=clips.dataset.root.resolve().name))
    run = open_run(
        options,
        clips,
        default_dir=default_dir,
        extendable=frozenset({"epochs"}),
        details={"features": dataclasses.asdict(clips.features.spec)},
    )
    return clips, run


def train(options: GeneratorOptions, *, fit: str, default_dir: str) -> None:
    """Train the generator whose parts generation/``fit``.py puts together, unless the run is done.

    torch is imported with that module, so that --help and mistakes in the options or the data do not wait for it.
    """
    clips, run = open_clips(options, default_dir=default_dir)
    once(run, lambda: importlib.import_module(f"generation.{fit}").fit(clips, options, run))
