"""docs/troubleshooting.md has the messages of the source, and the source has those of the page.

A message that is raised or warned and is not on the page fails a test: write into the table of its
subject why it appears, and what to do.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from bsbpool import exceptions
from helpers.sources import CORE, PACKAGE

PAGE = (Path(__file__).parents[2] / "docs" / "troubleshooting.md").read_text()
ERRORS = PAGE.partition("## Errors and remedies")[2].partition("## Frequent questions")[0]
CELLS = re.findall(r"^\| (.+?) \| .+ \|$", ERRORS, re.M)
MESSAGES = [text for cell in CELLS for text in re.findall(r"`(.+?)`", cell) if " " in text]
OF_PYTHON = {"AttributeError: Can't get attribute"}

WITHOUT_REMEDY = {
    "TypeError", "ValueError", "AttributeError", "FileNotFoundError", "IndexError", "KeyError",
    "NameError", "NotImplementedError", "OSError", "OverflowError", "SystemExit", "TimeoutError",
}  # fmt: skip
"""Classes whose messages say what to do; they are on the page only if there is more to say."""
OWN_PAGES = (
    "cli", "diagnostics", "integrations", "locking", "reporting", "run.py", "script", "simulation",
)  # fmt: skip
"""Parts whose messages have a page of their own, or are few: the page has what is frequent."""

def text_of(node: ast.expr) -> str | None:
    """Return the text of a string, with an ellipsis for each value in it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "…" for part in node.values)
    return None


def python_texts() -> list[str]:
    trees = [ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))]
    nodes = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.expr))
    return [text for node in nodes if (text := text_of(node)) and "\n" not in text]


def core_texts() -> list[str]:
    found = []
    for path in sorted(CORE.rglob("*.pyx")):
        joined = re.sub(r'"\s*\n\s*f?"', "", path.read_text())
        found += [re.sub(r"{.*?}", "…", text) for text in re.findall(r'"([^"\n]+)"', joined)]
    return found


TEXTS = [" ".join(text.split()) for text in python_texts() + core_texts()]


def pattern(message: str) -> re.Pattern[str]:
    """Return a pattern for a message of the page, in which an ellipsis stands for any text."""
    return re.compile(".*".join(re.escape(part.strip()) for part in message.split("…")))


PATTERNS = [pattern(message) for message in MESSAGES]


@pytest.mark.parametrize("message", MESSAGES)
def test_the_source_has_the_message(message: str) -> None:
    assert message in OF_PYTHON or any(pattern(message).search(text) for text in TEXTS)


def raised() -> list[tuple[str, str]]:
    """Return the place and the text of each error that is raised, and of each warning."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] in OWN_PAGES:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            call = node.exc if isinstance(node, ast.Raise) else node
            if not isinstance(call, ast.Call) or not call.args:
                continue
            name = ast.unparse(call.func)
            if isinstance(node, ast.Raise) or name == "warnings.warn":
                text = text_of(call.args[0])
                if name not in WITHOUT_REMEDY and text and text != "…":
                    place = f"{path.relative_to(PACKAGE)}:{call.lineno}"
                    found.append((place, " ".join(text.split())))
    return found


def test_the_page_has_the_messages_of_the_source() -> None:
    found = raised()
    assert len(found) > 40
    missing = [
        f"{place}: {text}"
        for place, text in found
        if not any(pattern.search(text) for pattern in PATTERNS)
    ]
    assert missing == []


def test_the_page_has_the_classes_of_errors() -> None:
    names = [
        name for name, value in vars(exceptions).items()
        if isinstance(value, type) and issubclass(value, Exception)
        and value.__module__ == exceptions.__name__
    ]  # fmt: skip
    assert len(names) > 12
    assert [name for name in names if not re.search(rf"`{name}`", ERRORS)] == []
