"""Train a conditional WGAN-GP: python generation/train_wgan_gp.py --experiment 2 --data-dir DIR --out-dir RUN"""

from generation.registry import KINDS
from shared.errors import run_entry


def main() -> None:
    options = KINDS["wgan-gp"].parse()
    from generation.training import train  # torch and pandas: --help does not wait for them

    train(options)


if __name__ == "__main__":
    run_entry(main)
