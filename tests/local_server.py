"""A local server for the tests, in place of a public archive or Kaggle, and archives for it to serve."""

import contextlib
import io
import random
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Answer = tuple[int, dict[str, str], bytes]


class Server(ThreadingHTTPServer):
    """Serves ``files`` to GET, and ``answers`` to POST and PUT; ``log`` holds (path, requested range, status)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, Callable[[bytes], Answer]] = {}
        self.log: list[tuple[str, str | None, int]] = []
        self.cuts: list[int] = []  # number of bytes after which each of the next bodies breaks off
        self.ranges, self.chunked, self.headers = True, False, {"ETag": '"one"'}


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body, asked, headers = self.server.files.get(self.path), self.headers["Range"], self.server.headers
        if body is None:
            return self.reply(404, {}, b"")
        version = headers.get("ETag")
        if not asked or not self.server.ranges or self.headers.get("If-Range", version) != version:
            return self.reply(200, headers | {"Accept-Ranges": "bytes"}, body)
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if start >= len(body):
            return self.reply(416, {}, b"")
        span = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        return self.reply(206, headers | span, body[start:])

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(*self.server.answers.get(self.path, lambda _: (404, {}, b""))(sent))

    do_PUT = do_POST

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.server.log.append((self.path, self.headers["Range"], status))
        self.send_response(status)
        length = {"Transfer-Encoding": "chunked"} if self.server.chunked else {"Content-Length": str(len(body))}
        for name, value in (length | headers).items():
            self.send_header(name, value)
        self.end_headers()
        cut = self.server.cuts.pop(0) if self.server.cuts and body else None
        if self.server.chunked:  # a complete body ends with an empty chunk
            chunks = (body[i : i + 999] for i in range(0, len(body), 999))
            body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
        self.wfile.write(body[:cut])

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def tarball(names: list[str], *, wrapper: str = "fsdd-1.0/", size: int = 20_000) -> bytes:
    """A .tar.gz of files of random bytes."""
    buffer, noise = io.BytesIO(), random.Random(0)
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for name in names:
            member = tarfile.TarInfo(wrapper + name)
            member.size = size
            tar.addfile(member, io.BytesIO(noise.randbytes(size)))
    return buffer.getvalue()


def zipped(names: list[str], *, size: int = 20_000) -> bytes:
    buffer, noise = io.BytesIO(), random.Random(0)
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, noise.randbytes(size))
    return buffer.getvalue()


def left(folder: Path) -> list[str]:
    """The names of all that is left in a folder."""
    return sorted(path.name for path in folder.iterdir())
