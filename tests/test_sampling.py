"""generation/sample.py: its classes and file names; and the clips that a run lists as trained on."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from generation import sample, train_vae
from generation.listening import write_samples
from generation.models.gan2d import Generator
from generation.rundir import CLIPS, write_clips, write_origin
from generation.sampling import Sampler
from generation.scaling import Scaler
from generation.vocoders.vocoder import make_vocoder
from shared.audio import decode
from shared.data.datasets import load_dataset
from shared.errors import UserError
from shared.features.spec import FeatureSpec
from shared.files import write_json
from shared.runs.sounds import find_samples

SPEC = FeatureSpec(sr=4000, duration=0.5, n_fft=256, hop_length=64, n_mels=16, scaling="log1p", frames=32)


def untrained(run: Path, classes: list[str]) -> Sampler:
    """An untrained generator in a run folder."""
    run.mkdir()
    generator = Generator(len(classes), latent=4, shape=SPEC.shape, output="tanh")
    sampler = Sampler(generator, Scaler("dataset", 0.0, 1.0), make_vocoder("auto", SPEC, iterations=1), classes)
    sampler.save(run)
    return sampler


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch):
    """Run the entry in this process and return the names of the sounds in its folder."""

    def run(model_dir: Path, out_dir: Path, *options: object) -> list[str]:
        arguments = ["--model-dir", model_dir, "--out-dir", out_dir, "--count", 2, *options]
        monkeypatch.setattr(sys, "argv", ["sample.py", *map(str, arguments)])
        sample.main()
        return sorted(path.name for path in out_dir.glob("*.wav"))

    return run


def test_without_a_label_all_classes_are_generated(tmp_path: Path, make) -> None:
    untrained(tmp_path / "run", ["chirp", "hum", "siren"])
    untrained(tmp_path / "music", ["music"])
    assert make(tmp_path / "run", tmp_path / "all") == [
        f"{k}_0{i}.wav" for k in ("chirp", "hum", "siren") for i in (0, 1)
    ]
    assert make(tmp_path / "music", tmp_path / "one") == ["music_00.wav", "music_01.wav"]
    two = make(tmp_path / "run", tmp_path / "two", "--label", "siren", "chirp")
    assert two == ["chirp_00.wav", "chirp_01.wav", "siren_00.wav", "siren_01.wav"]
    with pytest.raises(UserError, match="--label horn: unknown; the classes are chirp, hum, siren"):
        make(tmp_path / "run", tmp_path / "none", "--label", "siren", "horn")
    assert not (tmp_path / "none").exists()


def test_a_label_cannot_name_another_folder(tmp_path: Path, make) -> None:
    evil = ["../../../evil", "/tmp/evil", "a/b"]
    sampler = untrained(tmp_path / "run", evil)
    write_samples(sampler, tmp_path / "own" / "run", 1, family="gan", seed=0)
    names = make(tmp_path / "run", tmp_path / "out" / "samples")
    assert len(names) == 6 and all("evil" in name or "a_b" in name for name in names)
    inside = {tmp_path / "run", tmp_path / "own" / "run", tmp_path / "out" / "samples"}
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(any(folder in path.parents for folder in inside) for path in written)
    assert len(list((tmp_path / "own" / "run" / "gan_generated_audio").iterdir())) == 3
    assert not list(Path("/tmp").glob("evil*"))


def test_samples_of_two_generators_are_not_mixed(tmp_path: Path, make) -> None:
    for name in ("a", "b"):
        untrained(tmp_path / name, ["hum"])
    make(tmp_path / "a", tmp_path / "samples")
    make(tmp_path / "a", tmp_path / "samples")
    with pytest.raises(UserError, match="holds samples of another generator"):
        make(tmp_path / "b", tmp_path / "samples")
    with pytest.raises(UserError, match="samples of another generator"):
        write_origin(tmp_path / "samples", tmp_path / "b", ["hum"])


def test_real_clips_pass_through_the_same_vocoder(sounds: Path, tmp_path: Path, make) -> None:
    run, dataset = tmp_path / "run", load_dataset(sounds)
    untrained(run, ["siren", "dog_bark"])
    siren = dataset.manifest[dataset.manifest.label == "siren"]
    held_out = siren.group.iloc[0]
    write_clips(run, dataset, dataset.manifest.path[dataset.manifest.group != held_out])
    write_json(run / "config.json", {"data": {"root": str(sounds)}})
    make(run, run / "samples", "--label", "siren")
    (samples,) = find_samples(run, {"classes": ["siren", "dog_bark"]})
    assert list(samples.generated) == list(samples.vocoded) == ["siren"] and samples.vocoder == "griffin-lim"
    assert {path.stem for path in samples.vocoded["siren"]} == {
        Path(p).stem for p in siren.path[siren.group == held_out]
    }
    y, sr = decode(samples.vocoded["siren"][0])
    assert len(y) == SPEC.n_samples and sr == SPEC.sr and np.abs(y).max() > 0.01
    shutil.rmtree(run / "samples")
    write_json(run / "config.json", {"data": {"root": str(tmp_path / "gone")}})
    make(run, run / "samples", "--label", "siren")
    assert not (run / "samples" / "reference").exists()


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_a_run_lists_the_clips_it_was_trained_on(
    share: float, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = ["--model", "cvae", "--segment-seconds", 0.9, "--epochs", 1, "--n-jobs", 1]
    data = ["--data-dir", sounds, "--out-dir", tmp_path / "run", "--holdout-share", share]
    monkeypatch.setattr(sys, "argv", list(map(str, ["train_vae.py", *sizes, *data])))
    train_vae.main()
    table = pd.read_csv(tmp_path / "run" / CLIPS)
    assert len(table) == 40 and table.groupby("recording").trained_on.nunique().max() == 1  # whole recordings
    assert table.groupby("label").trained_on.sum().tolist() == [8 if share == 0 else 6] * 5
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["options"]["holdout_share"] == share


def test_a_class_of_one_recording_cannot_be_held_out(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "hum"
    folder.mkdir(parents=True)
    for i, path in enumerate(sorted(sounds.glob("train/train/siren/*"))[:3]):
        shutil.copy(path, folder / f"1-0-0-{i}{path.suffix}")
    data = ["--data-dir", tmp_path / "data", "--out-dir", tmp_path / "run", "--holdout-share", 0.25, "--n-jobs", 1]
    monkeypatch.setattr(sys, "argv", list(map(str, ["train_vae.py", "--model", "cvae", *data])))
    with pytest.raises(UserError, match=r"^--holdout-share 0\.25: "):
        train_vae.main()
