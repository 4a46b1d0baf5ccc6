"""The local server of a listening test. What it sends to the browser never says where a sound comes from."""

import dataclasses
import http
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from shared.errors import UserError
from shared.listening.answers import MADE, RECORDED, Answer, read_answers, summarise, write_answers
from shared.listening.trials import ListeningTest
from shared.report.pages import render

MAX_BODY = 10_000  # bytes of an answer


class Session:
    """A listener's progress through a test, saved after each answer.

    Raises:
        UserError: the file holds answers to sounds of another test, or cannot be written.
    """

    def __init__(self, test: ListeningTest, output: Path) -> None:
        self.test, self.output, self._lock = test, output, threading.Lock()
        self.answers = read_answers(output, flag="--output") if output.exists() else []
        known = {trial.sound for trial in test.trials}
        if any(answer.sound not in known for answer in self.answers):
            raise UserError(f"--output {output}: holds answers to other sounds; choose another file, or delete it")
        try:
            write_answers(output, self.answers)
        except OSError as error:
            raise UserError(f"--output {output}: cannot be written ({error.strerror}); choose another file") from error

    @property
    def state(self) -> dict[str, Any]:
        """What the page shows: number of answers and of sounds, the next sound, and the summary after the last one."""
        answered = {answer.sound for answer in self.answers}
        rest = [i for i, trial in enumerate(self.test.trials) if trial.sound not in answered]
        summary = None if rest else summarise([self.answers])
        place = {"answered": len(answered), "total": len(self.test.trials)}
        return place | {"next": rest[0] if rest else None, "summary": summary}

    def add(self, said: Any) -> None:
        """Save an answer; a second one to the same sound replaces the first.

        Raises:
            ValueError: it is no answer to a sound of this test.
        """
        try:
            i, label, origin, seconds = said["trial"], said["answer"], said["origin"], float(said["seconds"])
            if label not in self.test.classes or origin not in (RECORDED, MADE) or not 0 <= i < len(self.test.trials):
                raise ValueError
            trial = self.test.trials[i]
        except (LookupError, TypeError) as error:
            raise ValueError from error
        answer = Answer(trial.sound, trial.source, trial.label, label, origin, round(seconds, 1))
        with self._lock:
            answers = [*(other for other in self.answers if other.sound != trial.sound), answer]
            write_answers(self.output, answers)
            self.answers = answers


class ListeningServer(ThreadingHTTPServer):
    """Serves the page, its sounds and its state, and takes answers until the last sound has one.

    Args:
        port: 0 chooses a free one.
        host: the address of this machine to serve on; other machines cannot reach the default.
    """

    daemon_threads = True

    def __init__(self, session: Session, *, port: int, host: str = "127.0.0.1") -> None:
        super().__init__((host, port), _Handler)
        self.session, test = session, session.test
        page = dataclasses.replace(test, trials=[])
        self.page = render("listen.html.j2", folder=Path(__file__).parent, test=page, total=len(test.trials))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: ListeningServer

    def do_GET(self) -> None:
        session, path = self.server.session, self.path.partition("?")[0]
        if path == "/":
            self._send(self.server.page.encode(), "text/html; charset=utf-8")
        elif path == "/state":
            self._send_state()
        elif (name := path.removeprefix("/sounds/")).isdecimal() and int(name) < len(session.test.trials):
            self._send(session.test.trials[int(name)].wav, "audio/wav")
        else:
            self.send_error(http.HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        size = self.headers.get("Content-Length", "")
        if self.path != "/answers" or not size.isdecimal() or int(size) > MAX_BODY:
            return self.send_error(http.HTTPStatus.BAD_REQUEST)
        session = self.server.session
        try:
            session.add(json.loads(self.rfile.read(int(size))))
        except ValueError:
            return self.send_error(http.HTTPStatus.BAD_REQUEST)
        except OSError as error:  # a full disk
            return self.send_error(http.HTTPStatus.INSUFFICIENT_STORAGE, str(error.strerror))
        self._send_state()
        if session.state["next"] is None:
            self.wfile.flush()
            threading.Thread(target=self.server.shutdown).start()

    def _send_state(self) -> None:
        self._send(json.dumps(self.server.session.state).encode(), "application/json")

    def _send(self, body: bytes, kind: str) -> None:
        self.send_response(http.HTTPStatus.OK)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Requests are not logged."""
