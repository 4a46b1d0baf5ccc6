"""Train a neural vocoder: python generation/train_vocoder.py --data-dir DIR --out-dir RUN"""

from pkgutil import resolve_name as load

from generation.vocoder_options import VocoderTrainingOptions
from shared.errors import run_entry
from shared.runs.options import parse


def main() -> None:
    options = parse(VocoderTrainingOptions, {"plain": {}})
    load("generation.vocoder_training:train")(options)  # imports torch and pandas, which --help does not need


if __name__ == "__main__":
    run_entry(main)
