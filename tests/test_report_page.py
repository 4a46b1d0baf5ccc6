"""report.html and the terminal's table: the result comes first, and every run that is found is named."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import report_runs
import soundfile as sf
from report_runs import change_json, report, write_classifier, write_generator

from shared.errors import UserError

TRAIN = "classification/train.py"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two fair classifiers, one of a leaking split, and two generators of which one is evaluated."""
    manifest = report_runs.write_sounds(tmp_path / "data")
    folder = tmp_path / "runs"
    write_classifier(folder / "keras", manifest, framework="keras", wrong=3)
    write_classifier(folder / "torch", manifest, wrong=2)
    spread = {name: {"accuracy": {"mean": mean, "sd": 0.0}} for name, mean in (("spread", 0.95), ("grouped", 0.7))}
    write_classifier(folder / "a-random", manifest, split="random", optimism=0.25, **spread)
    write_generator(folder / "cgan", manifest, kad=2.5)
    write_generator(folder / "vae", manifest)
    return folder


def first_table(page: str) -> list[str]:
    """The text of the rows of the page's first table."""
    table = re.search(r"<table.*?</table>", page, re.DOTALL)[0]
    return [" ".join(re.sub(r"<[^>]+>", " ", row).split()) for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)]


def test_the_first_table_ranks_classifiers_and_puts_the_leaking_split_last(runs: Path, monkeypatch) -> None:
    rows = first_table(report(runs, monkeypatch))
    assert [row.split()[0] for row in rows] == ["classifier", "torch", "keras", "a-random"]
    assert "83.3 %" in rows[1] and "held-out recordings" in rows[1] and "LEAKING" in rows[3]


def test_the_first_table_has_at_most_six_rows(runs: Path, monkeypatch) -> None:
    for i in range(6):
        shutil.copytree(runs / "torch", runs / f"torch-{i}")
    page = report(runs, monkeypatch)
    assert len(first_table(page)) == 7 and "a-random" in first_table(page)[-1]
    assert "3 more under" in page
    assert "on held-out recordings, level with torch-0 and torch-1 and" in page


def test_sentences_conclude_from_the_figures(runs: Path, monkeypatch) -> None:
    page = report(runs, monkeypatch)
    assert "torch (PyTorch, strong) has the highest accuracy: 83.3\u00a0%" in page
    assert re.search(r"Keras and PyTorch do not differ beyond chance|PyTorch is better than Keras beyond chance", page)
    assert "A random split is 25.0 points too optimistic" in page
    assert "The best generator by KAD is cgan with 2.5 (real held-out clips: 0.1, white noise: 9)" in page


def test_frameworks_are_not_compared_by_the_name_of_two_recipe_files(runs: Path, monkeypatch) -> None:
    compared = "Keras and PyTorch do not differ|PyTorch is better than Keras"
    for name, rate in (("keras", 0.1), ("torch", 0.2)):
        change_json(runs / name / "metrics.json", recipe="best.toml")
        change_json(runs / name / "config.json", options={"recipe": "best.toml", "learning_rate": rate})
    assert not re.search(compared, report(runs, monkeypatch))
    change_json(runs / "keras" / "config.json", options={"recipe": "best.toml", "learning_rate": 0.2})
    assert re.search(compared, report(runs, monkeypatch))


def test_an_evaluated_generator_has_figures_by_class_and_classifier(runs: Path, monkeypatch) -> None:
    page = report(runs, monkeypatch)
    assert "all classes, keras (keras, strong)" in page and "all classes, mean of the classifiers" in page
    assert "Copies: sounds more like a training clip" in page and "Change from frame to frame" in page


def test_a_figure_that_no_run_has_gets_no_row(runs: Path, monkeypatch) -> None:
    page = report(runs, monkeypatch)
    assert "<td>macro F1</td>" in page and "<td>validation accuracy</td>" not in page
    assert "averaged accuracy" not in page
    metrics = json.loads((runs / "torch" / "metrics.json").read_text())
    metrics |= {"test/together_accuracy": 0.9, "test/together_interval": [0.8, 1.0]}
    change_json(runs / "torch" / "metrics.json", **metrics)
    page = report(runs, monkeypatch)
    assert "averaged accuracy" in page and "90.0 % (80.0 % to 100.0 %)" in page


def test_the_page_needs_no_generator_and_no_classifier(runs: Path, monkeypatch) -> None:
    for name in ("cgan", "vae"):
        shutil.rmtree(runs / name)
    page = report(runs, monkeypatch)
    assert "Generators" not in page and "Confusion matrices" in page
    manifest = report_runs.write_sounds(runs.parent / "music")
    write_generator(runs.parent / "others" / "cgan", manifest)
    page = report(runs.parent / "others", monkeypatch)
    assert "<strong>cgan</strong>" in page and "Confusion matrices" not in page
    assert not (runs.parent / "others" / "errors.html").exists()


