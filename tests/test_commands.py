"""frequency-quest VERB: every verb and script prints its help without importing heavy packages."""

import sys

import pytest
from conftest import ROOT

from shared.commands import VERBS
from shared.commands import main as console

HEAVY = "pandas,scipy,sklearn,joblib,matplotlib,librosa,torch,torchaudio,accelerate,tensorflow,keras,requests,kagglehub"
HEAVY += ",optuna,gradio"
SCRIPTS = sorted(f"{module.replace('.', '/')}.py" for module, _ in VERBS.values() if module.count(".") == 1)


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_needs_no_heavy_package(verb: str, run_script) -> None:
    said = run_script("tests/without.py", HEAVY, "shared/commands.py", verb, "--help", COLUMNS="160").stdout
    assert said.startswith(f"usage: frequency-quest {verb}")


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_of_a_script_needs_no_heavy_package(script: str, run_script) -> None:
    said = run_script("tests/without.py", HEAVY, script, "--help", COLUMNS="160").stdout
    assert said.startswith(f"usage: {script} ")


def test_every_verb_has_a_module() -> None:
    assert all((ROOT / f"{module.replace('.', '/')}.py").is_file() for module, _ in VERBS.values())


@pytest.mark.parametrize(("word", "says"), [("trian", "did you mean train?"), ("xyzzy", "choose one of data, cache")])
def test_an_unknown_verb_gives_one_clear_line(
    word: str, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["frequency-quest", word])
    with pytest.raises(SystemExit) as ended:
        console()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith(f"error: frequency-quest {word}: unknown verb; {says}")
    assert len(said.splitlines()) == 1


def test_the_usage_lists_every_verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["frequency-quest"])
    console()
    said = capsys.readouterr().out
    assert [line.split()[0] for line in said.splitlines()[3:]] == list(VERBS)
