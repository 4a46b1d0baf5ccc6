"""A generator's model card shows what its run's files contain, with or without an evaluation."""

import csv
import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import table_of

from generation import card as command
from generation.evaluation.figures import METRICS
from generation.model_card import read_card, render, write_card
from generation.recipes import CganOptions
from generation.registry import NETS
from generation.rundir import CLIPS, DESCRIPTION, EVALUATION
from shared.errors import UserError
from shared.features.spec import PRESETS
from shared.files import write_json
from shared.runs.options import flat
from shared.runs.run import describe

CLASSES = ["a|b", "dog's bark"]


def a_run(folder: Path, *, held_out: int = 2, model: str = "gan2d", synthetic: bool = False, **options: object) -> Path:
    """The files of a finished run: two clips of each of six recordings, of which ``held_out`` were not trained on."""
    chosen = CganOptions(recipe="plain", **options)
    data = {"root": "/somewhere/my sounds", "layout": "a folder per class", "synthetic": synthetic, "clips": 12}
    data |= {"classes": dict.fromkeys(CLASSES, 6), "recordings": 6, "skipped": 1, "fingerprint": "f00d"}
    write_json(folder / "config.json", describe(flat(chosen), data))
    metrics = {"model": "gan", "recipe": "plain", "classes": CLASSES, "model/parameters": 1_234_567}
    metrics |= {"train/epochs": 8, "time/epoch_seconds": 7.25, "time/train_seconds": 58.0, "memory/peak_mib": 801.0}
    write_json(folder / "metrics.json", metrics | {"precision": "float32", "vocoder": "griffin-lim"})
    write_json(folder / DESCRIPTION, {"model": model, "features": dataclasses.asdict(PRESETS["cgan"])})
    with (folder / CLIPS).open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "recording", "clip", "trained_on"])
        for i in range(12):
            label = CLASSES[i // 2 % 2]
            rows.writerow([f"{i}.wav", label, f"r{i // 2}", f"{label}/{i}", i // 2 < 6 - held_out])
    return folder


def evaluate(
    run: Path, *, has_floor: bool = True, labelled: bool = True, scorers: tuple[str, ...] = ("torch",)
) -> Path:
    """Add an evaluation with a different figure in every cell."""
    columns = ("samples", "vocoded_training", "vocoded_floor", "floor", "ceiling")
    values = {name: {key: i + j / 8 for j, key in enumerate(columns)} for i, name in enumerate(METRICS)}
    values["accuracy"] = dict(zip(columns, (0.625, 0.775, 0.75, 0.875, 0.125), strict=True))
    shares = {"samples": 0.075, "floor": 0.05 if has_floor else None, "smoothed": 0.1, "own_recording": 0.625}
    copies = {name: {"clips": 4, "share": share} for name, share in shares.items()}
    for name, row in values.items():
        if not has_floor:
            row |= {"floor": None, "vocoded_floor": None}
        if not labelled and name == "accuracy":
            values[name] = dict.fromkeys(row)
    by_label = {label: {"clips": 4, "accuracy": 0.5 if labelled else None, "frechet": 1.0} for label in CLASSES}
    write_json(
        run / EVALUATION,
        {
            "options": {"samples": "/x/samples", "reference": "/x/my sounds", "classifiers": ["/x/torch"], "seed": 0},
            "clips": {"samples": 8, "real": 8, "trained_on": 8, "floor": 4, "features": 16},
            "has_floor": has_floor,
            "scorers": [
                {"name": name, "title": "torch", "metrics": values, "accuracy_share": {"all": 0.5}} for name in scorers
            ],
            "frame_change": {
                "all": {},
                "by_label": {
                    label: {"real": 0.25, "samples": 0.125, "floor": 0.3, "vocoded_floor": 0.2} for label in CLASSES
                },
            },
            "metrics": {k: {"name": METRICS[k][0], "better": METRICS[k][1]} | row for k, row in values.items()},
            "by_label": {
                "samples": by_label,
                "ceiling": by_label,
                "vocoded_training": by_label,
                **dict.fromkeys(("floor", "vocoded_floor"), by_label if has_floor else {}),
            },
            "accuracy_share": {"all": 0.833, "by_label": dict.fromkeys(CLASSES, 1.0)},
            "copies": {
                "all": copies,
                "by_label": {label: {"threshold": 0.9} | copies for label in CLASSES},
                "closest": [{"sample": "/x/samples/a_00.wav", "real": "/x/1.wav at 4 s", "similarity": 0.875}],
            },
            "notes": ["This is a note."],
        },
    )
    return run


def test_the_card_shows_data_and_use(tmp_path: Path) -> None:
    card = render(read_card(a_run(tmp_path / "my gan", holdout_share=0.33)))
    assert card.startswith("---\n")
    assert yaml.safe_load(card.split("---\n")[1])["tags"] == [
        "audio-generation",
        "gan",
        "log-mel",
    ]
    assert "# my gan: generates sounds of 2 classes" in card and "**Not evaluated yet.**" in card
    assert "8 clips of 4 recordings from `my sounds`" in card
    assert "Held out: 4 clips of 2 recordings were never trained on (`--holdout-share 0.33`)" in card
    assert table_of(card, "class | training clips") == [["`a|b`", "4"], ["`dog's bark`", "4"]]
    assert "--model-dir 'my gan' --label 'a|b' --count 8" in card and 'generate_audio("my gan", "a|b", count=8)' in card
    assert "DCGAN" in card and "1,234,567" in card and "1 file(s) could not be used" in card
    assert "synthetic" not in card and "synthetic" in render(read_card(a_run(tmp_path / "demo", synthetic=True)))
    assert "\n\n\n" not in card


def test_the_card_shows_every_figure(tmp_path: Path) -> None:
    card = render(read_card(evaluate(a_run(tmp_path / "run"))))
    rows = {row[0]: row[1:] for row in table_of(card, "figure")}
    for i, (name, (title, better)) in enumerate(METRICS.items()):
        if name != "accuracy":
            assert rows[title] == [f"{i + part:.3g}" for part in np.arange(5) / 8] + [better]
    assert table_of(card, "class | samples | accuracy of the samples") == [
        [f"`{label}`", "4", "50.0 %", "50.0 %", "50.0 %", "100.0 %"] for label in CLASSES
    ]
    assert "classifier assigns to their class | 62.5 % | 75.0 % | 87.5 % | 12.5 %" in card
    assert "by the features of\nthe classifier `torch` (torch)." in card and "| classifier |" not in card
    assert table_of(card, "class | samples | vocoded held-out")[0] == ["`a|b`", "0.125", "0.2", "0.3", "0.25"]
    assert "Copies: 7.5 % of the samples" in card and "`1.wav at 4 s` | 0.875" in card
    assert table_of(card, "class | samples | real held-out")[0] == ["`a|b`", "7.5 %", "5.0 %", "10.0 %", "62.5 %"]
    assert "- This is a note." in card
    assert "/x/" not in card and "Not evaluated" not in card and "\n\n\n" not in card


def test_the_card_shows_each_classifier(tmp_path: Path) -> None:
    card = render(read_card(evaluate(a_run(tmp_path / "run"), scorers=("keras", "torch"))))
    assert "2 classifiers, whose means are shown: `keras` (torch), `torch` (torch)." in card
    rows = table_of(card, "classifier | accuracy of the samples")
    assert [row[:5] for row in rows] == [[f"`{k}`", "62.5 %", "75.0 %", "87.5 %", "50.0 %"] for k in ("keras", "torch")]


def test_the_card_says_if_there_is_no_floor_and_no_label(tmp_path: Path) -> None:
    run = evaluate(a_run(tmp_path / "run", held_out=0, conditional=False), has_floor=False, labelled=False)
    card = render(read_card(run))
    assert "There are no real held-out clips" in card and "Copies: 7.5 % of the samples" in card
    assert "Every recording was trained on" in card and "classifier assigns to their class |" not in card
    assert all("–" in row for row in table_of(card, "figure"))
    assert table_of(card, "class | training clips") == [["`a|b`", "12"]]


@pytest.mark.parametrize("model", NETS)
def test_every_network_is_described(model: str, tmp_path: Path) -> None:
    assert "trained with PyTorch" in render(read_card(a_run(tmp_path / "run", model=model)))


def test_the_command_writes_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(tmp_path / "run")
    monkeypatch.setattr(sys, "argv", ["card.py", "--model-dir", str(run)])
    command.main()
    assert (run / "MODEL_CARD.md").read_text() == render(read_card(run))
    (run / "metrics.json").unlink()
    with pytest.raises(UserError, match="the training is not finished"):
        command.main()
    (run / DESCRIPTION).unlink()
    with pytest.raises(UserError, match="no finished classification run"):
        command.main()


def test_a_run_of_an_older_version_is_named(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    (run / CLIPS).write_text((run / CLIPS).read_text().replace("trained_on", "heard"))
    with pytest.raises(UserError, match=r"clips.csv was written by an older version; train it again"):
        write_card(run)
