"""Train a (conditional) GAN on spectrograms: python generation/train_cgan.py --data-dir DIR --out-dir RUN"""

from generation.data import open_clips
from generation.recipes import CGAN_RECIPES, CganOptions
from shared.cli import Clips, once, parse
from shared.errors import run_entry
from shared.runs import Run


def main() -> None:
    options = parse(CganOptions, CGAN_RECIPES)
    clips, run = open_clips(options, default_dir=f"cgan-{options.recipe}")
    once(run, lambda: train(clips, options, run))


def train(clips: Clips, options: CganOptions, run: Run) -> None:
    from generation.fit_cgan import fit  # here, so that --help and mistakes in the options do not wait for torch

    fit(clips, options, run)


if __name__ == "__main__":
    run_entry(main)
