"""In a real browser, the pages fit the width of a phone and of a desktop, and every player and image loads."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.long]

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
FLAGS += " --disable-component-update --disable-sync --window-size=1400,1000 --virtual-time-budget=20000 --dump-dom"
MEASURE = """<!doctype html><body><iframe id="page" style="width:WIDTHpx;height:900px;border:0" srcdoc="PAGE"></iframe>
<pre id="found"></pre><script>
const errors = [];
const loaded = (audio) => new Promise((done) => {
  audio.onloadedmetadata = audio.onerror = done; audio.preload = "metadata"; audio.load(); });
document.getElementById("page").onload = async (event) => {
  const inside = event.target.contentDocument, root = inside.documentElement;
  event.target.contentWindow.onerror = (message) => errors.push(message);
  inside.querySelectorAll("details").forEach((part) => part.open = true);
  const players = [...inside.querySelectorAll("audio")], images = [...inside.images];
  await Promise.all(players.map(loaded));
  document.getElementById("found").textContent = JSON.stringify({
    width: root.scrollWidth, errors: errors, players: players.length, images: images.length,
    broken: players.filter((a) => !(a.duration > 0)).length + images.filter((i) => !i.naturalWidth).length,
    table: inside.querySelector("table")?.getBoundingClientRect().bottom }); };
</script></body>"""


@pytest.fixture(scope="module")
def pages(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished small main job."""
    if BROWSER is None:
        pytest.skip("needs a browser: install Chromium or Chrome")
    folder = tmp_path_factory.mktemp("pages") / "run"
    command = ["bash", str(ROOT / "run_all.sh"), "--smoke", "--data-dir", str(sounds), "--out-dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return folder


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("page", ["report.html", "errors.html"])
def test_a_page_fits_and_loads(pages: Path, tmp_path: Path, page: str, width: int) -> None:
    text = (pages / page).read_text()
    assert not re.search(r"""(src|href)=["']?https?:""", text)  # nothing is fetched from a network
    harness = tmp_path / "harness.html"
    harness.write_text(MEASURE.replace("WIDTH", str(width)).replace("PAGE", html.escape(text)))
    command = [str(BROWSER), *FLAGS.split(), f"--user-data-dir={tmp_path / 'profile'}", harness.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=300).stdout
    match = re.search(r'<pre id="found">(\{.*?\})</pre>', shown)
    assert match, f"the page did not load\n{shown[-2000:]}"
    found = json.loads(html.unescape(match[1]))
    assert found["width"] <= width and found["broken"] == 0 and found["errors"] == []
    if page == "report.html":
        assert found["players"] and found["images"]
        assert found["table"] < 900  # the first table ends on the first screen
