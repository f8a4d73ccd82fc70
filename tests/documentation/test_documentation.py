"""The checks of the documentation find what is wrong. Run by `make docs`, which has Sphinx."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from enum import Enum
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="these tests need the environment of `make docs`")

DOCS = Path(__file__).parents[2] / "docs"
sys.path.insert(0, str(DOCS / "_extensions"))

import api_names  # noqa: E402
import link_checks  # noqa: E402
import status_diagram  # noqa: E402
import stored_inventories  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


WRONG = {
    "[a page](missing.md)": "missing",
    "[a section](#nothing)": "nothing",
    "[a file](../../nothing.txt)": "nothing.txt",
    "<http://localhost:80a/>": "localhost:80a.* is malformed",
    "[text](https://example)": "https://example' is malformed",
    "```{unknown-directive}\n```": "unknown-directive",
    "```{include} not_there.md\n```": "not_there.md",
    "![a picture](not_there.svg)": "not_there.svg",
    "The reference is missing.": "the API reference does not contain bsbpool.JobPool",
}
"""Pages, and the warnings that they must give."""


@pytest.fixture(scope="module")
def warnings_of_wrong_pages(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Build a site of these pages with the settings of docs; the build must fail."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "index.md").write_text("# A page\n\n" + "\n\n".join(WRONG))
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", str(DOCS),
         str(folder), str(folder / "html")],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode != 0
    return done.stderr


@pytest.mark.parametrize("warning", WRONG.values())
def test_a_build_fails_and_says_why(warning: str, warnings_of_wrong_pages: str) -> None:
    found = re.search(f"(WARNING|ERROR|CRITICAL).*{warning}", warnings_of_wrong_pages)
    assert found, warnings_of_wrong_pages


def test_links_inside_of_the_site(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<p id="here"></p><a href="#here"></a><a href="#"></a><a href="sub/b.html#there"></a>'
        '<a href="https://example.org/x#y"></a><img src="no.png"><a href="sub/b.html#no"></a>'
    )
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.html").write_text('<p id="there"></p><a href="../no.html"></a>')
    found = link_checks.broken_links(tmp_path)
    assert found == ["a.html: no.png", "a.html: sub/b.html#no", "sub/b.html: ../no.html"]


@pytest.mark.parametrize(
    "address",
    ["https://docs.python.org/3/", "http://a.example:8000/x?y=1#z", "mailto:someone@example.org"],
)
def test_well_formed_addresses(address: str) -> None:
    assert link_checks.is_well_formed(address)


@pytest.mark.parametrize(
    "address", ["https://", "https:/a.org", "https://a b.org", "http://a.org/<x>", "ftp://a.org"]
)
def test_malformed_addresses(address: str) -> None:
    assert not link_checks.is_well_formed(address)


def drawn(picture: str) -> tuple[Counter[tuple[str, str]], set[str]]:
    """Return the transitions and the names in a picture, whose boxes must be inside of it."""
    root = ET.fromstring(picture)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for box in root.iter(f"{SVG}rect"):
        x, y, w, h = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
        assert min(x, y) >= 0 and x + w <= width and y + h <= height
    arrows = (p.attrib for p in root.iter(f"{SVG}path") if p.get("class") == "transition")
    names = {text.text or "" for text in root.iter(f"{SVG}text")}
    return Counter((arrow["data-from"], arrow["data-to"]) for arrow in arrows), names


def test_the_diagram_has_the_transitions_of_the_core() -> None:
    from bsbpool._core.scheduling.status import transitions

    arrows, names = drawn(status_diagram.draw(transitions()))
    table = transitions().items()
    assert arrows == Counter((old.name, new.name) for old, after in table for new in after)
    assert names == {status.name for status, _ in table}


def test_the_diagram_follows_the_table() -> None:
    kinds = Enum("kinds", ["A", "B", "C", "D", "E"])
    table = {
        kinds.A: (kinds.B, kinds.D), kinds.B: (kinds.A, kinds.C, kinds.E), kinds.C: (kinds.D,),
        kinds.D: (), kinds.E: (),
    }  # fmt: skip
    arrows, names = drawn(status_diagram.draw(table))
    assert sum(arrows.values()) == 6 and ("B", "A") in arrows and names == set("ABCDE")


def test_inventories_need_no_network() -> None:
    from sphinx.util.inventory import InventoryFile

    mapping = stored_inventories.mapping(DOCS / "_inventories")
    address, file = mapping["python"]
    inventory = InventoryFile.loads(Path(file).read_bytes(), uri=address)
    item = inventory["py:class", "concurrent.futures.Future"]
    assert item.uri == (
        "https://docs.python.org/3/library/concurrent.futures.html#concurrent.futures.Future"
    )


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("Job.cancel", "bsbpool.Job.cancel"),
        ("create_job_pool", "bsbpool.create_job_pool"),
        ("JobOptions", "bsbpool.options.JobOptions"),
        ("timeout", None),
        ("Pool", None),
    ],
)
def test_short_names_in_docstrings(name: str, full: str | None) -> None:
    known = [
        "bsbpool.Job", "bsbpool.Job.cancel", "bsbpool.create_job_pool", "bsbpool.timeout",
        "bsbpool.options.JobOptions", "bsbpool.a.Pool", "bsbpool.b.Pool",
    ]  # fmt: skip
    assert api_names.full_name(name, known) == full
