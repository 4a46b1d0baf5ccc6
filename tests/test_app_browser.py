"""In a real browser, the app fits the width of a phone and of a desktop, and asks no other machine for anything."""

import html
import json
import re
import subprocess
from pathlib import Path

import pytest
from app_runs import serving_app, write_runs
from local_server import serving
from test_browser import BROWSER, FLAGS

pytestmark = [pytest.mark.slow, pytest.mark.long]

MEASURE = """<!doctype html><body><iframe id="page" style="width:WIDTHpx;height:900px;border:0" src="URL"></iframe>
<pre id="found"></pre><script>
const page = document.getElementById("page"), found = [], errors = [];
const until = async (test) => { while (!test()) await new Promise((done) => setTimeout(done, 50)); };
page.onload = async () => {
  const inside = page.contentDocument;
  page.contentWindow.onerror = (message) => errors.push(message);
  await until(() => inside.querySelector("[role=tab]"));
  for (const tab of inside.querySelectorAll("[role=tab]")) {
    tab.click();
    await new Promise((done) => setTimeout(done, 500));
    found.push([tab.textContent.trim(), inside.documentElement.scrollWidth]);
  }
  const asked = page.contentWindow.performance.getEntriesByType("resource").map((entry) => entry.name);
  document.getElementById("found").textContent = JSON.stringify({ found, errors, asked }); };
</script></body>"""


def test_the_tabs_fit_and_nothing_is_fetched_from_elsewhere(tiny_classifier: Path, tmp_path: Path) -> None:
    if BROWSER is None:
        pytest.skip("needs a browser: install Chromium or Chrome")
    write_runs(tmp_path / "runs", tiny_classifier)
    # the harness is served on a port of its own, so the page in its frame is of another origin
    flags = [*FLAGS.split(), "--disable-web-security"]
    with serving_app(tmp_path / "app", tmp_path / "runs") as served, serving() as other:
        for width in (390, 1280):
            other.files["/"] = MEASURE.replace("WIDTH", str(width)).replace("URL", served.url).encode()
            other.headers = {"Content-Type": "text/html"}
            command = [str(BROWSER), *flags, f"--user-data-dir={tmp_path / str(width)}", f"{other.url}/"]
            shown = subprocess.run(command, capture_output=True, text=True, timeout=300).stdout
            match = re.search(r'<pre id="found">(\{.*?\})</pre>', shown)
            assert match, f"the page did not load\n{shown[-2000:]}"
            found = json.loads(html.unescape(match[1]))
            assert found["errors"] == []
            assert [tab for tab, _ in found["found"]] == ["Classify", "Generate", "Listening test"]
            assert max(size for _, size in found["found"]) <= width
            assert len(found["asked"]) > 5 and all(address.startswith(served.url) for address in found["asked"])
