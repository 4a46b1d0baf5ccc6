"""errors.html: the clips that every classifier on a split without leaks gets wrong, with the sounds that are found."""

import base64
import io
import re
from pathlib import Path

import pandas as pd
import pytest
import report_runs
import soundfile as sf
from report_runs import change_json, report, write_classifier

from shared.report import errors


@pytest.fixture
def manifest(tmp_path: Path) -> pd.DataFrame:
    return report_runs.write_sounds(tmp_path / "data")


@pytest.fixture
def runs(tmp_path: Path, manifest: pd.DataFrame) -> Path:
    """keras gets three clips of each class wrong, torch the first two of them, the leaking split's run none."""
    write_classifier(tmp_path / "runs" / "keras", manifest, framework="keras", wrong=3)
    write_classifier(tmp_path / "runs" / "torch", manifest, wrong=2, confidence=0.6)
    write_classifier(tmp_path / "runs" / "random", manifest, split="random")
    return tmp_path / "runs"


def errors_page(runs: Path, monkeypatch) -> str:
    report(runs, monkeypatch)
    return (runs / "errors.html").read_text()


def articles(page: str) -> list[str]:
    return re.findall(r"<article.*?</article>", page, re.DOTALL)


def test_a_clip_is_shown_if_both_frameworks_get_it_wrong(runs: Path, monkeypatch) -> None:
    page = errors_page(runs, monkeypatch)
    shown = articles(page)
    assert len(shown) == 6 and "Both torch and keras get 6 of 36 held-out clips wrong" in page
    assert 'data-class="dog"' in shown[0] and "recording dog0" in shown[0] and "dog0-0.wav" in shown[0]
    assert "torch: rain, 60.0 %" in shown[0] and "keras: rain, 80.0 %" in shown[0] and "random" not in shown[0]
    assert 'href="errors.html"' in (runs / "report.html").read_text()


def test_a_player_holds_the_part_that_the_classifier_sees(runs: Path, monkeypatch) -> None:
    first = articles(errors_page(runs, monkeypatch))[0]
    sound = base64.b64decode(re.search(r"audio/flac;base64,([^\"]+)", first)[1])
    info = sf.info(io.BytesIO(sound))
    assert info.samplerate == 4000 and info.duration == pytest.approx(0.25, abs=0.01)


def test_the_most_confident_wrong_answers_come_first(runs: Path, manifest: pd.DataFrame, monkeypatch) -> None:
    table = pd.read_csv(runs / "torch" / "predictions.csv")
    last = table.index[table.label == "siren"][1]  # the class after siren is dog
    table.loc[last, ["p_dog", "p_rain", "p_siren"]] = 0.98, 0.01, 0.01
    table.to_csv(runs / "torch" / "predictions.csv", index=False)
    assert Path(table.path[last]).name in articles(errors_page(runs, monkeypatch))[0]


def test_probabilities_of_several_seeds_are_averaged(runs: Path, monkeypatch) -> None:
    table = pd.read_csv(runs / "torch" / "predictions.csv")
    other = table.assign(
        predicted=table.label, **{f"p_{label}": 1.0 * (table.label == label) for label in report_runs.CLASSES}
    )
    pd.concat([table, other]).to_csv(runs / "torch" / "predictions.csv", index=False)
    assert "get 0 of 36 held-out clips wrong" in errors_page(runs, monkeypatch)


def test_a_sound_that_is_missing_is_named(runs: Path, manifest: pd.DataFrame, monkeypatch) -> None:
    Path(manifest.path[0]).unlink()
    first = articles(errors_page(runs, monkeypatch))[0]
    assert f"No readable sound at {manifest.path[0]}" in first and "<audio" not in first


def test_the_page_stays_small_and_says_what_is_left_out(runs: Path, monkeypatch) -> None:
    monkeypatch.setattr(errors, "MAX_CLIPS", 4)
    page = errors_page(runs, monkeypatch)
    assert len(articles(page)) == 4 and "2 clips with less confident answers are left out" in page
    monkeypatch.setattr(errors, "MAX_BYTES", 1)
    assert not articles(errors_page(runs, monkeypatch))


def test_a_run_that_evaluated_other_clips_is_not_counted(runs: Path, manifest: pd.DataFrame, monkeypatch) -> None:
    write_classifier(runs / "small", manifest.iloc[:20].reset_index(drop=True), wrong=4)
    page = errors_page(runs, monkeypatch)
    assert "because they evaluated other clips: small" in page and len(articles(page)) == 6


def test_without_a_fair_classifier_there_is_no_page(runs: Path, monkeypatch) -> None:
    errors_page(runs, monkeypatch)
    for name in ("keras", "torch"):
        change_json(runs / name / "metrics.json", split_leaks=True)
    page = report(runs, monkeypatch)
    assert not (runs / "errors.html").exists() and "errors.html" not in page
