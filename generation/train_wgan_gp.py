"""Train a conditional WGAN-GP: python generation/train_wgan_gp.py --experiment 2 --data-dir DIR --out-dir RUN"""

from generation.data import open_clips
from generation.recipes import WGAN_RECIPES, WganOptions
from shared.cli import Clips, once, parse
from shared.errors import run_entry
from shared.runs import Run


def main() -> None:
    options = parse(WganOptions, WGAN_RECIPES)
    clips, run = open_clips(options, default_dir=f"wgan-gp-{options.experiment}")
    once(run, lambda: train(clips, options, run))


def train(clips: Clips, options: WganOptions, run: Run) -> None:
    from generation.fit_wgan_gp import fit  # here, so that --help and mistakes in the options do not wait for torch

    fit(clips, options, run)


if __name__ == "__main__":
    run_entry(main)
