"""Train a (conditional) GAN on spectrograms: python generation/train_cgan.py --data-dir DIR --out-dir RUN"""

from generation.registry import KINDS
from shared.errors import run_entry

main = KINDS["cgan"].train

if __name__ == "__main__":
    run_entry(main)
