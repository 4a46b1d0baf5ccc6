"""Train a VAE on waveforms or labelled spectrograms: python generation/train_vae.py --model cvae --data-dir DIR"""

from generation.data import train
from generation.recipes import VAE_MODELS, VAE_RECIPES, VaeOptions
from shared.errors import run_entry
from shared.runs.options import parse


def main() -> None:
    options = parse(VaeOptions, VAE_RECIPES, models=VAE_MODELS)
    train(options, fit="fit_vae", default_dir=f"vae-{options.model}")


if __name__ == "__main__":
    run_entry(main)
