"""Links: those to files outside of this folder, and checks that need no network.

- A link to a page of the repository that the site includes leads to the page of the site.
- An external link must be a well-formed address. It is not opened.
- After the build, each link inside of the site must lead to a file, and to an anchor in it.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from docutils import nodes
from sphinx.util import logging

logger = logging.getLogger(__name__)

PAGES = {
    "../CONTRIBUTING.md": "contributing.md",
    "../CHANGELOG.md": "changelog.md",
    "../README.md": "index.md",
}
"""Files of the repository, and the pages that include them."""

HOST = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}(:\d+)?", re.IGNORECASE)


def replace_links(app: Any, name: str, source: list[str]) -> None:
    """Let links to files of the repository lead to the pages that include them."""
    for file, page in PAGES.items():
        source[0] = re.sub(rf"\]\({re.escape(file)}(?=[)#])", f"]({page}", source[0])


def is_well_formed(address: str) -> bool:
    """Tell whether an address of another site can be right."""
    parts = urlsplit(address)
    if parts.scheme == "mailto":
        return "@" in parts.path
    well = parts.scheme in ("http", "https") and HOST.fullmatch(parts.netloc) is not None
    return well and re.search(r"[\s<>\"\\^`{|}]", address) is None


def check_external(app: Any, doctree: nodes.document) -> None:
    """Warn of external links that are not well-formed."""
    for node in doctree.findall(nodes.reference):
        address = node.get("refuri", "")
        external = "://" in address or address.startswith("mailto:")
        if external and not is_well_formed(address):
            logger.warning("the external link %r is malformed", address, location=node)


class _Page(HTMLParser):
    """The anchors and the links of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := found.get(key))}
        target = found.get("href") if tag in ("a", "link") else found.get("src")
        if target is not None:
            self.links.append(target)


def broken_links(folder: Path) -> list[str]:
    """Return the links in a folder that lead to no file or anchor, with their pages."""
    pages = {path: _Page(path.read_text()) for path in sorted(folder.rglob("*.html"))}
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or link == "#":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = pages[target].anchors if target in pages else None
            missing = not target.exists()
            if not missing and parts.fragment and anchors is not None:
                missing = unquote(parts.fragment) not in anchors
            if missing:
                broken.append(f"{path.relative_to(folder)}: {link}")
    return broken


def check_pages(app: Any, error: Exception | None) -> None:
    """Warn of broken links inside of the site."""
    if error is None and app.builder.format == "html":
        for link in broken_links(Path(app.outdir).resolve()):
            logger.warning("a link leads nowhere: %s", link)


def setup(app: Any) -> dict[str, bool]:
    """Connect the functions to the steps of a build."""
    app.connect("source-read", replace_links)
    app.connect("doctree-read", check_external)
    app.connect("build-finished", check_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
