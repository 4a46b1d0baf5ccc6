"""frequency-quest VERB: one console command for all entry points.

Each verb names a module whose ``main()`` parses the rest of the command line. Only the chosen verb's module is
imported, so ``frequency-quest --help`` is fast.
"""

import difflib
import importlib
import sys

from shared.errors import UserError, run_entry

VERBS = {  # verb -> (module, one-line description)
    "data": ("shared.data.command", "download a data set, make the demo sounds, submit to Kaggle"),
    "cache": ("shared.runs.cache_command", "compute the spectrograms of a data folder in advance"),
    "recordings": ("shared.recordings.command", "find near-duplicate clips and clips of the same recording"),
    "train": ("classification.train", "train a classifier in Keras or PyTorch"),
    "tune": ("classification.tune", "find better options for a classifier's recipe on inner folds"),
    "predict": ("classification.predict", "predict the classes of sounds with a trained classifier"),
    "convert": ("classification.convert", "convert a classifier between Keras and PyTorch"),
    "export": ("classification.export.export", "export a classifier to ONNX, TFLite or safetensors"),
    "card": ("generation.card", "write the model card of a finished classifier or generator"),
    "submission": ("classification.inference.submission", "average the test predictions of several runs"),
    "compare": ("shared.runs.compare", "test whether two classifiers differ by more than chance"),
    "train-flow": ("generation.train_flow", "train conditional flow matching on log-mels"),
    "train-cgan": ("generation.train_cgan", "train a conditional GAN on spectrograms"),
    "train-wgan-gp": ("generation.train_wgan_gp", "train a WGAN-GP on amplitude and phase images"),
    "train-vae": ("generation.train_vae", "train a VAE on waveforms or spectrograms"),
    "train-vocoder": ("generation.train_vocoder", "train a neural vocoder, which turns mels into sound"),
    "generate": ("generation.sample", "generate new sounds with a trained generator"),
    "evaluate": ("generation.evaluate", "evaluate generated sounds against real sounds and noise"),
    "listen": ("shared.listening.command", "play real and generated sounds in a blind listening test"),
    "cas": ("generation.cas", "train a classifier on generated sounds only, test it on real ones"),
    "augmentation": (
        "generation.augmentation",
        "train a classifier on real and generated sounds, and on real ones alone",
    ),
    "app": ("generation.app.command", "classify and generate sounds in the browser"),
    "report": ("shared.report.page", "compare all runs in a folder on one page, with a page of their common errors"),
}


def dispatch() -> None:
    """Run the verb named on the command line.

    Raises:
        UserError: unknown verb.
    """
    verb = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if verb in ("-h", "--help"):
        print("usage: frequency-quest VERB [OPTIONS]\noptions of a verb: frequency-quest VERB --help\n")
        width = max(map(len, VERBS))
        print(*(f"  {name:<{width}}  {about}" for name, (_, about) in VERBS.items()), sep="\n")
        return
    if verb not in VERBS:
        close = difflib.get_close_matches(verb, VERBS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"choose one of {', '.join(VERBS)}"
        raise UserError(f"frequency-quest {verb}: unknown verb; {hint}")
    sys.argv = [f"frequency-quest {verb}", *sys.argv[2:]]
    importlib.import_module(VERBS[verb][0]).main()


def main() -> None:
    run_entry(dispatch)


if __name__ == "__main__":
    main()
