"""New sounds from a trained generator: python generation/sample.py --model-dir RUN --label siren --count 8"""

import dataclasses
from pathlib import Path

import tyro

from generation.recipes import VocoderOptions
from shared.errors import UserError, run_entry
from shared.files import safe_name
from shared.runs.options import Device

SHOWN = 20  # sounds of a class in its picture, at most: more are too small to see, and take longer to draw than to make


@dataclasses.dataclass(kw_only=True)
class SampleOptions(VocoderOptions):
    """Generate new sounds of some classes and a figure of each one's spectrograms."""

    model_dir: Path
    """Run folder of a generator, finished or still training."""
    label: tuple[str, ...] = ()
    """Classes to generate; without any, all of them."""
    count: int = 8
    """Sounds a class."""
    seed: int = 0
    """Equal seeds give equal sounds."""
    out_dir: Path = Path("samples")
    """Folder for <label>_<n>.wav and <label>.png, a picture of the first 20."""
    device: Device = "auto"
    """Where to compute."""


def main() -> None:
    options = tyro.cli(SampleOptions)
    for flag, number in (("--count", options.count), ("--griffin-lim-iterations", options.griffin_lim_iterations)):
        if number < 1:
            raise UserError(f"{flag} {number}: must be 1 or more")
    from generation.rundir import write_origin  # torch and pandas: --help does not wait for them
    from generation.sampling import Sampler
    from shared.report.plots import plot_features

    sampler = Sampler.load(options.model_dir, device=options.device, vocoder=options.vocoder, **options.vocoder_details)
    sampler.ordinals(options.label)  # refuses an unknown class before anything is written
    write_origin(options.out_dir, options.model_dir, sampler.classes)
    for label in options.label or sampler.classes:
        S, name = sampler.arrays([label] * options.count, seed=options.seed), safe_name(label)
        sampler.write(S, options.out_dir, [f"{name}_{i:02d}" for i in range(options.count)])
        plot_features(
            options.out_dir / f"{name}.png",
            {f"{label} {i}": row for i, row in enumerate(S[:SHOWN].cpu().numpy())},
            sampler.vocoder.spec,
            title=f"generated {label}, seed {options.seed}",
        )
        print(f"{options.count} x {label} -> {options.out_dir}")


if __name__ == "__main__":
    run_entry(main)
