"""What the PyTorch worker does to generate sounds: the same as generation/sample.py, with models that it keeps."""

import functools
from pathlib import Path
from typing import Any

from generation.app.classifying import KEPT, changed, keep_classifier
from generation.making import write_sounds
from generation.rundir import WEIGHTS
from generation.sample_options import SampleOptions
from generation.sampling import Sampler


def generate(options: SampleOptions) -> None:
    """Write the sounds of the options and a figure of each class to --out-dir.

    Raises:
        UserError: as ``generation.making.make``.
    """
    run = options.best_of_classifier
    how = {"device": options.device, "vocoder": options.vocoder, **options.vocoder_details}
    sampler = _load(options.model_dir, changed(options.model_dir / WEIGHTS), **how)
    write_sounds(sampler, run and keep_classifier(run, options.device), options)


@functools.lru_cache(maxsize=KEPT)
def _load(run: Path, _changed: int, **how: Any) -> Sampler:
    return Sampler.load(run, **how)
