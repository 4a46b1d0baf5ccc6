"""A local app in the browser that classifies and generates sounds: frequency-quest app [RUN...]"""

import contextlib
import dataclasses
import os
import signal
import socket
import tempfile
import threading
import webbrowser
from pathlib import Path
from pkgutil import resolve_name as load

import tyro

from shared.errors import UserError, run_entry
from shared.runs.options import Device


@dataclasses.dataclass(kw_only=True)
class AppOptions:
    """Classify sounds, generate sounds and take the listening test in the browser.

    The page is served on this machine only, and nothing is sent elsewhere. Ctrl-C stops it.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]] = (Path("runs"),)
    """Runs, or folders with runs below them."""
    host: str = "127.0.0.1"
    """Address to serve on; 0.0.0.0 lets every machine of the network use the app."""
    port: int = 0
    """Port to serve on; 0 takes the first free one from 7860."""
    browser: bool = True
    """Open the page in the browser; its address is printed in any case."""
    device: Device = "auto"
    """Device that computes."""
    answers: Path = Path("listening")
    """Folder for the answers of listening tests, a CSV for each listener."""

    def check(self) -> None:
        if not 0 <= self.port <= 65535:
            raise UserError(f"--port {self.port}: must be between 0 and 65535")
        try:
            socket.create_server((self.host, self.port)).close()
        except OSError as error:
            reason = f"{error.strerror.partition(' (')[0]}; choose another --port, or leave --host out"
            raise UserError(f"--host {self.host} --port {self.port}: {reason}") from error
        if self.answers.exists() and not self.answers.is_dir():
            raise UserError(f"--answers {self.answers}: is a file; give a folder")


def main() -> None:
    options = tyro.cli(AppOptions)
    options.check()
    serve(options)


def serve(options: AppOptions) -> None:
    """Serve the app until Ctrl-C; then end its processes and delete its temporary files.

    Raises:
        UserError: no run.
        ModuleNotFoundError: gradio is not installed.
    """
    runs = load("generation.app.runs:find_runs")(options.runs)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    with tempfile.TemporaryDirectory(prefix="frequency-quest-", ignore_cleanup_errors=True) as folder:
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": folder}  # gradio reads them on import
        serving = load("generation.app.page:serving")
        how = {"host": options.host, "port": options.port or None, "device": options.device, "answers": options.answers}
        with serving(runs, Path(folder), **how) as address, contextlib.suppress(KeyboardInterrupt):
            print(f"app at {address} (Ctrl-C stops it)", flush=True)
            if options.browser:
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
            threading.Event().wait()


if __name__ == "__main__":
    run_entry(main)
