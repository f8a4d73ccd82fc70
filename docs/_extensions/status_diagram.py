"""The directive ``status-diagram``: the statuses of jobs, drawn from the table in the core.

The picture follows from `bsbpool._core.scheduling.status.transitions`, so that it cannot differ
from the code. Statuses that a job leaves are in a row, and the final ones in the last column.
"""

from __future__ import annotations

from html import escape
from typing import Any

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

WIDTH, HEIGHT = 108, 38
"""The size of a box."""
COLUMN, ROW = 190, 74
"""The distances of boxes."""
MARGIN = 46


def layout(table: dict[Any, tuple[Any, ...]]) -> dict[Any, tuple[float, float]]:
    """Return the centre of the box of each status."""
    passing = [status for status, after in table.items() if after]
    final = [status for status, after in table.items() if not after]
    top = MARGIN + HEIGHT / 2
    places = {status: (8 + WIDTH / 2 + COLUMN * n, top) for n, status in enumerate(passing)}
    last = 8 + WIDTH / 2 + COLUMN * len(passing)
    places |= {status: (last, top + ROW * n) for n, status in enumerate(final)}
    return places


def arrow(start: tuple[float, float], end: tuple[float, float], shift: float) -> str:
    """Return the path of an arrow between two boxes; it ends `shift` above the middle."""
    (x, y), (to_x, to_y) = start, end
    if to_x < x:  # back, above the boxes
        high = y - HEIGHT / 2
        return f"M{x},{high} C{x - 20},{high - 40} {to_x + 20},{high - 40} {to_x},{high - 3}"
    left = to_x - WIDTH / 2 - 3
    if to_y == y:
        return f"M{x + WIDTH / 2},{y} L{left},{to_y}"
    to_y -= shift
    if to_x - x <= COLUMN:
        x += WIDTH / 2
        return f"M{x},{y} C{x + 45},{y} {left - 45},{to_y} {left},{to_y}"
    x += 13 - 9 * (end[1] - y) / ROW  # arrows to lower boxes begin further left
    return f"M{x},{y + HEIGHT / 2} C{x},{to_y} {x},{to_y} {x + 70},{to_y} L{left},{to_y}"


def draw(table: dict[Any, tuple[Any, ...]]) -> str:
    """Return an SVG picture of a table of transitions: {status: the statuses that may follow}."""
    places = layout(table)
    width = max(x for x, _ in places.values()) + WIDTH / 2 + 8
    height = max(y for _, y in places.values()) + HEIGHT / 2 + 8
    text = "; ".join(
        f"{old.name} to {', '.join(new.name for new in after)}"
        for old, after in table.items()
        if after
    )
    parts = [
        f'<svg class="status-diagram" role="img" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{escape(text)}</title>'
        '<defs><marker id="status-head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8 z"/></marker></defs>'
    ]
    for number, (old, after) in enumerate(table.items()):
        for new in after:
            sources = [n for n, (_, ends) in enumerate(table.items()) if new in ends]
            shift = 9 * (sources.index(number) - (len(sources) - 1) / 2)
            path = arrow(places[old], places[new], shift)
            parts.append(
                f'<path class="transition" data-from="{old.name}" data-to="{new.name}" d="{path}" '
                'marker-end="url(#status-head)"/>'
            )
    for status, (x, y) in places.items():
        kind = "passing" if table[status] else "final"
        parts.append(
            f'<rect class="{kind}" x="{x - WIDTH / 2}" y="{y - HEIGHT / 2}" width="{WIDTH}" '
            f'height="{HEIGHT}" rx="6"/><text x="{x}" y="{y + 5}">{escape(status.name)}</text>'
        )
    return "".join([*parts, "</svg>"])


class StatusDiagram(SphinxDirective):
    """``status-diagram``: takes no arguments and no content."""

    def run(self) -> list[nodes.Node]:
        """Return the picture, for HTML."""
        from bsbpool._core.scheduling.status import transitions

        return [nodes.raw("", draw(transitions()), format="html")]


def setup(app: Any) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("status-diagram", StatusDiagram)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
