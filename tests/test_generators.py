"""Every generator is trained, stopped, resumed, sampled and evaluated through the entry scripts."""

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
from read_events import hparams, read_events

from generation.registry import KINDS
from shared.errors import UserError
from shared.files import safe_name

SMALL = ("--segment-seconds", 0.9)
GENERATORS: dict[str, tuple[object, ...]] = {
    **{
        f"{name}-{variant}": (f"train_{name.replace('-', '_')}", f"--{kind.choice}", variant)
        for name, kind in KINDS.items()
        for variant in kind.variants
    },
    "cgan-tanh": ("train_cgan", "--output", "tanh", "--scaling", "dataset", "--spectral-norm", "--no-masking"),
    "wgan-gp-conv": ("train_wgan_gp", "--experiment", 4, "--net", "conv", "--critic-steps", 2),
}
# other generators take the same way through the code
ALIKE = ("wgan-gp-2", "wgan-gp-3", "wgan-gp-4", "wgan-gp-conv", "cgan-tanh", "vae-convpool")
SIZES = {
    "flow-plain": (*SMALL, "--width", 32, "--depth", 1, "--heads", 2, "--steps", 4, "--average", 0.9),
    "cgan-strong": ("--bands", 16, "--frames", 32, "--width", 4, "--average", 0.9),
    "cgan-plain": ("--bands", 32, "--frames", 32),
    "cgan-tanh": ("--bands", 16, "--frames", 48),
}


def call(monkeypatch: pytest.MonkeyPatch, module: str, *arguments: object) -> None:
    """Run an entry's main in this process, so that torch is loaded once for all of them."""
    monkeypatch.setattr("sys.argv", [f"{module}.py", *map(str, arguments)])
    importlib.import_module(module).main()


