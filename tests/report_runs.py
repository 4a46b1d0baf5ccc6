"""Run folders for the tests of the report, made without training: chosen predictions give their figures."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from shared.audio import write_wav
from shared.evaluation.metrics import classification_metrics
from shared.files import write_json, write_text
from shared.report import page

CLASSES = ["dog", "rain", "siren"]
RECORDINGS, CLIPS = 6, 2  # recordings per class, clips per recording


def write_sounds(folder: Path) -> pd.DataFrame:
    """Write half a second of noise for every clip; return the manifest with path, label and group."""
    rows = [
        (folder / label / f"{label}{recording}-{clip}.wav", label, f"{label}{recording}")
        for label in CLASSES
        for recording in range(RECORDINGS)
        for clip in range(CLIPS)
    ]
    rng = np.random.default_rng(0)
    for path, *_ in rows:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_wav(path, 0.1 * rng.standard_normal(4000), 8000)
    return pd.DataFrame(rows, columns=["path", "label", "group"])


def write_classifier(
    run_dir: Path,
    manifest: pd.DataFrame,
    *,
    framework: str = "torch",
    wrong: int = 0,
    confidence: float = 0.8,
    split: str = "grouped",
    synthetic: bool = False,
    **metrics: object,
) -> Path:
    """Write a finished run that predicts the next class for the first ``wrong`` clips of each class."""
    y = manifest.label.map(CLASSES.index).to_numpy()
    place = manifest.groupby("label").cumcount().to_numpy()
    predicted = np.where(place < wrong, (y + 1) % len(CLASSES), y)
    p = np.full((len(y), len(CLASSES)), (1 - confidence) / (len(CLASSES) - 1))
    p[np.arange(len(y)), predicted] = confidence
    table = manifest.assign(split="test", predicted=[CLASSES[k] for k in predicted])
    table = table.assign(**{f"p_{label}": p[:, k] for k, label in enumerate(CLASSES)})
    write_text(run_dir / "predictions.csv", table.to_csv(index=False))
    figures = classification_metrics(y, p, CLASSES, manifest.group.to_list())
    identity = {"framework": framework, "recipe": "strong", "split": split, "split_leaks": split == "random"}
    identity |= {"reported_on": "test", "held_out": split != "random", "classes": CLASSES, "together": False}
    write_json(
        run_dir / "metrics.json", identity | {f"test/{name}": value for name, value in figures.items()} | metrics
    )
    write_config(run_dir, manifest, synthetic=synthetic)
    return run_dir


def write_generator(run_dir: Path, manifest: pd.DataFrame, *, kad: float | None = None) -> Path:
    """Write a finished run with a sound of each class, and its evaluation unless ``kad`` is None.

    It was trained on all recordings but the last two of each class.
    """
    metrics = {"model": "cgan", "recipe": "plain", "train/epochs": 3, "precision": "float32", "classes": CLASSES}
    write_json(run_dir / "metrics.json", metrics)
    write_config(run_dir, manifest)
    for label in CLASSES:
        (run_dir / "samples").mkdir(exist_ok=True)
        write_wav(run_dir / "samples" / f"{label}_0.wav", np.zeros(4000), 8000)
    root, held_out = Path(manifest.path[0]).parents[1], tuple(str(n) for n in range(RECORDINGS - 2, RECORDINGS))
    table = manifest.rename(columns={"group": "recording"}).assign(
        path=[Path(path).relative_to(root).as_posix() for path in manifest.path],
        trained_on=~manifest.group.str.endswith(held_out),
    )
    write_text(run_dir / "clips.csv", table.to_csv(index=False))
    if kad is not None:
        values = {"kernel_distance": (kad, 0.1, 9.0), "accuracy": (0.5, 0.9, 0.1), "coverage": (0.4, 0.8, 0.0)}
        values["frechet"] = (5.0, None, 7.0)
        figures = {
            name: {"name": name, "better": "lower", "samples": samples, "floor": floor, "ceiling": ceiling}
            for name, (samples, floor, ceiling) in values.items()
        }
        figures["accuracy"]["vocoded_floor"] = 0.8
        write_json(run_dir / "evaluation.json", {"metrics": figures, "notes": ["few clips"]} | by_class(figures))
    return run_dir


def by_class(figures: dict) -> dict:
    """What an evaluation says about each class and by two classifiers."""
    accuracies = {label: {"clips": 4, "accuracy": 0.5} for label in CLASSES}
    accuracy = {"samples": 0.5, "vocoded_floor": 0.8, "floor": 0.9}
    scorer = {"metrics": {"accuracy": accuracy}, "accuracy_share": {"all": 0.625}}
    shares = {name: {"share": 0.05} for name in ("samples", "floor", "smoothed", "own_recording")}
    return {
        "by_label": {"samples": accuracies, "vocoded_floor": accuracies, "floor": {}},
        "accuracy_share": {"all": 0.625, "by_label": dict.fromkeys(CLASSES, 1.0)},
        "scorers": [{"name": name, "title": f"{name}, strong"} | scorer for name in ("keras", "torch")],
        "copies": {"all": shares, "by_label": dict.fromkeys(CLASSES, shares)},
        "frame_change": {"by_label": {key: {"samples": 0.125, "vocoded_floor": None, "real": 0.25} for key in CLASSES}},
    }


def write_config(run_dir: Path, manifest: pd.DataFrame, *, synthetic: bool = False) -> None:
    data = {"root": str(Path(manifest.path[0]).parents[1]), "layout": "a folder per class", "synthetic": synthetic}
    data |= {"clips": len(manifest), "classes": manifest.label.value_counts().to_dict(), "fingerprint": "0123"}
    config = {"command": f"python train.py --out-dir {run_dir.name}", "options": {}, "versions": {"python": "3.11"}}
    config |= {"machine": "Linux", "git": None, "features": {"duration": 0.25, "sr": 4000}}
    write_json(run_dir / "config.json", config | {"data": data | {"recordings": int(manifest.group.nunique())}})


def change_json(path: Path, **values: object) -> None:
    write_json(path, json.loads(path.read_text()) | values)


def report(out_dir: Path, monkeypatch) -> str:
    """Write the pages in this process and return the text of report.html."""
    monkeypatch.setattr("sys.argv", ["report", "--out-dir", str(out_dir)])
    page.main()
    return (out_dir / "report.html").read_text()
