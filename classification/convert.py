"""Convert a trained run to the other framework: python classification/convert.py --model-dir RUN --out-dir RUN2"""

import dataclasses
from pathlib import Path

import tyro

from shared.errors import run_entry


@dataclasses.dataclass(kw_only=True)
class ConvertOptions:
    """Convert a trained classifier from Keras to PyTorch or back."""

    model_dir: Path
    """Finished run folder of classification/train.py."""
    out_dir: Path
    """New run folder for the same model in the other framework; predict, evaluate, export and card accept it."""


def main() -> None:
    options = tyro.cli(ConvertOptions)
    from classification.export.conversion import convert  # imported here, so that --help stays quick

    target = convert(options.model_dir, options.out_dir)
    print(f"{options.out_dir}: the model converted to {target}; its figures are those of {options.model_dir}")


if __name__ == "__main__":
    run_entry(main)
