"""Downloads are resumed, verified and unpacked safely; a local server serves the archives."""

import dataclasses
import gzip
import hashlib
import io
import socket
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from local_server import Server, left, serving, tarball, zipped

from shared.data import archives, datasets, download
from shared.data.sources import SPOKEN_DIGITS, URBANSOUND8K, Download
from shared.errors import UserError

DIGITS = [f"recordings/{digit}_{speaker}_{take}.wav" for digit in (0, 1) for speaker in "ab" for take in (0, 1, 2)]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(archives, "PAUSE", 0.0)
    monkeypatch.setattr(archives, "BLOCK", 1 << 12)
    with serving() as server:
        yield server


def digits(server: Server, dest: Path, data: bytes, **options: object) -> Download:
    """The options that download a spoken-digits archive from the server."""
    server.files["/digits.tar.gz"] = data
    checksum = f"sha256:{hashlib.sha256(data).hexdigest()}"
    given = {"url": f"{server.url}/digits.tar.gz", "checksum": checksum} | options
    return Download(name="spoken-digits", dest=dest, **given)


@pytest.mark.slow
def test_the_command_prints_counts_licence_and_checksum(server: Server, tmp_path: Path, run_script) -> None:
    names = [f"recordings/{d}_{speaker}_{i}.wav" for d in range(10) for speaker in "abcdef" for i in range(50)]
    server.files["/v1.0.10.tar.gz"] = data = tarball(names, size=10)
    command = ["shared/commands.py", "data", "download", "spoken-digits", "--dest", tmp_path / "digits"]
    command += ["--release", "v1.0.10"]
    done = run_script(*command, "--url", f"{server.url}/v1.0.10.tar.gz")
    assert "3000 clips, 10 classes, 6 recordings" in done.stdout and "licence: CC BY-SA 4.0" in done.stdout
    own = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert f"no checksum is published for this archive; its checksum is {own}" in done.stdout
    assert left(tmp_path) == ["digits"] and len(server.log) == 1


def test_nothing_is_downloaded_twice(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    options = digits(server, tmp_path / "digits", tarball(DIGITS))
    (tmp_path / "digits").mkdir()  # an empty folder may exist
    for _ in range(2):
        download.download(options)
    assert [status for _, _, status in server.log] == [200]
    assert "already holds the data set" in capsys.readouterr().out
    dataset = datasets.load_dataset(tmp_path / "digits")
    assert dataset.layout == "recordings" and len(dataset.manifest) == 12
    assert all(Path(path).stat().st_size == 20_000 for path in dataset.manifest.path)


def test_a_broken_download_is_resumed_at_once(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000, 50_000]
    download.download(digits(server, tmp_path / "digits", tarball(DIGITS)))
    (_, first, _), (_, second, status), (_, third, _) = server.log
    starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in (second, third)]
    assert first is None and status == 206
    assert 80_000 < starts[0] <= 100_000 and 120_000 < starts[1] <= 150_000


def test_a_broken_download_is_resumed_by_the_next_command(server: Server, tmp_path: Path) -> None:
    options = digits(server, tmp_path / "digits", tarball(DIGITS))
    server.cuts = [100_000, 0]
    with pytest.raises(UserError, match=r"the connection broke off. Repeat the command, or download it from "):
        download.download(options)
    assert left(tmp_path) == [".digits.download"]
    before = len(server.log)
    download.download(options)
    assert len(server.log) == before + 1 and server.log[-1][1:] == ("bytes=98304-", 206)
    assert left(tmp_path) == ["digits"]


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("change", ["etag", "no ranges", "shorter", "no etag, longer", "weak etag, unknown length"])
def test_a_partial_download_of_a_changed_file_is_not_resumed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    old, new = tarball(DIGITS), tarball(DIGITS, size=1000 if change == "shorter" else 30_000)
    new = old[::-1] if change == "etag" else new  # of the same length
    server.ranges, server.chunked = change != "no ranges", "unknown length" in change
    server.headers = {} if "no etag" in change else {"ETag": 'W/"weak"'} if "weak" in change else server.headers
    server.files["/file"], server.cuts = old, [100_000]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("time.sleep", interrupt)  # called after the connection broke off
        archives.fetch(f"{server.url}/file", tmp_path / "file", by_hand="")
    assert (tmp_path / "file.part").stat().st_size > 80_000
    if change == "etag":
        server.headers = {"ETag": '"two"'}
    server.files["/file"] = new
    archives.fetch(f"{server.url}/file", tmp_path / "file", by_hand="")
    assert (tmp_path / "file").read_bytes() == new and left(tmp_path) == ["file"]


