"""How fast jobs end, when they will have ended, and texts of durations and rates."""

from __future__ import annotations

from collections import deque

from bsbpool.listeners.kinds import KindCounts, Kinds

WINDOW = 30.0
"""Seconds over which the rate is measured, or longer until `FEW` jobs have ended."""
FEW = 10
SHORTEST_SAMPLE = 0.5


class Rate:
    """The number of jobs that end in a second, over the last half minute.

    Parameters
    ----------
    now : float
        The time of the start.
    """

    def __init__(self, now: float) -> None:
        self._samples: deque[tuple[float, int]] = deque([(now, 0)])
        self._last = now, 0

    def update(self, now: float, done: int) -> None:
        """Note how many jobs have ended."""
        self._last = now, done
        samples = self._samples
        if now - samples[-1][0] >= SHORTEST_SAMPLE:
            samples.append(self._last)
        while len(samples) > 1 and now - samples[1][0] >= WINDOW and done - samples[1][1] >= FEW:
            samples.popleft()

    @property
    def done(self) -> int:
        """The number of jobs that had ended at the last time."""
        return self._last[1]

    @property
    def per_second(self) -> float:
        """Jobs in a second; 0 before the first has ended."""
        since, before = self._samples[0]
        now, done = self._last
        return (done - before) / (now - since) if now > since else 0.0

    def seconds_left(self, left: int) -> float | None:
        """Return the estimated seconds until as many further jobs have ended; None if unknown."""
        if left <= 0:
            return 0.0
        rate = self.per_second
        return left / rate if rate > 0 else None


class Speeds:
    """The rates of all jobs and of each kind.

    Parameters
    ----------
    kinds : Kinds
        The counts.
    now : float
        The time of the start.

    Attributes
    ----------
    all : Rate
        The rate of all jobs.
    """

    def __init__(self, kinds: Kinds, now: float = 0.0) -> None:
        self._kinds = kinds
        self.all = Rate(now)
        self._began = now
        self._rates: dict[str, Rate] = {}

    def update(self, now: float) -> None:
        """Measure at this time."""
        n_done = 0
        for kind in self._kinds.all():
            n_done += kind.ran
            rate = self.of(kind)
            if kind.ran == kind.running == 0:  # its jobs wait for others
                self._rates[kind.name] = Rate(now)
            elif kind.left or kind.ran != rate.done:  # else all have ended some time ago
                rate.update(now, kind.ran)
        self.all.update(now, n_done)

    def of(self, kind: KindCounts) -> Rate:
        """Return the rate of a kind."""
        rate = self._rates.get(kind.name)
        if rate is None:
            rate = self._rates[kind.name] = Rate(self._began)
        return rate


def clock_text(seconds: float | None) -> str:
    """Return a duration as ``0:01:30``, or ``-:--:--`` if it is not known.

    Unlike `bsbpool.naming.duration_text` it keeps its width in a line that is drawn again.
    """
    if seconds is None:
        return "-:--:--"
    whole = int(seconds)
    days, hours = divmod(whole // 3600, 24)
    text = f"{hours}:{whole // 60 % 60:02}:{whole % 60:02}"
    return f"{days} d {text}" if days else text


def rate_text(per_second: float) -> str:
    """Return a rate as ``41.3/s``, or in minutes or hours if it is low; empty if it is 0."""
    if per_second <= 0:
        return ""
    for unit, seconds in (("s", 1), ("min", 60), ("h", 3600)):
        rate = per_second * seconds
        if rate >= 1 or unit == "h":
            return f"{rate:.0f}/{unit}" if rate >= 100 else f"{rate:.3g}/{unit}"
    raise AssertionError
