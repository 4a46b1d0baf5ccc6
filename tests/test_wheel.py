"""An installed wheel holds all it needs, trains from any folder, and writes nothing into its own package."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources and unpacked where an installer would put it."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "build", "cache", "data", "runs", "tests", "__pycache__", "*.egg-info")
    ignore = lambda path, names: ignored(path, names) if Path(path) == ROOT else {"__pycache__"} & set(names)  # noqa: E731
    shutil.copytree(ROOT, folder / "source", ignore=ignore)
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir", folder]
    subprocess.run([*build, folder / "source"], check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder / "site-packages")
    return folder / "site-packages"


def test_a_wheel_holds_every_module_and_template(installed: Path) -> None:
    for package in ("shared", "classification", "generation"):
        sources = [p.relative_to(ROOT) for p in (ROOT / package).rglob("*") if p.suffix in (".py", ".j2", ".sh")]
        assert sources and all((installed / path).is_file() for path in sources)


def test_a_wheel_trains_and_reports(installed: Path, sounds: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(installed), "XDG_CACHE_HOME": str(tmp_path / "user-cache")}
    environment.pop("FREQUENCY_QUEST_CACHE")
    before = sorted(installed.rglob("*.npy"))

    def run(*arguments: object) -> str:
        command = [sys.executable, "-c", "from shared.commands import main; main()", *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    tiny = ["--framework", "torch", "--recipe", "plain", "--epochs", 1, "--fraction", 0.5]
    run("train", "--data-dir", sounds, "--out-dir", "runs/torch", *tiny)
    run("report", "--out-dir", "runs")
    config = json.loads((tmp_path / "runs/torch/config.json").read_text())
    assert config["command"].startswith("frequency-quest train --data-dir") and config["git"] is None
    assert (tmp_path / "runs/report.html").is_file() and (tmp_path / "runs/torch/MODEL_CARD.md").is_file()
    assert list((tmp_path / "user-cache/frequency-quest/cache").rglob("*.npy"))
    assert sorted(installed.rglob("*.npy")) == before and not (installed / "cache").exists()
