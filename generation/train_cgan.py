"""Train a (conditional) GAN on spectrograms: python generation/train_cgan.py --data-dir DIR --out-dir RUN"""

from generation.registry import KINDS
from shared.errors import run_entry


def main() -> None:
    options = KINDS["cgan"].parse()
    from generation.training import train  # torch and pandas: --help does not wait for them

    train(options)


if __name__ == "__main__":
    run_entry(main)
