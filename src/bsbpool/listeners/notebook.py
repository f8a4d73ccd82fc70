"""A listener that shows bars in a notebook."""

from __future__ import annotations

import time
from typing import Any

from bsbpool.listeners.counting import CountingListener, interval
from bsbpool.listeners.kinds import KindCounts
from bsbpool.listeners.streams import require
from bsbpool.listeners.summary import MOST_ROWS, further_failures, rows_of, states_text

DRAWINGS_PER_SECOND = 5.0


class TqdmListener(CountingListener):
    """Shows a bar for each kind of job with `tqdm.auto`: widgets in notebooks, else lines.

    Parameters
    ----------
    fps : float
        How often the bars are drawn in a second, at most 10 times.
    **options
        Further arguments of `tqdm.auto.tqdm`, for example ``leave=False``.

    Raises
    ------
    DependencyError
        If tqdm is not installed.

    Examples
    --------
    >>> from bsbpool import create_job_pool
    >>> from bsbpool.listeners import TqdmListener
    >>> pool = create_job_pool(quiet=True)
    >>> pool.add_listener(TqdmListener(leave=False))
    """

    def __init__(self, fps: float = DRAWINGS_PER_SECOND, **options: Any) -> None:
        require("tqdm")
        super().__init__(interval(fps, 10.0))
        self._options = options
        self._bars: dict[str, Any] = {}

    def start_display(self) -> None:
        """Begin with no bars."""
        self._bars = {}

    def show(self) -> None:
        """Draw the bars."""
        for kind in rows_of(self.kinds.all(), MOST_ROWS):
            self._draw(kind)

    def _draw(self, kind: KindCounts) -> None:
        bar = self._bars.get(kind.name)
        if bar is None:
            from tqdm.auto import tqdm

            name = f"{self.phase}: {kind.name}" if self.phase else kind.name
            bar = self._bars[kind.name] = tqdm(
                **{"desc": name, "total": kind.total, "unit": "job", **self._options}
            )
            if not bar.disable:
                bar.start_t -= time.monotonic() - self.began
        bar.total, bar.n = kind.total, kind.done
        bar.set_postfix_str(states_text(kind), refresh=False)
        bar.refresh()

    def show_failure(self, lines: list[str]) -> None:
        """Print a failure."""
        from tqdm.auto import tqdm

        first, *frames = lines
        tqdm.write("\n".join([first, *(f"    {frame}" for frame in frames)]))

    def show_end(self) -> None:
        """Show the final counts."""
        self.show()
        for kind in self.kinds.all():
            if kind.name in self._bars:  # perhaps it is one of the others by now
                self._draw(kind)
        for bar in self._bars.values():
            bar.close()
        self._bars = {}
        if further := further_failures(self):
            from tqdm.auto import tqdm

            tqdm.write(further)
