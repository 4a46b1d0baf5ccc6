"""Train a VAE on waveforms or labelled spectrograms: python generation/train_vae.py --model cvae --data-dir DIR"""

from generation.registry import KINDS
from shared.errors import run_entry


def main() -> None:
    options = KINDS["vae"].parse()
    from generation.training import train  # torch and pandas: --help does not wait for them

    train(options)


if __name__ == "__main__":
    run_entry(main)
