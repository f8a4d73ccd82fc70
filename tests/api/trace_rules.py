"""The rules of the Trace Event Format, as far as traces of pools use it.

They are from "Trace Event Format", the document that Chrome's and Perfetto's importers follow: an
object with the list ``traceEvents``; each event has the keys of its phase; complete events of a
thread nest; a flow has a beginning and an end with the same category, name and id, each inside of a
slice.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any

REQUIRED = {
    "X": {"name", "cat", "pid", "tid", "ts", "dur"},
    "M": {"name", "pid", "tid", "args"},
    "C": {"name", "pid", "ts", "args"},
    "s": {"name", "cat", "id", "pid", "tid", "ts"},
    "f": {"name", "cat", "id", "pid", "tid", "ts", "bp"},
}
"""The keys of the events of each phase."""

METADATA = {
    "process_name": ("name", str),
    "process_sort_index": ("sort_index", int),
    "thread_name": ("name", str),
    "thread_sort_index": ("sort_index", int),
}
"""The names of metadata events, and the argument of each."""

RESOLUTION = 0.0005
"""Times have three decimals."""


def problems(trace: dict[str, Any]) -> list[str]:
    """Return how a trace breaks the rules; empty for a valid one."""
    events = trace["traceEvents"]
    found = [problem for event in events for problem in _of_event(event)]
    return found or [*_of_slices(events), *_of_flows(events)]


def slices_of(trace: dict[str, Any], category: str = "job") -> list[dict[str, Any]]:
    """Return the slices of a category."""
    return [e for e in trace["traceEvents"] if e["ph"] == "X" and e["cat"] == category]


def _of_event(event: dict[str, Any]) -> list[str]:
    phase = event.get("ph")
    if phase not in REQUIRED:
        return [f"unknown phase {phase!r}"]
    missing = REQUIRED[phase] - event.keys()
    if missing:
        return [f"{phase}: lacks {sorted(missing)}"]
    found = [
        f"{phase}: {name} is {event[name]!r}"
        for name in ("ts", "dur", "pid", "tid", "id")
        if name in event and not _is_number(event[name], whole=name in ("pid", "tid", "id"))
    ]
    if event.get("dur", 0) < 0:
        found.append(f"a slice of {event['dur']} us")
    if phase == "M":
        argument, kind = METADATA[event["name"]]
        if type(event["args"][argument]) is not kind:
            found.append(f"{event['name']}: {event['args']}")
    if phase == "C" and not all(_is_number(value) for value in event["args"].values()):
        found.append(f"C: {event['args']}")
    if phase == "f" and event["bp"] != "e":
        found.append(f"f: bp is {event['bp']!r}")
    return found


def _is_number(value: Any, whole: bool = False) -> bool:
    return type(value) is int or (type(value) is float and not whole)


def _by_track(events: list[dict[str, Any]]) -> dict[tuple[int, int], list[tuple[float, float]]]:
    tracks: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            span = event["ts"], event["ts"] + event["dur"]
            tracks[event["pid"], event["tid"]].append(span)
    return {track: sorted(spans) for track, spans in tracks.items()}


def _of_slices(events: list[dict[str, Any]]) -> list[str]:
    return [
        f"slices of track {track} overlap: {before} and {after}"
        for track, spans in _by_track(events).items()
        for before, after in itertools.pairwise(spans)
        if after[0] < before[1] - RESOLUTION
    ]


def _of_flows(events: list[dict[str, Any]]) -> list[str]:
    tracks = {track: set(spans) for track, spans in _by_track(events).items()}
    flows: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        if event["ph"] in "sf":
            flows[event["cat"], event["name"], event["id"]].append(event)
    found = []
    for key, ends in flows.items():
        if [end["ph"] for end in ends] != ["s", "f"]:
            found.append(f"flow {key} has the events {[end['ph'] for end in ends]}")
        elif ends[0]["ts"] > ends[1]["ts"]:
            found.append(f"flow {key} leads from {ends[0]['ts']} to {ends[1]['ts']}")
        found += [
            f"flow {key}: its {end['ph']} is outside of all slices"
            for end in ends
            if not any(
                begin - RESOLUTION <= end["ts"] <= after + RESOLUTION
                for begin, after in tracks.get((end["pid"], end["tid"]), ())
            )
        ]
    return found
