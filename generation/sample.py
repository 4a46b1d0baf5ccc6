"""New sounds from a trained generator: python generation/sample.py --model-dir RUN --label siren --count 8"""

import dataclasses
from pathlib import Path

import tyro

from generation.recipes import VocoderOptions
from shared.errors import UserError, run_entry
from shared.files import safe_name
from shared.runs.options import Device

SHOWN = 20  # sounds of a class in its figure, at most: more would be too small to see, and slow to draw
BATCH = 16  # sounds that pass through the vocoder together


@dataclasses.dataclass(kw_only=True)
class SampleOptions(VocoderOptions):
    """Generate new sounds of some classes, and a figure of the spectrograms of each class."""

    model_dir: Path
    """Run of a generator, finished or still training."""
    label: tuple[str, ...] = ()
    """Classes to generate; without this option, all of them."""
    count: int = 8
    """Sounds per class."""
    seed: int = 0
    """Seed of the noise; equal seeds give equal sounds."""
    out_dir: Path = Path("samples")
    """Folder for <label>_<n>.wav, <label>.png (the first 20 spectrograms), reference/ (real clips, vocoded)."""
    device: Device = "auto"
    """Device that computes."""


def main() -> None:
    options = tyro.cli(SampleOptions)
    for flag, number in (("--count", options.count), ("--griffin-lim-iterations", options.griffin_lim_iterations)):
        if number < 1:
            raise UserError(f"{flag} {number}: must be 1 or more")
    from tqdm import tqdm

    from generation.listening import write_reference
    from generation.rundir import write_origin
    from generation.sampling import Sampler  # imports torch, which --help does not need
    from shared.report.plots import plot_features

    sampler = Sampler.load(options.model_dir, device=options.device, vocoder=options.vocoder, **options.vocoder_details)
    sampler.ordinals(options.label)  # refuses an unknown class before anything is written
    write_origin(options.out_dir, options.model_dir, sampler.classes, vocoder=sampler.vocoder.name)
    labels = options.label or sampler.classes
    write_reference(sampler, options.model_dir, options.out_dir, labels)
    with tqdm(total=options.count * len(labels), desc="generating", unit="sound", disable=None) as bar:
        for label in labels:
            bar.set_postfix_str(label)
            S, name = sampler.arrays([label] * options.count, seed=options.seed), safe_name(label)
            names = [f"{name}_{i:02d}" for i in range(options.count)]
            for start in range(0, options.count, BATCH):
                part = slice(start, start + BATCH)
                sampler.write(S[part], options.out_dir, names[part])
                bar.update(len(names[part]))
            plot_features(
                options.out_dir / f"{name}.png",
                {f"{label} {i}": row for i, row in enumerate(S[:SHOWN].cpu().numpy())},
                sampler.vocoder.spec,
                title=f"generated {label}, seed {options.seed}",
            )
    print(f"{options.count} sounds of each class ({', '.join(labels)}) -> {options.out_dir}")


if __name__ == "__main__":
    run_entry(main)