def test_a_download_of_unknown_length_is_resumed_by_its_etag(server: Server, tmp_path: Path) -> None:
    server.files["/file"], server.cuts, server.chunked = tarball(DIGITS), [100_000], True
    archives.fetch(f"{server.url}/file", tmp_path / "file", by_hand="")
    assert (tmp_path / "file").read_bytes() == server.files["/file"]
    assert [status for _, _, status in server.log] == [200, 206]


def test_a_wrong_checksum_is_refused(server: Server, tmp_path: Path) -> None:
    options = digits(server, tmp_path / "digits", tarball(DIGITS), checksum="md5:" + 32 * "0")
    with pytest.raises(UserError, match=f"the archive's md5 checksum is [0-9a-f]{{32}}, not {32 * '0'}: it is damaged"):
        download.download(options)
    assert left(tmp_path) == []
    download.download(digits(server, tmp_path / "digits", tarball(DIGITS)))
    assert [status for _, _, status in server.log] == [200, 200]  # the bad file was not kept


def test_published_checksums_are_verified(server: Server, tmp_path: Path) -> None:
    assert URBANSOUND8K.checksum == "md5:9aa69802bbf37fb986f71ec1483a196e"  # soundata's
    with pytest.raises(UserError, match="not 9aa69802bbf37fb986f71ec1483a196e"):
        download.download(dataclasses.replace(digits(server, tmp_path / "d", b"x", checksum=None), name="urbansound8k"))
    with pytest.raises(UserError, match=f"not {SPOKEN_DIGITS['v1.0.9'].checksum.removeprefix('sha256:')}"):
        download.download(digits(server, tmp_path / "d", b"x", checksum=None, release="v1.0.9"))
    with pytest.raises(UserError, match="holds 12 clips, not 3000"):
        download.download(digits(server, tmp_path / "d", tarball(DIGITS), checksum=None, release="v1.0.10"))
    assert left(tmp_path) == []


def tar_member(name: str, *, kind: bytes = tarfile.REGTYPE, to: str = "") -> bytes:
    member, buffer = tarfile.TarInfo(name), io.BytesIO()
    member.type, member.linkname, member.size = kind, to, 4 if kind == tarfile.REGTYPE else 0
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.addfile(member, io.BytesIO(b"evil"))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "evil",
    [
        tar_member("../evil.wav"),
        tar_member("a/../../evil.wav"),
        tar_member("/tmp/evil.wav"),
        tar_member("evil.wav", kind=tarfile.SYMTYPE, to="/etc/passwd"),
        tar_member("evil.wav", kind=tarfile.LNKTYPE, to="../evil.wav"),
        tar_member("evil.wav", kind=tarfile.FIFOTYPE),
        zipped(["../evil.wav"], size=4),
        zipped(["/evil.wav"], size=4),
        zipped(["C:\\evil.wav"], size=4),
    ],
    ids=["parent", "inner parent", "absolute", "symlink", "link", "fifo", "zip parent", "zip absolute", "zip drive"],
)
def test_unsafe_archive_is_refused(server: Server, tmp_path: Path, evil: bytes) -> None:
    home = tmp_path / "a" / "b"
    home.mkdir(parents=True)
    with pytest.raises(UserError, match=r"evil.wav'?, a link or a path outside its folder: do not trust"):
        download.download(digits(server, home / "digits", evil))
    assert list(tmp_path.rglob("*")) == [tmp_path / "a", home]


