"""With Kaggle's own clients and a local server, downloads are resumed and submissions are validated and sent."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from local_server import Answer, Server, left, serving, zipped

from shared.data import command, download
from shared.data.kaggle import check_submission, submit
from shared.data.sources import Download
from shared.errors import UserError, run_entry

API = "/api/v1/competitions.CompetitionApiService/"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def kaggle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A server in place of Kaggle's API; there are no credentials unless a test sets them."""
    from kagglesdk import kaggle_env

    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "LOCALHOST")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path / "home" / ".kaggle"))
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("KAGGLEHUB_CACHE", "DISABLE_KAGGLE_CACHE", "DISABLE_COLAB_CACHE"):
        monkeypatch.setenv(name, "")  # the download sets these; monkeypatch restores them after the test
    with serving() as server:
        monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.LOCAL, server.url)
        yield server


def one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *arguments: object) -> str:
    """Run the command, which must fail with one line, and return that line."""
    monkeypatch.setattr(sys, "argv", ["frequency-quest data", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        run_entry(command.main)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_missing_credentials_are_named_with_a_remedy(
    kaggle: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    line = one_line(monkeypatch, capsys, "download", "frequency-quest", "--dest", tmp_path / "data")
    assert line.startswith("error: no Kaggle credentials: create an API token on https://www.kaggle.com/settings")
    assert "download it from https://www.kaggle.com/competitions/the-frequency-quest/data" in line
    csv = tmp_path / "submission.csv"
    csv.write_text("ID,Class\na.wav,siren\n")
    line = one_line(monkeypatch, capsys, "submit", "--submission", csv, "--competition", "other")
    assert line.startswith("error: no Kaggle credentials: create an API token on https://www.kaggle.com/settings")
    assert line.endswith(f"upload {csv} on https://www.kaggle.com/competitions/other/submit")
    assert left(tmp_path) == ["submission.csv"] and kaggle.log == []


KAGGLE_FILES = [
    "the-frequency-quest - Copy/train/train/siren/7-8-0-0.wav",
    "the-frequency-quest - Copy/train/train/siren/9-8-0-0.wav",
    "the-frequency-quest - Copy/train/train/dog_bark/8-3-0-0.wav",
    "the-frequency-quest - Copy/test/test/a.wav",
    "sample_submission.csv",
]


def test_a_broken_download_of_the_competition_is_resumed(
    kaggle: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "token")
    monkeypatch.setattr("kagglehub.clients.CHUNK_SIZE", 1 << 12)
    asked = []

    def redirect(body: bytes) -> Answer:
        asked.append(json.loads(body)["competitionName"])
        return 302, {"Location": f"{kaggle.url}/data.zip"}, b""

    kaggle.answers[API + "DownloadDataFiles"] = redirect
    kaggle.files["/data.zip"] = zipped(KAGGLE_FILES)
    kaggle.cuts = [50_000]
    options = Download(name="frequency-quest", dest=tmp_path / "data", competition="mine")
    with pytest.raises(UserError, match=r"competitions/mine: the connection broke off. Repeat the command"):
        download.download(options)
    assert left(tmp_path) == [".data.download"]
    download.download(options)
    assert asked == ["mine", "mine"]
    assert kaggle.log[-1] == ("/data.zip", "bytes=49152-", 206)
    out = capsys.readouterr().out
    assert "3 clips, 2 classes, 3 recordings; 1 clips to predict" in out
    assert "licence: the competition's rules, https://www.kaggle.com/competitions/mine/rules" in out
    assert left(tmp_path) == ["data"] and left(tmp_path / "data") == ["sample_submission.csv", "test", "train"]


@pytest.mark.parametrize("data", [zipped(KAGGLE_FILES)[:-40], zipped(KAGGLE_FILES).replace(b"siren/7", b"siren/8", 1)])
def test_a_damaged_archive_from_kaggle_is_not_kept(
    kaggle: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "token")
    kaggle.answers[API + "DownloadDataFiles"] = lambda _: (302, {"Location": f"{kaggle.url}/data.zip"}, b"")
    kaggle.files["/data.zip"] = data
    with pytest.raises(UserError, match="the archive is damaged"):
        download.download(Download(name="frequency-quest", dest=tmp_path / "data"))
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("status", "why"),
    [(401, "rejected the credentials"), (403, "accept the rules"), (404, "no such page"), (500, "answers 500")],
)
def test_each_refusal_names_its_remedy(
    kaggle: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, why: str
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "token")
    kaggle.answers[API + "DownloadDataFiles"] = lambda _: (status, {}, b"")
    with pytest.raises(UserError, match=f"https://www.kaggle.com/competitions/the-frequency-quest: .*{why}"):
        download.download(Download(name="frequency-quest", dest=tmp_path / "data"))
    assert left(tmp_path) == []


def test_a_kaggle_dataset_is_downloaded_by_name(kaggle: Server, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    service = "/api/v1/datasets.DatasetApiService/"
    kaggle.answers[service + "GetDataset"] = lambda _: (200, JSON, b'{"currentVersionNumber": 3}')
    kaggle.answers[service + "DownloadDataset"] = lambda _: (302, {"Location": f"{kaggle.url}/data.zip"}, b"")
    kaggle.files["/data.zip"] = zipped(["siren/a.wav", "dog/b.wav"])
    download.download(Download(name="frequency-quest", dest=tmp_path / "data", kaggle_dataset="jo/sounds"))
    out = capsys.readouterr().out
    assert "2 clips, 2 classes, recordings unknown" in out
    assert "licence: as stated on https://www.kaggle.com/datasets/jo/sounds" in out and left(tmp_path) == ["data"]
    with pytest.raises(UserError, match=r"kaggle.com/datasets/a/b/c/d: Invalid"):
        options = Download(name="frequency-quest", dest=tmp_path / "other", kaggle_dataset="a/b/c/d")
        download.download(options)


def test_a_submission_is_uploaded_with_its_message(
    kaggle: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", "token")
    sent: dict[str, bytes] = {}

    def answer(name: str, body: dict[str, str]) -> Callable[[bytes], Answer]:
        def reply(request: bytes) -> Answer:
            sent[name] = request
            return 200, JSON, json.dumps(body).encode()

        return reply

    blob = {"token": "blob-7", "createUrl": f"{kaggle.url}/upload"}
    kaggle.answers[API + "StartSubmissionUpload"] = answer("start", blob)
    kaggle.answers["/upload"] = answer("upload", {})
    kaggle.answers[API + "CreateSubmission"] = answer("create", {"message": "Successfully submitted"})
    csv = tmp_path / "submission.csv"
    csv.write_text("ID,Class\na.wav,siren\nb.wav,dog_bark\n")
    submit(csv, competition="mine", message="a try")
    assert sent["upload"] == csv.read_bytes()
    start, create = json.loads(sent["start"]), json.loads(sent["create"])
    assert (start["competitionName"], start["fileName"], start["contentLength"]) == ("mine", "submission.csv", 36)
    assert (create["competitionName"], create["blobFileTokens"]) == ("mine", "blob-7")
    assert create["submissionDescription"] == "a try"
    out = capsys.readouterr().out
    assert f"{csv}: 2 predictions sent to mine. Kaggle: Successfully submitted" in out

    kaggle.answers["/upload"] = lambda _: (503, {}, b"")
    sent.clear()
    with pytest.raises(UserError, match="the server answers 503"):
        submit(csv)
    assert "create" not in sent


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "no such file"),
        ("", "no predictions"),
        ("ID\na\n", r"line 1 has 1 column"),
        ("ID,Class\n", "no predictions"),
        ("ID,Class\na,x\nb, \n", "line 3 has an empty cell"),
        ("ID,Class\na,x\na,y\n", "line 3 repeats the ID a"),
        ("ID,Class\n\na,x,1\n", "line 3 has 3 column"),
        ("ID,Class\na,\udcff\n", "is not a CSV file"),
    ],
)
def test_an_invalid_submission_is_refused(tmp_path: Path, text: str | None, why: str) -> None:
    path = tmp_path / "submission.csv"
    if text is not None:
        path.write_text(text, errors="surrogateescape")
    with pytest.raises(UserError, match=why):
        check_submission(path)


def test_class_names_that_look_like_missing_values_are_valid(tmp_path: Path) -> None:
    path = tmp_path / "submission.csv"
    path.write_text("ID,Class\na,NA\nb,None\n")
    assert check_submission(path) == 2
