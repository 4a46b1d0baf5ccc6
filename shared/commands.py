"""frequency-quest VERB: one console command for every entry point.

Each verb names a module with a ``main()`` that reads the rest of the command line. A verb's module is imported only
when it is asked for, so that ``frequency-quest --help`` imports none of them.
"""

import difflib
import importlib
import sys

from shared.errors import UserError, run_entry

VERBS = {  # verb -> its module, and what it does
    "data": ("shared.data.command", "download a data set, make the demo sounds, submit to the competition"),
    "cache": ("shared.runs.cache_command", "compute the spectrograms of a data folder"),
    "recordings": ("shared.recordings.command", "find near-duplicates and clips of one recording"),
    "train": ("classification.train", "train a classifier, Keras or PyTorch"),
    "predict": ("classification.predict", "name sounds with a trained classifier"),
    "convert": ("classification.convert", "carry a classifier to the other framework"),
    "export": ("classification.export.export", "write a classifier as ONNX, TFLite or safetensors"),
    "card": ("classification.export.model_card", "write a classifier's model card"),
    "submission": ("classification.inference.submission", "combine several runs' test predictions into one submission"),
    "compare": ("shared.runs.compare", "set two classifiers' figures side by side"),
    "train-cgan": ("generation.train_cgan", "train a conditional GAN on spectrograms"),
    "train-wgan-gp": ("generation.train_wgan_gp", "train a WGAN-GP on amplitude and phase images"),
    "train-vae": ("generation.train_vae", "train a VAE on waveforms or spectrograms"),
    "generate": ("generation.sample", "make new sounds with a trained generator"),
    "evaluate": ("generation.evaluate", "compare generated sounds with real ones and noise"),
    "report": ("shared.report.page", "write one page that compares the runs below a folder"),
}


def dispatch() -> None:
    """Run the verb that the command line names.

    Raises:
        UserError: no such verb.
    """
    verb = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if verb in ("-h", "--help"):
        print("usage: frequency-quest VERB [OPTIONS]; frequency-quest VERB --help lists them\n")
        width = max(map(len, VERBS))
        print(*(f"  {name:<{width}}  {about}" for name, (_, about) in VERBS.items()), sep="\n")
        return
    if verb not in VERBS:
        close = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"choose one of {', '.join(VERBS)}"
        raise UserError(f"frequency-quest {verb}: unknown; {hint}")
    sys.argv = [f"frequency-quest {verb}", *sys.argv[2:]]
    importlib.import_module(VERBS[verb][0]).main()


def main() -> None:
    run_entry(dispatch)


if __name__ == "__main__":
    main()