def test_damaged_archive_is_refused(server: Server, tmp_path: Path) -> None:
    good = tarball(DIGITS)
    crc = good[:-8] + bytes(4) + good[-4:]
    not_an_archive = gzip.compress(b"not a tar")
    for data, why in ((crc, "damaged"), (good[: len(good) // 2], "damaged"), (not_an_archive, "neither a tar nor")):
        with pytest.raises(UserError, match=why):
            download.download(digits(server, tmp_path / "digits", data))
        assert left(tmp_path) == []


def test_a_killed_unpacking_leaves_no_partial_data(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = digits(server, tmp_path / "digits", tarball(DIGITS))

    def half(_: Path, folder: Path) -> None:
        (folder / "recordings").mkdir(parents=True)
        (folder / "recordings" / "9_stale_0.wav").touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(download, "unpack", half)
        download.download(options)
    assert not (tmp_path / "digits").exists()
    download.download(options)
    assert len(server.log) == 1  # the complete archive was kept
    assert set(datasets.load_dataset(tmp_path / "digits").manifest.label) == {"0", "1"}
    assert left(tmp_path) == ["digits"]


def test_urbansound8k_is_unpacked_from_a_local_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    table = b"slice_file_name,fsID,fold,class\n7-3-0-0.wav,7,1,dog_bark\n9-8-0-0.wav,9,2,siren\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("UrbanSound8K/metadata/UrbanSound8K.csv", table)
        for name in ("fold1/7-3-0-0.wav", "fold2/9-8-0-0.wav"):
            archive.writestr(f"UrbanSound8K/audio/{name}", b"")
    file = tmp_path / "mine.zip"
    file.write_bytes(buffer.getvalue())
    checksum = f"md5:{hashlib.md5(file.read_bytes()).hexdigest()}"
    download.download(Download(name="urbansound8k", dest=tmp_path / "us8k", archive=file, checksum=checksum))
    out = capsys.readouterr().out
    assert "2 clips, 2 classes, 2 recordings" in out and "licence: CC BY-NC 3.0, non-commercial" in out
    assert left(tmp_path) == ["mine.zip", "us8k"]
    with pytest.raises(UserError, match=r"holds another data set \(layout: UrbanSound8K\)"):
        download.download(Download(name="spoken-digits", dest=tmp_path / "us8k"))


def test_a_download_that_cannot_start_or_finish_is_refused(server: Server, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(UserError, match="neither empty nor a data set"):
        download.download(digits(server, tmp_path / "full", b""))
    with pytest.raises(UserError, match="neither empty nor a data set"):
        download.download(digits(server, tmp_path / "full" / "thesis.txt", b""))
    (tmp_path / ".digits.download").mkdir()
    lock = FileLock(tmp_path / ".digits.download" / "lock")
    with lock, pytest.raises(UserError, match="another process is downloading it"):
        download.download(digits(server, tmp_path / "digits", b""))
    with pytest.raises(UserError, match="the server answers 404 Not Found"):
        download.download(digits(server, tmp_path / "digits", b"", url=f"{server.url}/gone"))
    assert left(tmp_path) == ["full"] and left(tmp_path / "full") == ["thesis.txt"]


@pytest.mark.parametrize(
    "options",
    [
        {"url": "http://x", "archive": Path("x")},
        {"archive": Path("absent.zip")},
        {"checksum": "md5:123"},
        {"checksum": "sha1:" + 40 * "0"},
        {"checksum": "md5:" + 32 * "0", "kaggle_dataset": "a/b"},
    ],
)
def test_invalid_options_are_refused(tmp_path: Path, options: dict) -> None:
    with pytest.raises(UserError, match="--"):
        download.download(Download(name="spoken-digits", dest=tmp_path / "digits", **options))


def test_a_missing_network_is_named_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/UrbanSound8K.tar.gz"
        with pytest.raises(UserError) as refused:
            download.download(Download(name="urbansound8k", dest=tmp_path / "us8k", url=url))
    assert str(refused.value) == (
        f"{url}: no connection to the server. Repeat the command, or download it from "
        "https://zenodo.org/records/1203745 and repeat the command with --archive FILE"
    )
    assert left(tmp_path) == []
