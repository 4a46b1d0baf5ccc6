"""run_all.sh runs twice on a small data folder; its set-up refuses a wrong Python and renews a broken environment."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT


def bash(*command: object, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["bash", *map(str, command)], env=os.environ | environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
    return done


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data"], "unknown option"),
        (["--out-dir"], "needs a value"),
        (["--gan-epochs", "x"], "--gan-epochs x"),
        (["--generate-minutes", "0"], "--generate-minutes 0"),
        (["--smoke", "--full"], "exclude each other"),
    ],
)
def test_wrong_options_are_refused(arguments: list[str], says: str) -> None:
    assert says in bash(ROOT / "run_all.sh", *arguments, code=2).stderr


@pytest.mark.slow  # sets up the environment if there is none
def test_a_failed_stage_is_named(tmp_path: Path) -> None:
    failed = bash(ROOT / "run_all.sh", "--data-dir", tmp_path / "nowhere", "--out-dir", tmp_path / "run", code=2)
    assert "[1/18] Keras classifier" in failed.stdout and "\x1b" not in failed.stdout  # no colours in a log
    assert "stopped in stage 1 of 18 (Keras classifier)" in failed.stderr and "Traceback" not in failed.stderr


def test_the_help_lists_the_options() -> None:
    assert "--data-dir" in bash(ROOT / "run_all.sh", "--help").stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project without an environment."""
    for name in ("requirements.txt", "pyproject.toml", "shared/setup_env.sh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def fake_python(folder: Path, script: str) -> Path:
    path = folder / "fake-python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_an_unsupported_python_gives_one_clear_line(checkout: Path) -> None:
    old = fake_python(checkout, "exit 1")
    failed = bash("-c", f"source {checkout}/shared/setup_env.sh || exit 2", code=2, PYTHON=str(old))
    assert failed.stderr.startswith("error: needs Python 3.11") and len(failed.stderr.splitlines()) == 1


def test_a_python_without_venv_gives_one_clear_line(checkout: Path) -> None:
    bare = fake_python(checkout, 'case "$2" in *venv*) exit 1 ;; esac; exit 0')
    failed = bash("-c", f"source {checkout}/shared/setup_env.sh || exit 2", code=2, PYTHON=str(bare))
    assert "has no venv module" in failed.stderr and len(failed.stderr.splitlines()) == 1


def test_an_incomplete_environment_is_made_anew(checkout: Path) -> None:
    """The stand-in python makes an empty environment whose pip succeeds; only a complete environment is kept."""
    made = 'mkdir -p "$3/bin"; printf "#!/bin/sh\\nexit 0\\n" > "$3/bin/python"; chmod +x "$3/bin/python"'
    script = f'case "$1 $2" in "-m venv") {made} ;; "--version ") echo Python ;; esac; exit 0'
    python, source = fake_python(checkout, script), f"source {checkout}/shared/setup_env.sh"
    first = bash("-c", source, PYTHON=str(python)).stdout
    assert "setting up" in first and "setting up" not in bash("-c", source, PYTHON=str(python)).stdout
    (checkout / ".venv" / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")  # broken
    assert "setting up" in bash("-c", source, PYTHON=str(python)).stdout
    (checkout / ".venv" / ".ready").unlink()  # incomplete
    assert "setting up" in bash("-c", source, PYTHON=str(python)).stdout
    with (checkout / "requirements.txt").open("a") as file:  # other requirements
        file.write("# changed\n")
    assert "setting up" in bash("-c", source, PYTHON=str(python)).stdout


@pytest.mark.slow
@pytest.mark.long
def test_the_main_job(sounds: Path, tmp_path: Path) -> None:
    arguments = ["--smoke", "--data-dir", sounds, "--out-dir", tmp_path / "run"]
    titles = [line for line in bash(ROOT / "run_all.sh", *arguments).stdout.splitlines() if line.startswith("[")]
    assert [title.split("/")[0] for title in titles] == [f"[{n}" for n in range(1, 19)]
    assert "[10/18] Conditional GAN: sounds" in titles
    run = tmp_path / "run"
    page = (run / "report.html").read_text()
    for part in ("Confusion matrices", "audio/flac;base64,", "image/png;base64,", "LEAKING", "train.py", "KAD"):
        assert part in page
    assert "http://" not in page and "https://" not in page  # self-contained
    assert "{&#39;" not in page and "{'accuracy" not in page  # figures, not Python dicts
    assert page.count("FEWER CLIPS THAN FEATURES") == 1  # one note for all four generators
    assert len(pd.read_csv(run / "submission.csv")) == 10
    stages = {path: path.stat().st_mtime_ns for path in run.glob("*/metrics.json")}
    assert {path.parent.name for path in stages} == {
        "keras",
        "torch",
        "keras-random",
        "flow",
        "cgan",
        "wgan-gp",
        "cvae",
    }
    again = bash(ROOT / "run_all.sh", *arguments).stdout
    assert again.count("already done") == 7 and "[18/18] Report" in again
    assert again.splitlines()[-1].startswith("done in ") and again.endswith("/run/report.html\n")
    assert stages == {path: path.stat().st_mtime_ns for path in stages}
    assert json.loads((run / "keras-random" / "metrics.json").read_text())["split_leaks"]
