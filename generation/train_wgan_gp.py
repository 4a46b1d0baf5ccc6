"""Train a conditional WGAN-GP: python generation/train_wgan_gp.py --experiment 2 --data-dir DIR --out-dir RUN"""

from generation.data import train
from generation.recipes import WGAN_RECIPES, WganOptions
from shared.errors import run_entry
from shared.runs.options import parse


def main() -> None:
    options = parse(WganOptions, WGAN_RECIPES)
    train(options, fit="fit_wgan_gp", default_dir=f"wgan-gp-{options.experiment}")


if __name__ == "__main__":
    run_entry(main)
