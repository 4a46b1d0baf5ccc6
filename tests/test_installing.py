"""Each extra works alone, what is missing is named, and no module needs an operating system's own modules."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT

from shared.errors import not_installed

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Importing every module, as on a system without these modules. Keras and PyTorch never share a process.
IMPORT_ALL = """
import builtins, importlib
from pathlib import Path
real, failed = builtins.__import__, {}
posix = {"resource", "fcntl", "termios", "pwd", "grp", "posix", "readline", "syslog", "tty", "pty"}

def imported(name, namespace=None, *more, **options):
    module = (namespace or {}).get("__name__", "")
    if name.split(".")[0] in posix and module.split(".")[0] in ("shared", "classification", "generation"):
        raise ModuleNotFoundError(f"{module} imports {name}")
    return real(name, namespace, *more, **options)

builtins.__import__ = imported
for package in ("shared", "classification", "generation"):
    for path in sorted(Path(package).rglob("*.py")):
        name = ".".join(path.with_suffix("").parts)
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            failed[name] = str(error)
print(*(f"{name}: {reason}" for name, reason in failed.items()), sep="\\n")
"""


@pytest.mark.slow
@pytest.mark.long
def test_no_module_needs_posix_or_both_frameworks(tmp_path: Path, run_script: Callable) -> None:
    (tmp_path / "import_all.py").write_text(IMPORT_ALL)
    failed = []
    for hidden in ("torch,torchaudio,accelerate", "tensorflow,keras"):
        lines = run_script("tests/without.py", hidden, tmp_path / "import_all.py", cwd=ROOT).stdout.splitlines()
        failed.append(dict(line.split(": ", 1) for line in lines))
        missing = {re.fullmatch(r"No module named '(\w+).*'", reason)[1] for reason in failed[-1].values()}
        assert missing and missing <= set(hidden.split(","))
    assert not failed[0].keys() & failed[1].keys()


@pytest.mark.parametrize(
    ("hidden", "command", "package"),
    [
        ("torch", ["classification/train.py", "--framework", "torch", "--recipe", "plain"], "torch"),
        ("tensorflow,keras", ["classification/train.py", "--framework", "keras", "--recipe", "plain"], "keras"),
        ("torch", ["generation/train_flow.py"], "torch"),
        ("torch", ["generation/train_vocoder.py"], "torch"),
    ],
)
def test_a_missing_package_is_one_line(
    hidden: str, command: list[str], package: str, run_script, sounds, tmp_path
) -> None:
    data = ("--data-dir", sounds, "--out-dir", tmp_path / "run")
    line = run_script("tests/without.py", hidden, *command, *data, code=2).stderr.splitlines()[-1]
    assert line == f"error: {package} is not installed; pip install 'frequency-quest[{package}]'"


def test_a_package_is_found_in_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for extra, requirements in PROJECT["optional-dependencies"].items():
        for package in (line.split("==")[0] for line in requirements if extra not in ("all", "gpu")):
            expected = f"{package} is not installed; pip install 'frequency-quest[{extra}]'"
            assert not_installed(f"{package}.submodule") == expected
    assert not_installed("numpy") == "numpy is not installed; pip install -r requirements.txt"


def test_all_extras_are_in_all_and_pinned() -> None:
    extras: dict[str, list[str]] = PROJECT["optional-dependencies"]
    (everything,) = extras["all"]
    assert everything == f"frequency-quest[{','.join(extra for extra in extras if extra not in ('all', 'gpu'))}]"
    pins: Callable = lambda lines: [line for line in lines if "==" not in line]  # noqa: E731
    assert not pins(PROJECT["dependencies"]) and not any(pins(extras[name]) for name in extras if name != "all")
