"""Train a conditional WGAN-GP: python generation/train_wgan_gp.py --experiment 2 --data-dir DIR --out-dir RUN"""

from generation.registry import KINDS
from shared.errors import run_entry

main = KINDS["wgan-gp"].train

if __name__ == "__main__":
    run_entry(main)
