"""The app: its answers are those of predict.py and sample.py; limits, bad input, dead workers, and its end."""

import json
import shutil
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile as sf
from app_runs import Served, serving_app, write_runs
from conftest import ROOT
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from local_server import serving
from test_listening import get

from generation import sample
from generation.app.runs import Runs, find_runs
from shared.listening.answers import Answer, write_answers

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def app(tiny_classifier: Path, tmp_path_factory: pytest.TempPathFactory, run_script) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("app")
    write_runs(folder / "runs", tiny_classifier)
    run_script("classification/convert.py", "--model-dir", tiny_classifier, "--out-dir", folder / "runs" / "keras")
    with serving_app(folder) as served:
        yield served


@pytest.fixture(scope="module")
def client(app: Served, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(app.url, verbose=False, download_files=tmp_path_factory.mktemp("downloads"))


@pytest.fixture(scope="module")
def clip(sounds: Path) -> Path:
    return next(sounds.glob("train/train/siren/*"))


@pytest.fixture
def long(sounds: Path, tmp_path: Path) -> Path:
    """A recording of several windows."""
    parts = [sf.read(path) for path in sorted(sounds.glob("train/train/siren/*"))[:4]]
    sf.write(tmp_path / "street.flac", np.concatenate([np.resize(y, 4 * sr) for y, sr in parts]), parts[0][1])
    return tmp_path / "street.flac"


def classify(client: Client, sound: Path | None, *, hop: float = 0, **runs: str) -> tuple:
    given = {"keras": "runs/keras", "torch": "runs/torch"} | runs
    return client.predict(sound and handle_file(sound), **given, hop=hop, api_name="/classify")


def generate(client: Client, **options: Any) -> dict[str, bytes]:
    """The files of the zip."""
    given = {"run": "runs/flow", "label": "siren", "count": 2, "seed": 1, "vocoder": "auto", "best_of": 1}
    given |= {"classifier": "runs/torch", "guidance": 0, "sound": None, "strength": 0.5} | options
    *players, figure, archive = client.predict(**given, api_name="/generate")
    with zipfile.ZipFile(archive["value"]) as made:
        files = {Path(name).name: made.read(name) for name in made.namelist() if not name.endswith("/")}
    shown = [Path(player["value"]).read_bytes() for player in players if player["visible"]]
    assert shown == [files[name] for name in sorted(files) if name.endswith(".wav")]
    assert Path(figure).read_bytes() in files.values()
    return files


@pytest.mark.parametrize(("framework", "place"), [("keras", 0), ("torch", 3)])
def test_classify_answers_as_predict_does(
    framework: str, place: int, client: Client, app: Served, long: Path, tmp_path: Path, run_script
) -> None:
    arguments = ("--model-dir", app.folder / "runs" / framework, "--input", long, "--hop", 1.5, "--json")
    files = ("--output", tmp_path / "predictions.csv", "--probabilities", "--timeline", tmp_path)
    said = json.loads(run_script("classification/predict.py", *arguments, *files).stdout)["predictions"][0]
    label, figure, downloads = classify(client, long, hop=1.5)[place : place + 3]
    assert label["label"] == said["label"]
    assert {row["label"]: row["confidence"] for row in label["confidences"]} == said["probabilities"]
    assert sorted(Path(file).name for file in downloads) == sorted(path.name for path in tmp_path.glob("*[vg]"))
    assert all(Path(file).read_bytes() == (tmp_path / Path(file).name).read_bytes() for file in [figure, *downloads])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"guidance": 5, "best_of": 3},
        {"label": "siren:0.5,dog_bark:1"},
        {"strength": 0.3, "sound": "CLIP"},
        {"vocoder": "neural: runs/vocoder"},
        {"run": "runs/gan", "label": "rain", "vocoder": "griffin-lim"},
        {},  # a former request's guidance is forgotten
    ],
)
def test_generate_makes_the_sounds_of_sample(
    options: dict, client: Client, app: Served, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"run": "runs/flow", "label": "siren", "count": 2, "seed": 1} | options
    flags = {"run": "model-dir", "sound": "variation-of", "best_of": "best-of"}
    arguments = [part for name, value in asked.items() for part in (f"--{flags.get(name, name)}", str(value))]
    arguments = [part.replace("CLIP", str(clip)).replace("neural: runs/vocoder", "neural") for part in arguments]
    if "neural" in arguments:
        arguments += ["--vocoder-dir", "runs/vocoder"]
    if "best_of" in options:
        arguments += ["--best-of-classifier", "runs/torch"]
    monkeypatch.chdir(app.folder)
    monkeypatch.setattr(sys, "argv", ["sample.py", *arguments, "--out-dir", str(tmp_path)])
    sample.main()
    made = generate(client, **options | ({"sound": handle_file(clip)} if "sound" in options else {}))
    wavs = sorted(tmp_path.glob("*.wav"))
    assert {path.name for path in wavs} == {name for name in made if name.endswith(".wav")} and len(wavs) == 2
    assert all(path.read_bytes() == made[path.name] for path in [*wavs, *tmp_path.glob("*.png")])
    assert json.loads(made["samples.json"])["options"]["seed"] == 1