def test_a_generator_that_repeats_itself_is_named(runs: Path, monkeypatch) -> None:
    assert "repeats itself" not in report(runs, monkeypatch)
    change_json(runs / "cgan" / "metrics.json", **{"samples/diversity": 0.123, "samples/collapsed": True})
    page = report(runs, monkeypatch)
    assert "cgan repeats itself (mode collapse)" in page
    assert "diversity within a class 0.12 times that of real clips" in page


def test_the_page_loads_nothing_from_elsewhere(runs: Path, monkeypatch) -> None:
    report(runs, monkeypatch)
    for name in ("report.html", "errors.html"):
        page = (runs / name).read_text()
        sources = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
        assert all(source.startswith(("data:", "errors.html", "report.html")) for source in sources)
        assert "http://" not in page and "https://" not in page


def test_a_run_of_an_older_version_is_named(runs: Path, monkeypatch, capsys) -> None:
    metrics = json.loads((runs / "torch" / "metrics.json").read_text())
    del metrics["held_out"]
    (runs / "torch" / "metrics.json").write_text(json.dumps(metrics))
    page = report(runs, monkeypatch)
    assert "torch: its metrics.json was written by an older version; train it again (--overwrite)" in page
    assert len(first_table(page)) == 3 and "older version" in capsys.readouterr().out


def test_a_foreign_metrics_file_does_not_end_the_page(runs: Path, monkeypatch) -> None:
    (runs / "strange").mkdir()
    shutil.copy(runs / "torch" / "config.json", runs / "strange")
    (runs / "strange" / "metrics.json").write_text("{}")
    assert "strange: its metrics.json belongs to no classifier or generator" in report(runs, monkeypatch)


def test_a_damaged_run_is_left_out_with_the_reason(runs: Path, monkeypatch) -> None:
    (runs / "torch" / "metrics.json").write_text("{")
    assert f"{runs / 'torch' / 'metrics.json'}: is damaged, not JSON" in report(runs, monkeypatch)


def test_a_missing_folder_gives_one_clear_line(runs: Path, monkeypatch) -> None:
    shutil.rmtree(runs)
    with pytest.raises(UserError, match="no such folder"):
        report(runs, monkeypatch)


def test_a_run_name_is_never_read_as_markup(runs: Path, monkeypatch, capsys) -> None:
    (runs / "torch").rename(runs / "[bold]<b>torch")
    assert "[bold]&lt;b&gt;torch" in report(runs, monkeypatch)
    assert "[bold]<b>torch (PyTorch, strong)" in capsys.readouterr().out


def test_the_terminal_gets_one_table(runs: Path, monkeypatch, capsys) -> None:
    (runs / "submission.csv").touch()
    monkeypatch.setenv("COLUMNS", "200")
    report(runs, monkeypatch)
    said = capsys.readouterr().out
    assert "\x1b" not in said and said.isascii()
    table, paths = said.split("report.html", 1)
    assert max(map(len, table.splitlines())) <= 100
    for part in ("torch (PyTorch, strong)", "83.3 % (", "LEAKING random split", "cgan", "real held-out clips", "2.5"):
        assert part in table
    assert str(runs / "report.html") in paths and str(runs / "submission.csv") in paths
    assert str(runs / "errors.html") in paths


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory, run_script) -> Path:
    """A run on recordings/<label>_<speaker>_<n>, whose official test set has the training set's speakers."""
    folder, rng = tmp_path_factory.mktemp("digits"), np.random.default_rng(0)
    (folder / "data" / "recordings").mkdir(parents=True)
    for label, frequency in (("zero", 300), ("one", 900)):
        for speaker in ("ann", "bob"):
            for index in range(10):
                y = np.sin(np.arange(4000) * 2 * np.pi * frequency / 8000) + 0.1 * rng.standard_normal(4000)
                sf.write(folder / "data" / "recordings" / f"{label}_{speaker}_{index}.wav", 0.3 * y, 8000)
    data = ["--data-dir", folder / "data", "--out-dir", folder / "runs" / "digits"]
    said = run_script(TRAIN, *data, "--framework", "torch", "--recipe", "plain", "--epochs", 1).stdout
    assert "were also trained on" in said and "held-out recordings" not in said
    return folder / "runs"


@pytest.mark.slow
def test_figures_on_speakers_that_were_trained_on_say_so(digits: Path, monkeypatch) -> None:
    metrics = json.loads((digits / "digits" / "metrics.json").read_text())
    assert metrics["reported_on"] == "test" and not metrics["held_out"]
    page = report(digits, monkeypatch)
    assert "held-out clips of recordings that were trained on" in page and "held-out recordings" not in page


@pytest.mark.slow
def test_a_converted_run_is_named_and_left_out_of_the_tables(
    digits: Path, tmp_path: Path, run_script, monkeypatch
) -> None:
    shutil.copytree(digits, tmp_path / "runs")
    source = tmp_path / "runs" / "digits"
    run_script("classification/convert.py", "--model-dir", source, "--out-dir", tmp_path / "runs" / "as-keras")
    page = report(tmp_path / "runs", monkeypatch)
    assert f"as-keras: converted from {source}" in page and len(first_table(page)) == 2
    shutil.rmtree(source)
    assert "as-keras: converted from" in report(tmp_path / "runs", monkeypatch)
