"""New sounds from a trained generator: python generation/sample.py --label siren --count 8"""

import tyro

from generation.sample_options import SampleOptions
from shared.errors import run_entry


def main() -> None:
    options = tyro.cli(SampleOptions)
    options.check()
    from generation.making import make  # imports torch, which --help does not need

    make(options)


if __name__ == "__main__":
    run_entry(main)
