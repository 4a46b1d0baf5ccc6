"""Train a VAE on waveforms or labelled spectrograms: python generation/train_vae.py --model cvae --data-dir DIR"""

from generation.registry import KINDS
from shared.errors import run_entry

main = KINDS["vae"].train

if __name__ == "__main__":
    run_entry(main)
