"""Shows on the client what tasks have written and displayed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from bsbpool.integrations.ipyparallel._metadata import Metadata


def display_outputs(
    found: Sequence[Metadata], single: bool, groupby: str, result_only: bool = False
) -> None:
    """Show the output of tasks.

    Parameters
    ----------
    found : sequence of Metadata
        The metadata of the tasks.
    single : bool
        Whether there is one task only, whose engine need not be named.
    groupby : {"type", "engine", "order"}
        Whether all text comes before all objects; or all output of one engine before that of the
        next; or, after all text, the first object of each engine before the second ones.
    result_only : bool
        Whether to show only the values of the last expressions.

    Raises
    ------
    ValueError
        When `groupby` is something else.
    """
    if groupby not in ("type", "engine", "order"):
        raise ValueError(f"groupby must be 'type', 'engine' or 'order', got {groupby!r}")
    if single:
        _show_one(found[0], result_only)
    elif groupby == "engine":
        for each in found:
            _show_with_head(each, result_only)
    else:
        _show_by_type(found, result_only, groupby == "order")


def _show_one(each: Metadata, result_only: bool) -> None:
    if not result_only:
        for stream, file in (("stdout", sys.stdout), ("stderr", sys.stderr)):
            _write(each[stream], file)
        for output in each["outputs"]:
            _show_object(output)
    if each["execute_result"]:
        _show_object(each["execute_result"])


def _show_with_head(each: Metadata, result_only: bool) -> None:
    if not result_only:
        _write_with_head(each, "stdout", sys.stdout)
        _write_with_head(each, "stderr", sys.stderr)
        _show_objects(each)
    _show_result(each)


def _show_by_type(found: Sequence[Metadata], result_only: bool, in_turn: bool) -> None:
    if not result_only:
        for stream, file in (("stdout", sys.stdout), ("stderr", sys.stderr)):
            for each in found:
                _write_with_head(each, stream, file)
        if in_turn:
            _show_objects_in_turn(found)
        else:
            for each in found:
                _show_objects(each)
    for each in found:
        _show_result(each)


def _show_objects_in_turn(found: Sequence[Metadata]) -> None:
    for index in range(max(len(each["outputs"]) for each in found)):
        for each in found:
            if index < len(each["outputs"]):
                _write(f"[output:{each['engine_id']}]", sys.stdout)
                _show_object(each["outputs"][index])


def _write_with_head(each: Metadata, stream: str, file: Any) -> None:
    if each[stream]:
        text = each[stream]
        head = f"[{stream}:{each['engine_id']}] "
        _write(head + ("\n" if "\n" in text.rstrip("\n") else "") + text, file)


def _write(text: str, file: Any) -> None:
    if text:
        file.write(text if text.endswith("\n") else text + "\n")
        file.flush()


def _show_objects(each: Metadata) -> None:
    if each["outputs"]:
        _write(f"[output:{each['engine_id']}]", sys.stdout)
        for output in each["outputs"]:
            _show_object(output)


def _show_result(each: Metadata) -> None:
    result = each["execute_result"]
    if not result:
        return
    label = f"Out[{each['engine_id']}:{result.get('execution_count', '')}]:"
    text = f"{label} {result['data'].get('text/plain', '')}"
    if len(result["data"]) > 1 and _is_in_notebook():  # it shows another form than the text
        _write(label, sys.stdout)
    _show_object({**result, "data": {**result["data"], "text/plain": text}})


def _is_in_notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    from IPython.core.getipython import get_ipython

    return hasattr(get_ipython(), "kernel")  # type: ignore[no-untyped-call, unused-ignore]


def _show_object(output: Any) -> None:
    data = output["data"]
    if "IPython" in sys.modules:
        from IPython import display

        publish: Any = display.publish_display_data
        publish(data, output.get("metadata") or {})
    else:
        _write(str(data.get("text/plain", "")), sys.stdout)
