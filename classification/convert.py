"""Convert a trained run to the other framework: python classification/convert.py --model-dir RUN --out-dir RUN2"""

import dataclasses
from pathlib import Path

import tyro

from shared.errors import run_entry


@dataclasses.dataclass(kw_only=True)
class ConvertOptions:
    """Convert a trained classifier from Keras to PyTorch or back."""

    model_dir: Path
    """Run folder of classification/train.py, finished."""
    out_dir: Path
    """Run folder to make: the same model in the other framework, which every command reads."""


def main() -> None:
    options = tyro.cli(ConvertOptions)
    from classification.export.crossing import convert  # imported here: --help needs none of it

    target = convert(options.model_dir, options.out_dir)
    print(f"{options.out_dir}: the model of {options.model_dir} for {target}; its figures are that run's")


if __name__ == "__main__":
    run_entry(main)
