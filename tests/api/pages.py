"""Look at report pages: in Chromium or node if they are installed, else by their data."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from bsbpool import reporting

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
NODE = shutil.which("node")

LOOK = """
<script>
  const colors = new Set();
  for (const canvas of document.querySelectorAll("canvas")) {
    const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] === 255) {
      colors.add(`${pixels[i]},${pixels[i + 1]},${pixels[i + 2]}`);
    }
  }
  const seen = document.documentElement.dataset;
  seen.colors = [...colors].join(" ");
  seen.errors = "";
  window.addEventListener("error", (event) => { seen.errors += event.message; });
  const canvas = document.querySelector("canvas"), box = canvas.getBoundingClientRect();
  const tips = new Set(), tip = document.querySelector(".tip");
  const point = (x) => {
    const at = { clientX: x, clientY: box.top + 28, bubbles: true };
    canvas.dispatchEvent(new MouseEvent("mousemove", at));
    if (tip.style.display === "block") tips.add(tip.textContent.split("\\n")[0]);
  };
  for (let x = box.left; x < box.right; x += 1) point(x);
  const middle = { clientX: box.left + box.width / 2, clientY: box.top + 28, bubbles: true };
  canvas.dispatchEvent(new WheelEvent("wheel", { ...middle, deltaY: -100 }));
  canvas.dispatchEvent(new MouseEvent("mousedown", middle));
  point(box.left + 400);
  window.dispatchEvent(new MouseEvent("mouseup", middle));
  canvas.dispatchEvent(new MouseEvent("dblclick", middle));
  seen.tips = JSON.stringify([...tips]);
</script>
"""
"""Added to a page, it notes the colors that were drawn, and what the pointer shows."""

RUN = """
const page = require(process.argv[2]);
const data = JSON.parse(require("fs").readFileSync(0, "utf8"));
let drawn = 0, slices = 0;
for (const row of data.rows) {
  row.bad = new Set(data.failed);
  row.begin = page.summed(row.begin);
  row.length = row.length.map((ns) => ns / 1000);
  slices += row.begin.length;
  drawn += page.visibleSlices(row, data.from, data.to, 1000 / (data.to - data.from)).length;
}
console.log(JSON.stringify({ slices, drawn }));
"""
"""Calls the functions of the script of a page that need no browser."""


class Page(HTMLParser):
    """The tables of a page, the data of its timelines, and the addresses that it refers to.

    Attributes
    ----------
    tables : dict
        By id, the rows of the tables as lists of texts, without the headings.
    data : list
        The data of the timelines.
    addresses : list of str
        The values of all attributes that a browser would fetch.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.data: list[dict[str, Any]] = []
        self.addresses: list[str] = []
        self._rows: list[list[str]] = []
        self._in_cell = self._in_data = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.addresses += [known[name] or "" for name in ("src", "href", "data") if name in known]
        self._in_data = known.get("type") == "application/json"
        if tag == "table":
            self._rows = self.tables[known["id"] or ""] = []
        elif tag == "tr":
            self._rows.append([])
        elif tag == "td":
            self._rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            self._in_cell = False
        elif tag == "table":
            self._rows[:] = [row for row in self._rows if row]

    def handle_data(self, data: str) -> None:
        if self._in_data:
            self.data.append(json.loads(data))
            self._in_data = False
        elif self._in_cell:
            self._rows[-1][-1] += data


def look_at(path: Path, folder: Path) -> dict[str, Any]:
    """Return what is seen of a page.

    Returns
    -------
    dict
        `slices`, the number of slices. In Chromium also `ready`, the milliseconds until the page
        was drawn, `colors`, those of opaque pixels, and `tips`, the first lines of what the
        pointer shows above the first rank.
    """
    text = path.read_text(encoding="utf-8")
    if CHROMIUM:
        return _in_chromium(text, folder)
    data = Page(text).data
    if NODE:
        seen = [_in_node(timeline, folder) for timeline in data]
        assert all(timeline["drawn"] > 0 for timeline in seen if timeline["slices"])
        return {"slices": sum(timeline["slices"] for timeline in seen)}
    return {"slices": sum(len(row["begin"]) for timeline in data for row in timeline["rows"])}


def _in_chromium(text: str, folder: Path) -> dict[str, Any]:
    copy = folder / "looked-at.html"
    copy.write_text(text.replace("</body>", f"{LOOK}</body>"), encoding="utf-8")
    done = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,1000",
            f"--user-data-dir={folder / 'profile'}", "--dump-dom", copy.as_uri(),
        ],
        capture_output=True, text=True, timeout=90, check=True,
    )  # fmt: skip
    head = done.stdout.partition("<head>")[0]
    found: dict[str, str] = dict(re.findall(r'data-(\w+)="([^"]*)"', head))
    assert found["errors"] == ""
    return {
        "slices": int(found["slices"]),
        "ready": int(found["ready"]),
        "colors": set(found["colors"].split()),
        "tips": json.loads(unescape(found["tips"])),
    }


def _in_node(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    program = folder / "run.js"
    program.write_text(RUN)
    script = Path(reporting.__path__[0]) / "page.js"
    done = subprocess.run(
        [str(NODE), str(program), str(script)],
        input=json.dumps(data), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found
