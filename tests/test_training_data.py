"""Generated sounds as training data: cas and augmentation train on the right clips and test on held-out recordings."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from generation import augmentation, cas
from generation.evaluation.training_data import load_fold
from generation.evaluation.training_options import CasOptions
from generation.rundir import write_clips, write_origin
from shared.data.datasets import load_dataset
from shared.errors import UserError
from shared.files import write_json

TINY = ("--framework", "torch", "--recipe", "plain", "--widths", "4", "--dense", "4", "--epochs", "1", "--n-jobs", "1")


@pytest.fixture
def samples(sounds: Path, tmp_path: Path) -> Path:
    """Copies of real clips as the sounds of a generator that held one of four recordings of each class out."""
    dataset = load_dataset(sounds)
    last = dataset.manifest.groupby("label").group.max().to_list()
    run, folder = tmp_path / "gan", tmp_path / "gan" / "samples"
    folder.mkdir(parents=True)
    write_json(run / "config.json", {"data": {"root": str(sounds)}, "options": {}})
    write_clips(run, dataset, dataset.manifest.path[~dataset.manifest.group.isin(last)])
    for i, clip in enumerate(dataset.manifest.itertuples()):
        shutil.copy(clip.path, folder / f"{clip.label}_{i:02d}{Path(clip.path).suffix}")
    write_origin(folder, run, sorted(dataset.manifest.label.unique()))
    return folder


def run(entry, monkeypatch: pytest.MonkeyPatch, *options: object) -> None:
    monkeypatch.setattr("sys.argv", ["entry.py", *map(str, options)])
    entry.main()


def test_each_clip_has_one_part(samples: Path) -> None:
    manifest = load_fold(samples, CasOptions(samples=(samples,), n_jobs=1)).manifest
    assert manifest[["trained_on", "held_out", "generated"]].sum().to_list() == [30, 10, 40]
    assert (manifest[["trained_on", "held_out", "generated"]].sum(axis=1) == 1).all()
    assert not set(manifest[manifest.held_out].group) & set(manifest[~manifest.held_out].group)
    groups = manifest.groupby(["label", "generated"]).group.nunique().unstack()
    assert (groups[True] == 3).all() and (groups[False] == 4).all()  # 3 recordings of each class were trained on


def test_cas_tests_both_kinds_on_the_same_held_out_clips(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "cas"
    run(cas, monkeypatch, "--samples", samples, "--out-dir", out, *TINY)
    found = json.loads((out / "cas.json").read_text())
    assert set(found["kinds"]) == {"real", "generated"} and found["held_out_clips"] == 10
    tables = [pd.read_csv(out / f"{kind}-seed-0" / "predictions.csv") for kind in ("real", "generated")]
    real, generated = ([Path(p).name for p in table[table.split == "test"].path] for table in tables)
    assert real == generated and len(real) == 10
    own, reference = (found["kinds"][kind]["accuracy"] for kind in ("generated", "real"))
    assert found["difference"]["difference"] == pytest.approx(own - reference)
    said = capsys.readouterr().out
    assert "generated minus real:" in said and "10 real clips of recordings that the generator did not hear" in said
    run(cas, monkeypatch, "--samples", samples, "--out-dir", out, *TINY)  # finished trainings are not repeated
    assert "is already done" in capsys.readouterr().out


def test_bad_samples_give_one_clear_line(samples: Path, sounds: Path, tmp_path: Path, monkeypatch) -> None:
    for entry, options, message in (
        (cas, (), "--samples is missing"),
        (augmentation, ("--samples", sounds / "train" / "train" / "siren"), "has no samples.json"),
        (cas, ("--samples", samples, "--seeds", "0"), "--seeds 0: must be 1 or more"),
    ):
        with pytest.raises(UserError, match=message):
            run(entry, monkeypatch, *options)
    for path in samples.glob("siren_*"):
        path.unlink()
    with pytest.raises(UserError, match=r"its classes are not those of .*\(siren\); generate all"):
        run(augmentation, monkeypatch, "--samples", samples, "--out-dir", tmp_path / "a", *TINY)
    write_clips(samples.parent, load_dataset(sounds), load_dataset(sounds).manifest.path)
    with pytest.raises(UserError, match=r"was trained on every recording\. Train the generator with --holdout-share"):
        run(augmentation, monkeypatch, "--samples", samples, *TINY)