def write_bad(folder: Path, name: str) -> Path:
    """A file that the app refuses."""
    path = folder / name
    if name == "text.wav":
        path.write_text("no sound")
    elif name == "long.flac":
        sf.write(path, np.zeros(601 * 8000, dtype=np.float32), 8000)
    elif name == "fast.wav":
        sf.write(path, np.zeros(1000), 384_000)
    elif name == "empty.wav":
        sf.write(path, np.zeros(0), 8000)
    else:
        sf.write(path, np.zeros(8000), 8000)
        path.write_bytes(path.read_bytes()[:5000])
    return path


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("text.wav", "cannot be decoded as audio"),
        ("empty.wav", "holds no samples"),
        ("cut.wav", "is truncated"),
        ("long.flac", "lasts 601 s, and the app takes at most 600 s"),
        ("fast.wav", "has a sampling rate of 384000 Hz; the app takes at most 192000 Hz"),
    ],
)
def test_a_bad_file_is_one_clear_line(name: str, says: str, client: Client, tmp_path: Path) -> None:
    for use in (lambda path: classify(client, path), lambda path: generate(client, sound=handle_file(path))):
        with pytest.raises(AppError, match=says) as raised:
            use(write_bad(tmp_path, name))
        line = str(raised.value)
        assert name in line and "/" not in line.replace("runs/", "") and len(line.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"label": "sirne"}, "--label sirne: unknown; the classes are"),
        ({"run": "runs/gan", "label": "dog:1,rain:1"}, "only a flow generator takes it"),
        ({"guidance": 0.5}, "--guidance 0.5: must be 1 or more"),
        ({"best_of": 2, "classifier": "none"}, "needs a classifier that chooses"),
        ({"best_of": 2, "run": "runs/gan", "label": "rain"}, "does not know the class rain"),
    ],
)
def test_what_generate_cannot_do_is_one_clear_line(options: dict, says: str, client: Client) -> None:
    with pytest.raises(AppError, match=says) as raised:
        generate(client, **options)
    assert len(str(raised.value).splitlines()) == 1


def test_classify_needs_a_sound_and_a_run_and_a_possible_hop(client: Client, clip: Path) -> None:
    with pytest.raises(AppError, match="no sound: upload a file"):
        classify(client, None)
    with pytest.raises(AppError, match="no run: choose"):
        classify(client, clip, keras="none", torch="none")
    with pytest.raises(AppError, match=r"--hop 99.*: must be above 0 and at most"):
        classify(client, clip, hop=99)
    *keras, label, figure, downloads = classify(client, clip, torch="none")
    assert all(keras) and not (label or figure or downloads)


def post(url: str, body: bytes, kind: str) -> bytes:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": kind})
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.read()


def test_neither_web_addresses_nor_other_files_nor_large_files_are_taken(app: Served) -> None:
    with serving() as other:
        for path in (f"{other.url}/x.wav", str(ROOT / "pyproject.toml")):
            given = {"path": path, "meta": {"_type": "gradio.FileData"}}
            asked = json.dumps({"data": [given, "runs/keras", "runs/torch", 0]}).encode()
            event = json.loads(post(f"{app.url}gradio_api/call/classify", asked, "application/json"))["event_id"]
            with urllib.request.urlopen(f"{app.url}gradio_api/call/classify/{event}", timeout=30) as answer:
                assert answer.read().startswith(b"event: error")
        assert other.log == []
    form = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n%b\r\n--x--\r\n'
    assert json.loads(post(f"{app.url}gradio_api/upload", form % b"", "multipart/form-data; boundary=x"))
    with pytest.raises(urllib.error.HTTPError, match="413"):
        post(f"{app.url}gradio_api/upload", form % bytes(51 << 20), "multipart/form-data; boundary=x")


