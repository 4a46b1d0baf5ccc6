"""The tab of the blind listening test: the page of frequency-quest listen in a frame."""

import html
import threading
from pathlib import Path
from urllib.parse import urlsplit

import gradio as gr

from generation.app.state import MOST_SEED, App, shown
from shared.errors import UserError
from shared.files import safe_name
from shared.listening.server import ListeningServer, Session
from shared.listening.trials import make_test

MOST_TESTS = 20  # that are served at once


class ListeningTests:
    """The servers of the tests that were started, one for each listener."""

    def __init__(self, host: str) -> None:
        self._host, self._servers, self._lock = host, {}, threading.Lock()

    def start(self, session: Session) -> ListeningServer:
        """Serve a test; the listener's former one ends, and the oldest of MOST_TESTS."""
        with self._lock:
            if former := self._servers.pop(session.output, None):
                _end(former)
            while len(self._servers) >= MOST_TESTS:
                _end(self._servers.pop(next(iter(self._servers))))
            server = self._servers[session.output] = ListeningServer(session, port=0, host=self._host)
            threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
            return server

    def end(self) -> None:
        with self._lock:
            for server in self._servers.values():
                _end(server)
            self._servers.clear()


def _end(server: ListeningServer) -> None:
    server.shutdown()
    server.server_close()


def listen_tab(app: App, tests: ListeningTests) -> None:
    """Build the tab. Its endpoint /listen starts a test and gives the frame that shows it."""
    names = [name for name, run in app.runs.generators.items() if run.has_sounds]
    gr.Markdown(
        "Real and generated sounds in random order: which class, recorded or made? "
        f"Every answer is saved at once in `{app.answers}`; the same name and settings continue a test."
    )
    with gr.Row():
        runs = gr.Dropdown(names, value=names[:1], multiselect=True, label="Generators", min_width=300)
        listener = gr.Textbox(
            "listener", label="Your name", info="Names the file of the answers", max_length=60, min_width=200
        )
        count = gr.Slider(1, 20, value=4, step=1, label="Sounds", info="Of each class and generator", min_width=200)
        seed = gr.Number(
            0, label="Seed", info="Equal seeds give equal tests", precision=0, minimum=0, maximum=MOST_SEED
        )
    button = gr.Button("Start the test", variant="primary")
    frame = gr.HTML()

    def listen(runs: list[str], listener: str, count: int, seed: int, request: gr.Request) -> str:
        """Start a listening test and return the frame that shows it."""
        try:
            if not runs:
                raise UserError("no generator: choose at least one run")
            output = app.answers / f"{safe_name(listener)}.csv"
            session = Session(make_test([Path(run) for run in runs], count=int(count), seed=seed), output)
        except UserError as error:
            raise shown(error) from error
        host = urlsplit(f"//{request.headers.get('host')}").hostname or app.host  # as the browser knows this machine
        address = html.escape(f"http://{host}:{tests.start(session).server_port}/")
        return f'<iframe class="test" title="Listening test" allow="autoplay" src="{address}"></iframe>'

    button.click(listen, [runs, listener, count, seed], frame, api_name="listen")
