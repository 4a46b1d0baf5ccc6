"""Train a VAE on waveforms or labelled spectrograms: python generation/train_vae.py --model cvae --data-dir DIR"""

from generation.data import open_clips
from generation.recipes import VAE_MODELS, VAE_RECIPES, VaeOptions
from shared.cli import Clips, once, parse
from shared.errors import run_entry
from shared.runs import Run


def main() -> None:
    options = parse(VaeOptions, VAE_RECIPES, models=VAE_MODELS)
    clips, run = open_clips(options, default_dir=f"vae-{options.model}")
    once(run, lambda: train(clips, options, run))


def train(clips: Clips, options: VaeOptions, run: Run) -> None:
    from generation.fit_vae import fit  # here, so that --help and mistakes in the options do not wait for torch

    fit(clips, options, run)


if __name__ == "__main__":
    run_entry(main)
