"""The page of the app: its tabs, its look, and how it is served."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import gradio as gr

from generation.app.classify_tab import classify_tab
from generation.app.generate_tab import generate_tab
from generation.app.listen_tab import ListeningTests, listen_tab
from generation.app.runs import Runs
from generation.app.state import MOST_MIB, App
from generation.app.workers import Worker
from shared.report.run_view import FRAMEWORKS

CSS = """
.gradio-container { width: 100%; max-width: 76rem !important; margin: 0 auto !important; }
.players { flex-wrap: wrap; }
.players > * { flex: 1 1 300px !important; }
.empty { min-height: 4rem !important; height: auto !important; }
iframe.test { width: 100%; height: 52rem; border: 0; }
@media (max-width: 640px) {
  .gradio-container { padding: 0.5rem !important; }
  .wide .image-frame { display: block; width: calc(100vw - 66px); overflow-x: auto; }
  .wide img { width: 640px !important; max-width: none !important; }
  iframe.test { height: 64rem; }
}
"""


@contextlib.contextmanager
def serving(runs: Runs, folder: Path, *, host: str, port: int | None, device: str, answers: Path) -> Iterator[str]:
    """Serve the app in threads of this process and yield its address; at the end, its worker processes end too.

    Args:
        folder: for temporary files; gradio's own must be in it, too.
        port: None takes the first free one from 7860.
        device, answers: of the options.
    """
    workers = {framework: Worker(title) for framework, title in FRAMEWORKS.items()}
    tests = ListeningTests(host)
    page = build(App(runs, workers, folder, answers, host, device), tests)
    try:
        yield launch(page, host=host, port=port)
    finally:
        page.close(verbose=False)
        tests.end()
        for worker in workers.values():
            worker.stop()


def build(app: App, tests: ListeningTests) -> gr.Blocks:
    """The page, with the tabs for which there are runs."""
    with gr.Blocks(title="Frequency Quest", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown("# Frequency Quest")
        if any(app.runs.classifiers.values()):
            with gr.Tab("Classify"):
                classify_tab(app)
        if app.runs.generators:
            with gr.Tab("Generate"):
                generate_tab(app)
        if any(run.has_sounds for run in app.runs.generators.values()):
            with gr.Tab("Listening test"):
                listen_tab(app, tests)
    return page


def launch(page: gr.Blocks, *, host: str, port: int | None) -> str:
    """Serve the page and return its address."""
    system = [gr.themes.Font(name) for name in ("system-ui", "sans-serif")]
    mono = [gr.themes.Font(name) for name in ("ui-monospace", "monospace")]
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        share=False,
        max_file_size=f"{MOST_MIB}mb",
        prevent_thread_lock=True,
        quiet=True,
        show_error=True,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        css=CSS,
        theme=gr.themes.Default(primary_hue="blue", font=system, font_mono=mono),
    )
    return address
