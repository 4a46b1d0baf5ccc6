"""Every command of README.md and docs/ runs with options that make it quick; every link has a target."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile as sf
import tyro
from conftest import ROOT

from generation.app.command import AppOptions
from shared.commands import VERBS
from shared.data.command import Demo, Submit
from shared.data.sources import Download
from shared.listening.command import ListenOptions

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ALL_PAGES = [*PAGES, ROOT / "RESULTS.md", ROOT / "classification" / "ABLATION.md", ROOT / "generation" / "ABLATION.md"]
SMALL = {  # verb -> options that make it quick; the last value of a repeated option counts
    "train": "--epochs 1 --fraction 0.5 --widths 4 8 --dense 8 --n-jobs 1",
    "tune": "--trials 2 --inner-folds 2 --epochs 1 --fraction 0.5 --members 1 --widths 4 8 --dense 8 --n-jobs 1",
    "cas": "--framework torch --epochs 1 --members 1 --widths 4 8 --dense 8 --n-jobs 1",
    "augmentation": "--framework torch --epochs 1 --members 1 --widths 4 8 --dense 8 --n-jobs 1 --seeds 2",
    "train-flow": "--minutes 0.01 --fraction 0.5 --n-jobs 1 --width 32 --depth 1 --heads 2 --steps 2",
    "train-cgan": "--epochs 1 --fraction 0.5 --n-jobs 1 --width 4 --griffin-lim-iterations 1",
    "train-wgan-gp": "--epochs 1 --fraction 0.5 --n-jobs 1 --segment-seconds 0.9",
    "train-vocoder": "--epochs 1 --fraction 0.5 --n-jobs 1 --width 8 --blocks 1 --crop-seconds 0.2",
    "train-vae": "--epochs 1 --fraction 0.5 --n-jobs 1 --segment-seconds 0.9",
}
SERVING = {"listen": ListenOptions, "app": AppOptions}
MORE = {  # part of a command -> further options that this command needs
    "--count 100": "--count 4",
    "generate --label": "--count 1",
    "--recipe linear": "--segment-seconds 0.9",
    "--folds 5": "--folds 2 --seeds 2 --framework torch",
    "--split random": "--framework torch",
    "--recipe transfer": "--framework torch --weight-decays 10 --widths",
    "--recipe blend": "--framework torch --weight-decays 10 --members 1",
}


def commands(page: Path) -> list[str]:
    """The lines of a page's bash blocks, without comments."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def run(command: list[str], folder: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.name)
def test_links_have_targets(page: Path) -> None:
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", page.read_text())]
    assert not [link for link in links if "://" not in link and not (page.parent / link).exists()]


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.name)
def test_verbs_that_the_pages_name_exist(page: Path) -> None:
    named = set(re.findall(r"frequency-quest ([a-z-]+)", page.read_text()))
    assert named <= set(VERBS)


def test_the_readme_is_two_screens() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.slow
@pytest.mark.long
def test_every_command_runs(sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "DIR").symlink_to(sounds)
    (tmp_path / "siren.wav").symlink_to(next(sounds.glob("train/train/siren/*")))
    for package in ("classification", "generation"):
        (tmp_path / package).symlink_to(ROOT / package)
    done = set()
    for command in [command for page in PAGES for command in commands(page)]:
        program, *arguments = shlex.split(command)
        if program in ("./run_all.sh", "tests/run.sh"):
            run(["bash", "-n", str(ROOT / program)], tmp_path)
            done.add(program)
            continue
        if program == "accelerate":  # its scripts stand in a checkout
            script = next(part for part in arguments if part.endswith(".py"))
            small = SMALL[Path(script).stem.replace("_", "-")]
            run([sys.executable, "-m", "accelerate.commands.accelerate_cli", *arguments, *shlex.split(small)], tmp_path)
            continue
        assert program == "frequency-quest"
        verb, *options = arguments
        if verb == "data" and options[0] != "demo":  # needs a network, so only its options are parsed
            tyro.cli(Demo | Download | Submit, args=options)
            continue
        if verb in SERVING:  # runs until a listener has answered or Ctrl-C, so only its options are parsed
            tyro.cli(SERVING[verb], args=options).check()
            done.add(verb)
            continue
        small = " ".join([SMALL.get(verb, ""), *(more for part, more in MORE.items() if part in command)])
        if verb == "data":
            small = "--recordings 1 --slices 1 --test-recordings 1 --test-slices 1"
        run([sys.executable, str(ROOT / "shared/commands.py"), verb, *options, *shlex.split(small)], tmp_path)
        done.add(verb)
    assert done == {*VERBS, "./run_all.sh", "tests/run.sh"}  # no verb without an example
    y, sr = sf.read(next(sounds.glob("train/train/*/*")))
    for name in ("dog.wav", "street.flac"):
        sf.write(tmp_path / name, y, sr)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    run([sys.executable, "-c", block], tmp_path)
