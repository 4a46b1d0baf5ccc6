"""The listening test: sounds that reveal nothing, and answers that are saved at once."""

import html
import io
import itertools
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import report_runs
import soundfile as sf
from conftest import ROOT
from local_server import serving
from report_runs import CLASSES, change_json, write_generator
from test_browser import BROWSER, FLAGS

from shared.audio import write_wav
from shared.errors import UserError
from shared.files import write_json
from shared.listening import command
from shared.listening.answers import Answer, read_answers, write_answers
from shared.listening.server import ListeningServer, Session
from shared.listening.trials import LEVEL_DB, alike, make_test


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator with three sounds of each class, longer, quieter and of another sampling rate than the real ones."""
    folder = tmp_path_factory.mktemp("listening")
    run = write_generator(folder / "cgan", report_runs.write_sounds(folder / "data"))
    rng = np.random.default_rng(0)
    for label, n in itertools.product(CLASSES, range(3)):
        write_wav(run / "samples" / f"{label}_{n}.wav", 0.01 * rng.standard_normal(6000 + n), 11025)
    change_json(run / "config.json", features={"duration": 0.4, "sr": 8000})
    return run


@pytest.fixture
def served(run: Path, tmp_path: Path) -> Iterator[ListeningServer]:
    with ListeningServer(Session(make_test([run], count=1, seed=0), tmp_path / "answers.csv"), port=0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(server: ListeningServer, path: str, answer: object = None) -> bytes:
    data = None if answer is None else json.dumps(answer).encode()
    with urllib.request.urlopen(server.url + path, data=data, timeout=10) as response:
        return response.read()


def test_as_many_real_clips_are_played_as_made_sounds(run: Path) -> None:
    test = make_test([run], count=2, seed=0)
    assert Counter((trial.source, trial.label) for trial in test.trials) == {
        (source, label): 2 for source in ("real", "cgan") for label in CLASSES
    }
    assert test.classes == CLASSES


def test_equal_seeds_give_equal_tests_and_other_seeds_other_ones(run: Path) -> None:
    first, again, other = (make_test([run], count=2, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert [trial.sound for trial in first.trials] != [trial.sound for trial in other.trials]
    sources = [trial.source for trial in first.trials]
    assert sources not in (sorted(sources), sorted(sources, reverse=True))


def test_real_and_made_sounds_are_alike_in_size_rate_and_level(run: Path) -> None:
    levels = {}
    for trial in make_test([run], count=3, seed=0).trials:
        y, sr = sf.read(io.BytesIO(trial.wav))
        assert len(y) == 3200 and sr == 8000 and len(trial.wav) == 44 + 2 * 3200
        levels[trial.source] = 20 * np.log10(np.sqrt(np.mean(y**2)))
    assert all(abs(level - LEVEL_DB) < 1 for level in levels.values())


def test_the_loudest_part_sets_the_level_and_nothing_clips() -> None:
    sr, rng = 8000, np.random.default_rng(0)
    noise = rng.standard_normal(sr)
    short = np.concatenate([noise[:3200], np.zeros(4 * sr)])  # padding does not make a short sound louder
    assert abs(np.abs(alike(noise, sr)).max() - np.abs(alike(short, sr)).max()) < 0.1
    click = np.zeros(sr)
    click[4000] = 0.01
    assert 0.9 < np.abs(alike(click, sr)).max() <= 0.99
    assert not alike(np.zeros(100), sr).any() and len(alike(np.ones(3), sr)) == 3


def test_several_runs_and_vocoders_are_sources_of_their_own(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "cgan")
    shutil.copytree(run, tmp_path / "flow")
    shutil.copytree(run / "samples", tmp_path / "flow" / "samples-neural")
    write_wav(tmp_path / "flow" / "samples" / "a mixture_0.wav", np.ones(100), 8000)  # is not played
    write_json(tmp_path / "flow" / "samples-neural" / "samples.json", {"vocoder": "neural", "best_of": 4})
    sources = Counter(trial.source for trial in make_test([run, tmp_path / "flow"], count=1, seed=0).trials)
    assert sources == {"real": 9, "cgan": 3, "flow/samples": 3, "flow/samples-neural (best of 4)": 3}
    same_names = make_test([run, tmp_path / "cgan"], count=1, seed=0)
    assert {trial.source for trial in same_names.trials} == {"real", str(run), str(tmp_path / "cgan")}


def test_the_browser_is_told_nothing_about_the_sources(served: ListeningServer) -> None:
    said = get(served, "").decode() + get(served, "state").decode()
    assert "cgan" not in said and str(served.session.test.trials[0].sound) not in said
    assert len({len(get(served, f"sounds/{i}")) for i in range(6)}) == 1


def test_answers_are_saved_at_once_and_the_last_one_ends_the_server(served: ListeningServer) -> None:
    session, trials = served.session, served.session.test.trials
    for i, trial in enumerate(trials):
        state = json.loads(get(served, "state"))
        assert state == {"answered": i, "total": 6, "next": i, "summary": None}
        origin = "recorded" if trial.source == "real" else "made"
        state = json.loads(get(served, "answers", {"trial": i, "answer": trial.label, "origin": origin, "seconds": 2}))
        assert read_answers(session.output, flag="--output") == session.answers and len(session.answers) == i + 1
    assert state["next"] is None and "told apart: 100 %" in state["summary"]
    served.shutdown()  # returns at once


def test_a_stopped_test_continues_and_a_second_answer_replaces_the_first(run: Path, tmp_path: Path) -> None:
    test = make_test([run], count=1, seed=0)
    first = Session(test, tmp_path / "answers.csv")
    for origin in ("made", "recorded"):
        first.add({"trial": 0, "answer": "dog", "origin": origin, "seconds": 1.26})
    again = Session(test, tmp_path / "answers.csv")
    assert again.state["next"] == 1 and [(a.origin, a.seconds) for a in again.answers] == [("recorded", 1.3)]
    with pytest.raises(UserError, match=r"--output .*: holds answers to other sounds"):
        Session(make_test([run], count=1, seed=5), tmp_path / "answers.csv")


@pytest.mark.parametrize(
    "answer",
    [
        *({"trial": trial, "answer": "dog", "origin": "made", "seconds": 1} for trial in (-1, 6, "0", None)),
        {"trial": 0, "answer": "cat", "origin": "made", "seconds": 1},
        {"trial": 0, "answer": "dog", "origin": "real", "seconds": 1},
        {"trial": 0, "answer": "dog", "origin": "made", "seconds": "x"},
        {"trial": 0},
        [],
    ],
)
def test_what_is_no_answer_is_refused(answer: object, served: ListeningServer) -> None:
    with pytest.raises(urllib.error.HTTPError, match="400"):
        get(served, "answers", answer)
    assert not served.session.answers


@pytest.mark.parametrize("path", ["sounds/6", "sounds/x", "../pyproject.toml", "answers.csv"])
def test_other_paths_are_not_served(path: str, served: ListeningServer) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(served, path)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], r"name one or more runs"),
        (["RUN", "--summary", "x.csv"], r"--summary x.csv: takes no runs"),
        (["RUN", "--count", "0"], r"--count 0: must be 1 or more"),
        (["RUN", "--port", "70000"], r"--port 70000: must be between"),
        (["RUN", "--output", "."], r"--output \.: is a folder"),
        (["RUN", "--data-dir", "nowhere"], r"--data-dir nowhere: no such folder"),
        (["RUN", "--data-dir", "RUN"], r"--data-dir .*: holds no clip of .*clips.csv"),
        (["RUN/samples"], r"samples: is no finished run of a generator"),
        (["--summary", "nowhere.csv"], r"--summary nowhere.csv: no such file"),
        (["--summary", "RUN/clips.csv"], r"--summary .*clips.csv: holds no answers"),
        (["RUN", "--output", "RUN/clips.csv"], r"--output .*clips.csv: holds no answers"),
        (["RUN", "--output", "RUN/clips.csv/x.csv"], r"--output .*x.csv: cannot be written"),
    ],
)
def test_bad_input_gives_one_clear_line(arguments: list[str], says: str, run: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["listen", "--no-browser", *(a.replace("RUN", str(run)) for a in arguments)])
    with pytest.raises(UserError, match=says) as raised:
        command.main()
    assert len(str(raised.value).splitlines()) == 1


def test_a_port_in_use_and_a_run_without_sounds_give_one_clear_line(
    served: ListeningServer, run: Path, tmp_path: Path, monkeypatch
) -> None:
    arguments = [str(run), "--port", str(served.server_port), "--output", str(tmp_path / "other.csv"), "--no-browser"]
    monkeypatch.setattr(sys, "argv", ["listen", *arguments])
    with pytest.raises(UserError, match=rf"--port {served.server_port}: .*; choose another"):
        command.main()
    shutil.copytree(run, tmp_path / "empty")
    shutil.rmtree(tmp_path / "empty" / "samples")
    with pytest.raises(UserError, match="holds no generated sounds; make some with frequency-quest generate"):
        make_test([tmp_path / "empty"], count=1, seed=0)


@pytest.mark.slow
def test_ctrl_c_ends_the_server_and_prints_the_summary(run: Path, tmp_path: Path) -> None:
    arguments = ["listen", run, "--count", 1, "--output", tmp_path / "a.csv", "--no-browser"]
    command = [sys.executable, ROOT / "shared/commands.py", *arguments]
    process = subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in background shells
    )
    try:
        url = process.stdout.readline().split()[3]
        sent = json.dumps({"trial": 0, "answer": "dog", "origin": "made", "seconds": 1}).encode()
        with urllib.request.urlopen(url + "answers", data=sent, timeout=10) as response:
            assert json.load(response)["answered"] == 1
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0 and errors == ""
    assert "1 of 6 sounds answered" in said and "The same command continues" in said and "told apart" in said


def test_a_finished_test_prints_its_summary_without_a_server(run: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    trials = make_test([run], count=1, seed=0).trials
    given = [Answer(trial.sound, trial.source, trial.label, trial.label, "made", 1.0) for trial in trials]
    write_answers(tmp_path / "a.csv", given)
    monkeypatch.setattr(sys, "argv", ["listen", str(run), "--count", "1", "--output", str(tmp_path / "a.csv")])
    command.main()
    first = capsys.readouterr().out
    assert "6 of 6 sounds answered" in first and "told apart: 50 %" in first
    monkeypatch.setattr(sys, "argv", ["listen", "--summary", str(tmp_path / "a.csv"), str(tmp_path / "a.csv")])
    command.main()
    assert "2 listeners." in capsys.readouterr().out


DRIVE = """<script>
const errors = [], widths = [innerWidth], waits = [];
const until = async (test) => { while (!test()) await new Promise((done) => setTimeout(done, 20)); };
const press = (key) => document.body.dispatchEvent(
  new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
addEventListener("error", (event) => errors.push(event.message));
addEventListener("unhandledrejection", (event) => errors.push(String(event.reason)));
onload = async () => {
  for (let i = 1; i <= 6; i++) {
    await until(() => document.getElementById("place").textContent === `Sound ${i} of 6`);
    await until(() => audio.duration > 0);
    widths.push(document.documentElement.scrollWidth);
    if (i === 1) {
      press("Enter"); press("2"); press("m"); press("Enter");
      waits.push(form.elements.answer.value, form.elements.origin.value, said.textContent);
      press("p");
    }
    await until(() => heard && said.textContent === "");
    press("1"); press("r"); press("Enter");
  }
  await until(() => form.hidden);
  widths.push(document.documentElement.scrollWidth);
  const summary = end.textContent;
  fetch("RESULT", { method: "POST", mode: "no-cors", body: JSON.stringify({ errors, widths, waits, summary }) });
};
</script></body>"""


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_answered_with_the_keyboard(width: int, served: ListeningServer, tmp_path: Path) -> None:
    if BROWSER is None:
        pytest.skip("needs a browser: install Chromium or Chrome")
    flags = [flag for flag in FLAGS.split() if not flag.startswith(("--virtual-time", "--dump-dom"))]
    flags += ["--autoplay-policy=no-user-gesture-required", "--mute-audio"]
    command = [str(BROWSER), *flags, f"--user-data-dir={tmp_path / 'profile'}", served.url]
    sent: queue.Queue[bytes] = queue.Queue()
    with serving() as results:
        results.answers["/found"] = lambda body: sent.put(body) or (200, {}, b"")
        page = served.page.replace("</body>", DRIVE.replace("RESULT", f"{results.url}/found"))
        style = f"width:{width}px;height:900px;border:0"  # a window is at least 500 pixels wide
        served.page = f'<!doctype html><body><iframe style="{style}" srcdoc="{html.escape(page)}"></iframe></body>'
        browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            found = json.loads(sent.get(timeout=60))
        finally:
            browser.terminate()
            browser.wait(timeout=30)
    assert found["errors"] == [] and found["widths"][0] == width == max(found["widths"])
    assert found["waits"] == [CLASSES[1], "made", "Play the sound first."]
    assert "told apart: 50 %" in found["summary"]
    assert {(answer.answer, answer.origin) for answer in served.session.answers} == {(CLASSES[0], "recorded")}
