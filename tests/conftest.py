"""Fixtures: a small synthetic data folder, the real one if FREQUENCY_QUEST_DATA is set, and entry scripts; helpers."""

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import run_entry

ROOT = Path(__file__).resolve().parents[1]
LONGEST = ("chaos", "docs", "entries", "generators", "run_all", "launches", "bad_inputs", "browser", "export")


def table_of(card: str, header: str) -> list[list[str]]:
    """The cells of a card's table whose header begins with ``header``; an escaped bar does not end a cell."""
    rows = card[card.index(f"| {header} |") :].split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in row.replace("\\|", "\0").split("|")[1:-1]] for row in rows]
    assert len({len(row) for row in cells}) == 1, "a row has more or fewer cells than the header"
    return [[cell.replace("\0", "|") for cell in row] for row in cells[2:]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that parallel workers finish at about the same time."""
    ranks = {f"test_{name}": rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


@pytest.fixture(scope="session", autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A temporary cache folder for all tests and the entry scripts that they run."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["FREQUENCY_QUEST_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic sounds in the Kaggle layout: 5 classes x 4 recordings x 2 clips, and 10 test clips."""
    from shared.data.demo_data import make_demo_data

    folder = tmp_path_factory.mktemp("sounds") / "data"
    return make_demo_data(folder, seed=1, recordings=4, slices=2, test_recordings=1, test_slices=2)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings; tests that need it are skipped without it."""
    folder = os.environ.get("FREQUENCY_QUEST_DATA")
    if not folder or not (Path(folder) / "frequency-quest").is_dir():
        pytest.skip("needs real recordings: set FREQUENCY_QUEST_DATA to the folder that contains frequency-quest/")
    return Path(folder)


@pytest.fixture
def clips(tmp_path: Path, sounds: Path) -> list[Path]:
    """Copies of six labelled sounds, which a test may change."""
    sources = sorted(sounds.glob("train/train/*/*"))[:6]
    return [Path(shutil.copy(path, tmp_path / f"{i}{path.suffix}")) for i, path in enumerate(sources)]


@pytest.fixture(scope="session")
def run_script() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a script of the project in its own process."""

    def run(*arguments: object, code: int = 0, cwd: Path = ROOT, **environment: str):
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(
            command, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == code, f"{command}\nexit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run an entry that must fail, in this process; return its error message, one line by default."""

    def line(script: str, *arguments: object, lines: int | None = 1) -> str:
        monkeypatch.setattr("sys.argv", [script, *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            run_entry(importlib.import_module(script.removesuffix(".py").replace("/", ".")).main)
        assert ended.value.code == 2
        said = [line for line in capsys.readouterr().err.splitlines() if line and not line.startswith("computed ")]
        assert lines is None or len(said) == lines
        return "\n".join(said)

    return line


@pytest.fixture(scope="session")
def tiny_classifier(sounds: Path, tmp_path_factory: pytest.TempPathFactory, run_script) -> Path:
    """A finished PyTorch run in a folder of its own."""
    folder = tmp_path_factory.mktemp("runs") / "torch"
    arguments = ("--framework", "torch", "--epochs", 1, "--widths", 4, "--dense", 4, "--members", 1)
    run_script("classification/train.py", "--data-dir", sounds, "--out-dir", folder, *arguments)
    return folder
