"""Train the conditional GAN: python generation/train_cgan.py --data-dir DIR --out-dir RUN"""

import dataclasses

from generation.recipes import RECIPES, CganOptions
from shared.cli import Clips, find_data, load_clips, once, open_run, parse
from shared.errors import UserError, run_entry
from shared.features import PRESETS
from shared.runs import Run


def main() -> None:
    options = parse(CganOptions, RECIPES)
    clips = load_clips(options, find_data(options), PRESETS["cgan"])
    if len(clips.manifest) < 2:
        raise UserError(f"--data-dir {clips.dataset.root}: one usable clip only; a GAN needs more")
    run = open_run(
        options,
        clips,
        default_dir=f"cgan-{options.recipe}",
        extendable=frozenset({"epochs"}),
        details={"features": dataclasses.asdict(clips.features.spec)},
    )
    once(run, lambda: train(clips, options, run))


def train(clips: Clips, options: CganOptions, run: Run) -> None:
    from generation.fit_cgan import fit  # here, so that --help and mistakes in the options do not wait for torch

    fit(clips, options, run)


if __name__ == "__main__":
    run_entry(main)
