"""Train a (conditional) GAN on spectrograms: python generation/train_cgan.py --data-dir DIR --out-dir RUN"""

from generation.data import train
from generation.recipes import CGAN_RECIPES, CganOptions
from shared.errors import run_entry
from shared.runs.options import parse


def main() -> None:
    options = parse(CganOptions, CGAN_RECIPES)
    train(options, fit="fit_cgan", default_dir=f"cgan-{options.recipe}")


if __name__ == "__main__":
    run_entry(main)
