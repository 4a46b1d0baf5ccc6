"""A model card shows the figures of config.json and metrics.json, and warns if these must not be trusted."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import table_of

from classification.export.model_card import read_card, render
from classification.recipes import RECIPES, TrainOptions
from classification.training.summary import spread
from shared.errors import UserError
from shared.evaluation.metrics import classification_metrics
from shared.features.spec import PRESETS, Backbone, FeatureSpec
from shared.files import read_json, write_json
from shared.runs.options import assemble, flat
from shared.runs.run import describe

CLASSES = ["a|b", "dog_bark", "siren"]
BACKBONE = {"content": "abcd", "size": 1024, "path": "/somewhere/yamnet.tflite"}


def a_run(folder: Path, *, recipe: str = "strong", reported_on: str | None = "test", **options: object) -> Path:
    """A finished run's config.json and metrics.json, of 90 clips evaluated with a classifier that is often wrong."""
    chosen = assemble(TrainOptions, RECIPES[recipe] | {"recipe": recipe, "framework": "torch"} | options)
    data = {"root": "/somewhere/my sounds", "layout": "a folder per class", "synthetic": False, "clips": 450}
    data |= {
        "classes": {"a|b": 300, "dog_bark": 90, "siren": 60},
        "recordings": 40,
        "skipped": 7,
        "fingerprint": "f00d",
    }
    spec = PRESETS.get(chosen.features) or FeatureSpec(kind="embedding", backbone=Backbone(**BACKBONE))
    config = describe(flat(chosen), data) | {"features": dataclasses.asdict(spec)}
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 90)
    p = rng.dirichlet([1, 1, 1], 90) + 0.4 * np.eye(3)[y]
    figures = classification_metrics(y, p / p.sum(axis=1, keepdims=True), CLASSES, [str(i // 4) for i in range(90)])
    metrics = {"framework": "torch", "recipe": recipe, "split": chosen.split, "classes": CLASSES}
    metrics |= {
        "reported_on": reported_on,
        "held_out": True,
        "split_leaks": chosen.split == "random",
        "model/parameters": 423_429,
    }
    metrics |= {f"{reported_on}/{name}": value for name, value in figures.items()} if reported_on else {}
    metrics |= {"train/epochs": 8, "time/epoch_seconds": 7.25, "time/train_seconds": 58.0, "memory/peak_mib": 801.0}
    write_json(folder / "config.json", config)
    write_json(folder / "labels.json", {"classes": CLASSES, "most_frequent": "siren"})
    write_json(folder / "metrics.json", metrics)
    return folder


def amend(run: Path, **changes: object) -> Path:
    write_json(run / "metrics.json", read_json(run / "metrics.json") | changes)
    return run


def front_matter(card: str) -> dict:
    assert card.startswith("---\n")
    return yaml.safe_load(card.split("---\n")[1])


def test_every_figure_comes_from_the_run(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    card, metrics = render(read_card(run)), read_json(run / "metrics.json")
    figures = {name: (value, interval) for name, value, interval in table_of(card, "figure")}
    low, high = metrics["test/intervals"]["accuracy"]
    assert figures["accuracy, clip by clip"] == (
        f"{100 * metrics['test/accuracy']:.1f} %",
        f"{100 * low:.1f} % to {100 * high:.1f} %",
    )
    assert figures["macro F1"][0] == f"{metrics['test/macro_f1']:.3f}" and len(figures) == 6
    rows = {row[0].strip("`"): row[1:] for row in table_of(card, "class | precision")}
    assert list(rows) == CLASSES
    for label, row in metrics["test/per_class"].items():
        shown = [f"{100 * row['precision']:.1f} %", f"{100 * row['recall']:.1f} %", f"{row['f1']:.3f}"]
        assert rows[label] == [*shown, str(int(row["clips"]))]
    confusions = table_of(card, "true class")
    matrix = np.array(metrics["test/confusion_matrix"])
    np.fill_diagonal(matrix, 0)
    true, taken, clips, _ = confusions[0]
    assert int(clips) == matrix.max() == matrix[CLASSES.index(true.strip("`")), CLASSES.index(taken.strip("`"))]
    assert [int(row[2]) for row in confusions] == sorted(matrix[matrix > 0].tolist(), reverse=True)[:5]
    (result,) = front_matter(card)["model-index"][0]["results"]
    assert result["metrics"][0]["value"] == pytest.approx(metrics["test/accuracy"], abs=1e-4)
    for said in (
        "my sounds",
        "450 labelled clips of 40 recordings",
        "7 file(s)",
        "423,429",
        "8 epochs of 7.2 s",
        "f00d",
    ):
        assert said in card, said
    assert "/somewhere" not in card and "WARNING" not in card and "synthetic" not in card


def test_limits_follow_from_the_figures(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    per_class = read_json(run / "metrics.json")["test/per_class"]
    per_class["dog_bark"] |= {"recall": 0.125, "clips": 8.0}
    per_class["siren"] |= {"recall": 0.0, "clips": 0.0}
    limits = render(read_card(amend(run, **{"test/per_class": per_class}))).split("## Limits")[1]
    assert "`dog_bark` (12.5 %)" in limits and "`siren` (" not in limits
    for said in (
        "No clip of `siren`",
        "40 recordings are few",
        "60 clips of `siren`, 300 of `a|b`",
        "one of the 3 classes, even",
        "11.025 kHz",
    ):
        assert said in limits, said


@pytest.mark.parametrize(
    ("run", "says"),
    [
        ({"split": "random"}, "the split LEAKS"),
        ({"reported_on": "val", "recipe": "plain"}, "optimistic"),
        ({"reported_on": None, "test_share": 0.0}, "There are no figures"),
    ],
)
def test_a_warning_precedes_figures_that_must_not_be_trusted(run: dict, says: str, tmp_path: Path) -> None:
    card = render(read_card(a_run(tmp_path / "run", **run)))
    assert says in card.split("**Accuracy")[0]
    assert ("model-index" in front_matter(card)) == (says == "optimistic")


def test_synthetic_data_and_unknown_recordings_are_named(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    config = read_json(run / "config.json")
    config["data"] |= {"synthetic": True, "recordings": None}
    write_json(run / "config.json", config)
    card = render(read_card(run))
    assert "**The data is synthetic.**" in card and "The recordings are unknown" in card
    assert "bootstrap over clips" in card and "of 40 recordings" not in card


def test_figures_are_clip_by_clip_and_averages_are_the_second_line(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    assert "averaged" not in render(read_card(run)).split("## Figures")[1].split("## Limits")[0]
    averages = {"together": True, "test/together_accuracy": 0.98765, "test/together_interval": [0.9, 0.99]}
    rows = table_of(card := render(read_card(amend(run, **averages))), "figure")
    assert [row[0] for row in rows[:2]] == [
        "accuracy, clip by clip",
        "accuracy, clips that sound like one recording averaged",
    ]
    assert rows[0][1] != "98.8 %" and rows[1][1:] == ["98.8 %", "90.0 % to 99.0 %"]
    assert "`--together`" in card and "0.9877" not in card


def test_the_figures_of_an_older_version_are_refused(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    metrics = read_json(run / "metrics.json")
    write_json(run / "metrics.json", {name: value for name, value in metrics.items() if name != "held_out"})
    with pytest.raises(UserError, match="written by an older version; train it again"):
        read_card(run)


def test_the_card_says_if_the_recordings_were_also_trained_on(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    assert "were also trained on" not in render(read_card(amend(run, held_out=True)))
    assert "whose recordings were also trained on" in render(read_card(amend(run, held_out=False)))


def test_several_trainings_show_their_spread(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run", folds=2, seeds=2, split="random")
    metrics = read_json(run / "metrics.json")
    others = [metrics, metrics | {"test/accuracy": metrics["test/accuracy"] + 0.1}]
    spreads = spread(others, "test")
    grouped = {"accuracy": {"mean": 0.456, "sd": 0.0, "values": [0.456]}}
    added = {"spread": spreads, "trainings": 4, "seeds": {"0": 0.61, "1": 0.625}, "refit": {"train/epochs": 8}}
    card = render(read_card(amend(run, **added, grouped=grouped, optimism=0.231)))
    mean, sd = spreads["accuracy"]["mean"], spreads["accuracy"]["sd"]
    assert table_of(card, "figure")[0][3] == f"{100 * mean:.1f} % ± {100 * sd:.1f} %"
    for said in (
        "4 trainings",
        "61.0 % (seed 0), 62.5 % (seed 1)",
        "45.6 %",
        "23.1 points",
        "trained once more, on all clips",
    ):
        assert said in card, said


def test_exports_and_conversion_are_listed(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    files = {"onnx": {"file": "model.onnx", "bytes": 3 * 2**20, "note": "opset 18"}}
    write_json(run / "export.json", {"files": files})
    assert ["`model.onnx`", "3.00", "onnx: opset 18"] in table_of(render(read_card(run)), "file")
    converted = a_run(tmp_path / "converted")
    write_json(converted / "metrics.json", {"converted_from": str(run)})
    card = render(read_card(converted))
    assert (
        "then converted to the other" in card
        and f"{100 * read_json(run / 'metrics.json')['test/accuracy']:.1f} %" in card
    )
    (run / "metrics.json").unlink()
    with pytest.raises(UserError, match="which is gone"):
        read_card(converted)
    with pytest.raises(UserError, match="no finished classification run"):
        read_card(run)


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_has_a_card(recipe: str, tmp_path: Path) -> None:
    card = render(read_card(a_run(tmp_path / recipe, recipe=recipe)))
    assert f"recipe `{recipe}`" in card and "{{" not in card and "None" not in card
    others = {"digits": ("Conv 5x5", " 4 kHz"), "transfer": ("yamnet.tflite, BLAKE2b abcd", "11.025 kHz")}
    network, last = others.get(recipe, ("Conv 3x3", "11.025 kHz"))
    assert ("Conv" in card) == (recipe != "transfer") and "/somewhere" not in card
    assert network in card and last in card and ("128 STFT bins" in card) == (recipe == "digits")
    assert json.dumps(recipe) in card  # the run's name, in the front matter and the example
    assert max(map(len, card.split("## Licence")[1].splitlines())) < 120