@pytest.fixture
def train(name: str, sounds: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, int], list[dict[str, float]]]:
    """Train one of GENERATORS in a folder up to an epoch, and return its history without times."""

    def to_epoch(out_dir: Path, epochs: int) -> list[dict[str, float]]:
        module, *options = GENERATORS[name]
        data = ("--data-dir", sounds, "--out-dir", out_dir, "--batch-size", 8, "--n-jobs", 1)
        options += (*SIZES.get(name, SMALL), "--holdout-share", 0.25)
        call(monkeypatch, f"generation.{module}", *options, *data, "--epochs", epochs, "--sample-every", 2)
        lines = [json.loads(line) for line in (out_dir / "history.jsonl").read_text().splitlines()]
        # a training that is to end after this epoch measures its samples here, a longer one does not
        return [{key: x for key, x in line.items() if not key.startswith(("time/", "samples/"))} for line in lines]

    return to_epoch


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.long] * (n in ALIKE)) for n in GENERATORS])
def test_a_generator_is_trained_resumed_sampled_and_evaluated(
    name: str, train: Callable, sounds: Path, tiny_classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(tmp_path / "whole", 2)
    assert train(tmp_path / "stopped", 1) == whole[:1] and train(tmp_path / "stopped", 2) == whole
    assert all(np.isfinite(value) for line in whole for value in line.values())
    run = tmp_path / "whole"
    classes = json.loads((run / "metrics.json").read_text())["classes"]
    assert len(classes) == (1 if name in ("cgan-linear", "vae-conv1d", "vae-convpool") else 5)
    assert json.loads((run / "metrics.json").read_text())["samples/diversity"] >= 0
    for path in ("plots/curves.png", "generator.safetensors", "*_spectrogram_plots/epoch_002.png"):
        assert list(run.glob(path))
    assert len(list(run.glob("*_generated_audio/*_ep2.wav"))) == len(classes)
    if name.startswith("vae"):
        assert len(list(run.glob("reconstructions/*_original.wav"))) == 4
        assert len(list(run.glob("reconstructions/*_reconstruction.wav"))) == 4
        assert len(list(run.glob("interpolations/*_4.wav"))) == 2
        assert (run / "vae_spectrogram_plots" / "grid_002.png").is_file() == (name == "vae-cvae")

    events, family = read_events(run), json.loads((run / "metrics.json").read_text())["model"]
    assert set(events.Tags()["audio"]) == {f"{family}_generated_audio/{safe_name(label)}" for label in classes}
    assert f"{family}_spectrogram_plots/epoch" in events.Tags()["images"] and events.Tags()["scalars"]
    assert hparams(events)["batch_size"] == 8

    assert "**Not evaluated yet.**" in (run / "MODEL_CARD.md").read_text()

    samples = tmp_path / "samples"
    sampling = ("--model-dir", run, "--count", 3, "--griffin-lim-iterations", 2)
    call(monkeypatch, "generation.sample", *sampling, "--out-dir", samples)
    y, sr = sf.read(next(samples.glob(f"{classes[0]}_00.wav")))
    spec = json.loads((run / "config.json").read_text())["features"]
    assert sr == spec["sr"] and len(y) == round(sr * spec["duration"])
    assert len(list(samples.glob("*.wav"))) == 3 * len(classes)

    call(
        monkeypatch, "generation.evaluate", "--samples", samples, "--reference", sounds, "--classifier", tiny_classifier
    )
    frechet = json.loads((samples / "evaluation.json").read_text())["metrics"]["frechet"]
    assert all(frechet[column] > 0 for column in ("samples", "floor", "ceiling"))  # too few clips to rank them
    assert (run / "evaluation.json").read_text() == (samples / "evaluation.json").read_text()
    assert "**Not evaluated yet.**" not in (run / "MODEL_CARD.md").read_text()


@pytest.fixture(scope="module")
def cgan(sounds: Path, tmp_path_factory: pytest.TempPathFactory, run_script: Callable) -> Path:
    run = tmp_path_factory.mktemp("runs") / "cgan"
    arguments = ["--data-dir", sounds, "--out-dir", run, "--epochs", 2, "--fraction", 0.5, "--width", 4]
    run_script("tests/without.py", "tensorflow,keras", "generation/train_cgan.py", *arguments)
    return run


@pytest.mark.slow
def test_the_cgan_writes_sounds_and_figures(cgan: Path, sounds: Path, run_script) -> None:
    classes = sorted(path.name for path in (sounds / "train" / "train").iterdir())
    for label in classes:
        for epoch in (1, 2):
            y, sr = sf.read(cgan / "gan_generated_audio" / f"{label}_ep{epoch}.wav")
            assert sr == 22050 and len(y) == 88200 and 0 < np.abs(y).max() < 1
    figures = sorted(path.name for path in (cgan / "gan_spectrogram_plots").iterdir())
    assert figures == ["epoch_001.png", "epoch_002.png"]
    history = [json.loads(line) for line in (cgan / "history.jsonl").read_text().splitlines()]
    assert all(np.isfinite(line["generator/loss"]) and np.isfinite(line["discriminator/loss"]) for line in history)
    arguments = ["--data-dir", sounds, "--out-dir", cgan, "--fraction", 0.5, "--width", 4]
    assert "already done" in run_script("generation/train_cgan.py", *arguments, "--epochs", 2).stdout
    assert "resuming" in run_script("generation/train_cgan.py", *arguments, "--epochs", 3).stdout
    assert len((cgan / "history.jsonl").read_text().splitlines()) == 3


@pytest.mark.slow
def test_sample_writes_the_requested_sounds(cgan: Path, tmp_path: Path, run_script) -> None:
    arguments = ["--model-dir", cgan, "--label", "siren", "--count", 3, "--seed", 7]
    for folder in ("a", "b"):
        run_script("generation/sample.py", *arguments, "--out-dir", tmp_path / folder)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["reference", "samples.json", "siren.png", "siren_00.wav", "siren_01.wav", "siren_02.wav"]
    assert list((tmp_path / "a" / "reference").glob("siren/*.wav"))  # real clips, vocoded
    for name in names[3:]:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    failed = run_script(
        "generation/sample.py", "--model-dir", cgan, "--label", "sirne", "--out-dir", tmp_path / "c", code=2
    )
    assert "--label sirne" in failed.stderr and "street_music" in failed.stderr and "Traceback" not in failed.stderr
    assert not (tmp_path / "c").exists()


@pytest.mark.slow
def test_a_damaged_run_is_refused_in_one_line(
    cgan: Path, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(cgan, tmp_path / "run")
    weights = run / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be loaded"):
        call(monkeypatch, "generation.sample", "--model-dir", run, "--label", "siren", "--out-dir", tmp_path / "a")
    checkpoint = run / "checkpoints" / "training_state.pt"
    state = torch.load(checkpoint, weights_only=True)
    state["objective"] = {name.upper(): value for name, value in state["objective"].items()}  # as if renamed since
    torch.save(state, checkpoint)
    data = ("--data-dir", sounds, "--out-dir", run, "--fraction", 0.5, "--width", 4, "--epochs", 9)
    with pytest.raises(UserError, match="--overwrite"):
        call(monkeypatch, "generation.train_cgan", *data)
