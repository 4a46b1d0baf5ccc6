"""The notebooks run from top to bottom, and their saved outputs show pictures and players."""

import os
import re
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from conftest import ROOT
from nbclient import NotebookClient

from shared.report.notebook import SoundTable

SMALL = {  # notebook -> assignments that make it quick
    "your_sounds": 'OPTIONS = "--framework torch --recipe plain --epochs 1 --widths 4 8 --dense 8 --n-jobs 1"',
    "new_sounds": """MINUTES = 0.01
OPTIONS = "--width 32 --depth 1 --heads 2 --steps 2 --n-jobs 1 --fraction 0.5"
CLASSIFIER_OPTIONS = "--framework torch --recipe plain --epochs 1 --widths 4 8 --dense 8 --n-jobs 1 --test-share 0.25"
""",
}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def shown(notebook: nbformat.NotebookNode) -> str:
    """All HTML and pictures that a notebook shows."""
    data = [output.data for output in outputs(notebook) if "data" in output]
    return "".join(part.get("text/html", "") + part.get("image/png", "") for part in data)


def test_all_notebooks_are_tested() -> None:
    assert {path.stem for path in NOTEBOOKS} == SMALL.keys()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_reader_sees_pictures_and_players_without_running_it(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert not [output for output in outputs(notebook) if output.output_type == "error"]
    assert shown(notebook).count("<audio") >= 5 and any(
        "image/png" in output.get("data", {}) for output in outputs(notebook)
    )
    assert path.stat().st_size < 3 * 2**20
    assert not re.search(r"/(root|tmp|home|work)/", path.read_text())


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = nbformat.read(path, as_version=4)
    (chosen,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    chosen.source += f"\nDATA = {str(sounds)!r}\n{SMALL[path.stem]}"
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    text = "".join(output.get("text", "") for output in outputs(notebook))
    assert "error:" not in text, text
    assert shown(notebook).count("<audio") >= 5


def test_a_table_of_sounds(sounds: Path) -> None:
    path = next(sounds.glob("train/train/siren/*"))
    page = SoundTable({f"<{number}>": path for number in range(6)} | {"made": (np.zeros(8000, np.float32), 8000)})
    found = page._repr_html_()
    assert found.count("<tr>") == 2 and found.count("<audio") == found.count("<img") == 7
    assert "&lt;5&gt;" in found and "<5>" not in found