def frameworks(process: psutil.Process) -> set[str]:
    """The frameworks whose libraries a process has loaded."""
    paths = {Path(library.path).as_posix() for library in process.memory_maps()}
    return {name for name in ("tensorflow", "torch") if any(f"/{name}/" in path for path in paths)}


def test_each_framework_has_a_process_that_is_started_again_when_it_dies(
    app: Served, client: Client, clip: Path
) -> None:
    assert all(label["label"] for label in classify(client, clip)[::3])
    parent = psutil.Process(app.process.pid)
    loaded = {child: frameworks(child) for child in parent.children()}
    assert frameworks(parent) == set()
    assert sorted(map(sorted, filter(None, loaded.values()))) == [["tensorflow"], ["torch"]]
    next(child for child, names in loaded.items() if names == {"torch"}).kill()
    with pytest.raises(AppError, match="the PyTorch process ended unexpectedly") as raised:
        generate(client)
    assert len(str(raised.value).splitlines()) == 1
    assert generate(client)


def test_the_listening_test_is_the_one_of_listen(app: Served, client: Client) -> None:
    def start(**options: Any) -> str:
        given = {"runs": ["runs/gan"], "listener": "anna", "count": 1, "seed": 0} | options
        return client.predict(**given, api_name="/listen")

    class Test:
        url = start().split('src="')[1].split('"')[0]

    assert "Recorded or made?" in get(Test, "").decode()
    get(Test, "answers", {"trial": 0, "answer": "dog", "origin": "made", "seconds": 1})
    Test.url = start().split('src="')[1].split('"')[0]
    assert json.loads(get(Test, "state"))["answered"] == 1  # the same name continues the test
    assert len((app.folder / "listening" / "anna.csv").read_text().splitlines()) == 2
    write_answers(app.folder / "listening" / "ben.csv", [Answer("x", "real", "dog", "dog", "made", 1.0)])
    with pytest.raises(AppError, match="holds answers to other sounds"):
        start(listener="ben")
    with pytest.raises(AppError, match="no generator: choose"):
        start(runs=[])


def test_ctrl_c_ends_the_processes_and_deletes_the_files(tiny_classifier: Path, clip: Path, tmp_path: Path) -> None:
    with serving_app(tmp_path, tiny_classifier) as served:
        client = Client(served.url, verbose=False, download_files=tmp_path)
        inputs = {"keras": "none", "torch": str(tiny_classifier), "hop": 0}
        assert client.predict(handle_file(clip), **inputs, api_name="/classify")[3]["label"]
        children = psutil.Process(served.process.pid).children()
        assert children and list(served.temporary.glob("frequency-quest-*/*"))
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() for child in children)
    assert not list(served.temporary.glob("frequency-quest-*"))
    assert (tmp_path / "errors.txt").read_text() == ""


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", 70000], "--port 70000: must be between 0 and 65535"),
        (["--host", "192.0.2.1"], "--host 192.0.2.1 --port 0: Cannot assign requested address"),
        (["nowhere"], "nowhere: no such folder; train one with frequency-quest train"),
        (["EMPTY"], "holds no finished classifier and no generator; train one with frequency-quest train"),
        (["--answers", ROOT / "README.md"], "README.md: is a file; give a folder"),
    ],
)
def test_a_bad_option_is_one_clear_line(arguments: list, says: str, tmp_path: Path, refused) -> None:
    given = [tmp_path if part == "EMPTY" else part for part in arguments]
    assert says in refused("generation/app/command.py", *given)


def test_without_gradio_the_extra_is_named(tiny_classifier: Path, run_script) -> None:
    failed = run_script("tests/without.py", "gradio", "shared/commands.py", "app", tiny_classifier, code=2)
    assert failed.stderr == "error: gradio is not installed; pip install 'frequency-quest[app]'\n"


def test_a_port_in_use_is_one_clear_line(refused) -> None:
    with serving() as other:
        said = refused("generation/app/command.py", "--port", other.server_port)
    assert f"--port {other.server_port}: Address already in use; choose another --port" in said


def test_damaged_runs_and_the_parts_of_a_run_are_not_offered(tiny_classifier: Path, tmp_path: Path) -> None:
    assert (tiny_classifier / "refit" / "labels.json").is_file()
    for name in ("run", "damaged"):
        shutil.copytree(tiny_classifier, tmp_path / name)
    (tmp_path / "damaged" / "labels.json").write_text("{")
    (tmp_path / "generator").mkdir()
    (tmp_path / "generator" / "generator.json").write_text("{")
    assert find_runs([tmp_path, tmp_path / "run"]) == Runs({"keras": [], "torch": [str(tmp_path / "run")]}, {}, [])
