"""Runs and a running app for the tests of the app."""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import report_runs
import torch
from conftest import ROOT

from generation.models import flow_net, gan2d
from generation.models.vocos import Vocos
from generation.sampling import Sampler
from generation.scaling import Scaler
from generation.vocoders.neural import save_vocoder
from generation.vocoders.vocoder import make_vocoder
from shared.features.spec import FeatureSpec
from shared.files import read_json

SPEC = FeatureSpec(sr=8000, duration=0.5, n_fft=256, hop_length=64, n_mels=16, power=1.0, scaling="ln", frames=60)


def write_runs(folder: Path, classifier: Path) -> None:
    """A copy of a PyTorch classifier, an untrained flow model of its classes, a vocoder, and a finished GAN."""
    shutil.copytree(classifier, folder / "torch")
    classes = read_json(folder / "torch" / "labels.json")["classes"]
    torch.manual_seed(0)
    small = {"width": 32, "depth": 1, "heads": 2, "channels": 16, "steps": 4}
    flow = flow_net.Generator(len(classes), shape=(16, 60), **small)
    flow.net.gaussian.mean.normal_()  # each class has a spectrum of its own
    (folder / "flow").mkdir()
    Sampler(flow, Scaler("none", -11.5, 3.0), make_vocoder("auto", SPEC), classes).save(folder / "flow")
    save_vocoder(folder / "vocoder", Vocos(n_mels=16, n_fft=256, hop_length=64, width=8, blocks=1), SPEC)
    gan = report_runs.write_generator(folder / "gan", report_runs.write_sounds(folder.parent / "data"))
    spec = dataclasses.replace(SPEC, frames=64)
    generator = gan2d.Generator(len(report_runs.CLASSES), latent=4, shape=spec.shape, output="tanh")
    scaler = Scaler("dataset", -11.5, 3.0)
    Sampler(generator, scaler, make_vocoder("auto", spec), report_runs.CLASSES).save(gan)


@dataclasses.dataclass(frozen=True)
class Served:
    """A running app: its process, its address, the folder that it works in, and the one of its temporary files."""

    process: subprocess.Popen
    url: str
    folder: Path
    temporary: Path


@contextlib.contextmanager
def serving_app(folder: Path, *arguments: object) -> Iterator[Served]:
    """Serve an app that works in ``folder``, and end it with Ctrl-C."""
    temporary = folder / "temporary"
    temporary.mkdir(parents=True)
    errors = (folder / "errors.txt").open("w+")
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "shared/commands.py"), "app", *map(str, arguments), "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        cwd=folder,
        env=os.environ | {"TMPDIR": str(temporary)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # ignored in background shells
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("app at http://127.0.0.1:"), line + (folder / "errors.txt").read_text()
        yield Served(process, line.split()[2], folder, temporary)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
