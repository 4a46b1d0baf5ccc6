"""A blind listening test in the browser: frequency-quest listen RUN..."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from shared.errors import UserError, run_entry


@dataclasses.dataclass(kw_only=True)
class ListenOptions:
    """Play real and generated sounds in random order in the browser and ask: which class, recorded or made?

    Each answer is saved at once. The same command continues a test that was stopped; Ctrl-C stops it.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Finished runs of generators, with sounds in samples/ or of their last epoch."""
    count: int = 4
    """Sounds of each class and run; as many real clips are added."""
    seed: int = 0
    """Seed of the choice and order of the sounds; listeners with the same seed hear the same test."""
    data_dir: Path | None = None
    """Folder of the real sounds; None takes the one that the runs were trained on."""
    output: Path = Path("listening.csv")
    """CSV of the answers, one file for each listener."""
    port: int = 0
    """Port of the local server; 0 chooses a free one."""
    browser: bool = True
    """Open the page in the browser; its address is printed in any case."""
    summary: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE...")] = ()
    """Print the figures of these answers, one file for each listener, and stop."""

    def check(self) -> None:
        if self.runs and self.summary:
            raise UserError(f"--summary {self.summary[0]}: takes no runs; leave {self.runs[0]} out")
        if not self.runs and not self.summary:
            raise UserError("listen: name one or more runs of generators, or files of answers with --summary FILE...")
        if self.count < 1:
            raise UserError(f"--count {self.count}: must be 1 or more")
        if not 0 <= self.port <= 65535:
            raise UserError(f"--port {self.port}: must be between 0 and 65535")
        if self.output.is_dir():
            raise UserError(f"--output {self.output}: is a folder; give a CSV file")
        if self.data_dir and not self.data_dir.is_dir():
            raise UserError(f"--data-dir {self.data_dir}: no such folder; give one of labelled sounds")


def main() -> None:
    options = tyro.cli(ListenOptions)
    options.check()
    from shared.listening.answers import read_answers, summarise  # imports numpy, which --help does not need

    if options.summary:
        print(summarise([read_answers(path, flag="--summary") for path in options.summary]))
        return
    from shared.listening.server import ListeningServer, Session
    from shared.listening.trials import make_test

    test = make_test(options.runs, count=options.count, seed=options.seed, data_dir=options.data_dir)
    session = Session(test, options.output)
    if session.state["next"] is not None:
        try:
            server = ListeningServer(session, port=options.port)
        except OSError as error:
            raise UserError(f"--port {options.port}: {error.strerror}; choose another, or 0 for a free one") from error
        with server:
            serve(server, browser=options.browser)
    state = session.state
    print(f"\n{state['answered']} of {state['total']} sounds answered -> {options.output}")
    if state["next"] is not None:
        print("The same command continues the test.")
    print(f"\n{summarise([session.answers])}")


def serve(server, *, browser: bool) -> None:
    """Serve the test until it is finished or stopped with Ctrl-C."""
    import contextlib
    import threading
    import webbrowser

    print(f"listening test at {server.url} (Ctrl-C stops it)", flush=True)
    if browser:
        threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    run_entry(main)
