"""The examples of docs/extending.md do what the page says."""

import math
import re
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import librosa
import numpy as np
import pytest
import soundfile as sf
import torch
from conftest import ROOT
from torch import Tensor, nn

from classification.recipes import RECIPES, TrainOptions
from generation.models.gan2d import OUTPUTS
from generation.recipes import CganOptions
from generation.registry import KINDS, NETS
from generation.sampling import generate_audio
from generation.training import train
from generation.vocoders.vocoder import VOCODERS, Vocoder, make_vocoder
from shared.data.datasets import LAYOUTS, Row, load_dataset
from shared.data.splits import assign_splits
from shared.errors import UserError
from shared.features.spec import PRESETS, FeatureSpec
from shared.features.transforms import extract, log_mel
from shared.runs.options import assemble
from shared.tables import read_table

KNOWN = {"Path": Path, "Row": Row, "read_table": read_table, "Sequence": Sequence, "math": math, "librosa": librosa}
KNOWN |= {"RECIPES": RECIPES, "PRESETS": PRESETS, "FeatureSpec": FeatureSpec, "Vocoder": Vocoder, "OUTPUTS": OUTPUTS}
KNOWN |= {"torch": torch, "Tensor": Tensor, "nn": nn}


@pytest.fixture
def example() -> Iterator[Callable[[str], dict[str, Any]]]:
    """Run the block below a heading and return its names; the project's dictionaries are restored afterwards."""
    page = (ROOT / "docs" / "extending.md").read_text()

    def run(heading: str) -> dict[str, Any]:
        section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
        (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
        names = KNOWN | {"__name__": "of_the_page"}
        exec(code, names)
        return names

    tables = (RECIPES, PRESETS, LAYOUTS, VOCODERS, NETS, KINDS["cgan"].nets)
    patches = [mock.patch.dict(table) for table in tables]
    for patch in patches:
        patch.start()
    yield run
    for patch in patches:
        patch.stop()


def test_a_recipe(example: Callable) -> None:
    example("A recipe")
    options = assemble(TrainOptions, RECIPES["wide"] | {"recipe": "wide"})
    options.check()
    assert options.architecture.widths == (32, 64, 128)


def test_a_preset(example: Callable, sounds: Path) -> None:
    example("A preset")
    spec = PRESETS["high"]
    assert extract(next(sounds.glob("train/train/*/*")), spec).shape == spec.shape == (128, 173)


def test_a_layout(example: Callable, tmp_path: Path) -> None:
    clips = [(f"{fold}-{source}-A-{k}.wav", fold, f"class{k}", source) for k in range(2) for fold in range(1, 6)
             for source in [100 * k + fold]]  # fmt: skip
    (tmp_path / "audio").mkdir()
    (tmp_path / "meta").mkdir()
    for name, *_ in clips:
        sf.write(tmp_path / "audio" / name, np.zeros(100), 8000)
    lines = [f"{name},{fold},{label},{source}" for name, fold, label, source in clips]
    (tmp_path / "meta" / "esc50.csv").write_text("\n".join(["filename,fold,category,src_file", *lines]))
    reader = example("A layout of data")["_esc50"]
    before = dict(LAYOUTS)
    LAYOUTS.clear()
    LAYOUTS.update({"ESC-50": reader} | before)
    dataset = load_dataset(tmp_path)
    assert dataset.layout == "ESC-50" and dataset.groups_known and set(dataset.manifest.label) == {"class0", "class1"}
    tested = assign_splits(dataset.manifest, how="official", fold=2, folds=5, val_share=0.0).query("split == 'test'")
    assert sorted(tested.group) == ["103", "3"]


def test_a_vocoder(example: Callable) -> None:
    names = example("A vocoder")
    module = sys.modules["of_the_page"] = types.ModuleType("of_the_page")
    module.LibrosaVocoder = names["LibrosaVocoder"]
    VOCODERS["librosa"] = "of_the_page:LibrosaVocoder"
    spec, t = PRESETS["flow"], np.arange(PRESETS["flow"].n_samples) / PRESETS["flow"].sr
    S = log_mel(np.float32(0.5 * np.sin(2 * np.pi * 1000 * t)), spec)
    y = make_vocoder("librosa", spec)(torch.from_numpy(S)[None])
    assert y.shape == (1, spec.n_samples)
    spectrum = np.abs(np.fft.rfft(y[0].numpy()))
    assert abs(spectrum.argmax() * spec.sr / spec.n_samples - 1000) < 30
    with pytest.raises(UserError, match="--vocoder librosa: inverts log_mel scaled log1p or ln, not stft"):
        make_vocoder("librosa", PRESETS["linear"])


@pytest.mark.slow
def test_a_generator(example: Callable, sounds: Path, tmp_path: Path) -> None:
    names = example("A generator")
    module = sys.modules["of_the_page"] = types.ModuleType("of_the_page")
    module.Generator = names["Generator"]
    NETS["mine"] = ("of_the_page:Generator", "generation.models.gan2d:Discriminator")
    KINDS["cgan"].nets["mine"] = "mine"
    options = {"net": "mine", "recipe": "plain", "bands": 32, "frames": 32, "epochs": 1, "n_jobs": 1, "fraction": 0.5}
    train(CganOptions(data_dir=sounds, out_dir=tmp_path / "run", **options))
    y, sr = generate_audio(tmp_path / "run", "siren", count=2)
    assert y.shape[0] == 2 and sr == 22050 and np.isfinite(y).all() and np.abs(y).max() > 0
