"""Measure bsbpool, and compare it with its targets and with other systems.

    python -m benches run             all targets, and other systems on all shapes of graphs
    python -m benches run noop chain  some targets
    python -m benches compare --shapes stencil --width 8 --kernel 10
    python -m benches check           compare the instructions per job with the baseline
    python -m benches report          print the tables of the last run
    python -m benches plot            draw the pictures in docs/pictures from the history

Measure on a machine without other load. `make bench` sets everything up.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import Any

from benches import compare, environment, gate, history, report
from benches.measuring import SECONDS, Runner, evaluate, medians
from benches.targets import all_targets
from benches.workloads import SHAPES

BEGIN, END = "<!-- figures: written by `python -m benches report --write` -->", "<!-- end -->"
PAGE = environment.ROOT / "docs" / "performance.md"


def run(given: argparse.Namespace) -> int:
    """Measure targets, print their table, and append to the history."""
    targets = all_targets(given.quick)
    names = given.targets or [*targets, "compare"]
    chosen = [targets[name] for name in names if name != "compare"]
    others = _comparison(given.quick) if "compare" in names else {}
    pythons = {"openmpi": given.openmpi, "testing": given.testing}
    runner = Runner(pythons, 60 if given.quick else SECONDS)
    line: dict[str, Any] = {
        "kind": "run",
        "date": history.today(),
        "commit": environment.commit(),
        "machine": environment.describe(),
        "runs": given.runs,
    }
    cases = [case for target in chosen for case in target.cases.values()]
    rounds = runner.rounds([*cases, *others.values()], given.runs)
    line["figures"] = {
        f"{target.name}.{name}": figure._asdict()
        for target in chosen
        for name, figure in evaluate(target, rounds).items()
    }
    line["compared"] = compare.summary(others, rounds)
    line["programs"] = {
        case.label(): medians(taken)
        for case in dict.fromkeys(cases)
        if (taken := [found[case] for found in rounds if case in found])
    }
    _print(line, targets, runner)
    if not given.quick:
        history.append(line)
    return 1 if runner.failed else 0


def _comparison(quick: bool) -> dict[str, Any]:
    return compare.cases(width=8, steps=4) if quick else compare.cases()


def _print(line: dict[str, Any], targets: dict[str, Any], runner: Runner | None = None) -> None:
    print(_tables(line, targets))
    for reasons in (runner.left_out, runner.failed) if runner else ():
        for case, reason in reasons.items():
            print(f"not measured: {case.label()}: {report.main_line(reason)}")


def _tables(line: dict[str, Any], targets: dict[str, Any]) -> str:
    parts = [report.machine(line)]
    if line["figures"]:
        parts.append(report.targets(targets, line["figures"]))
    if line["compared"]:
        parts.append(report.systems(compare.TITLES, line["compared"]))
    return "\n\n".join(parts)


def compared(given: argparse.Namespace) -> int:
    """Run a workload on all systems and print their rates."""
    known = compare.cases(given.shapes, given.width, given.steps, given.kernel, given.bytes)
    runner = Runner()
    rounds = runner.rounds(known.values(), given.runs)
    print(report.systems(compare.TITLES, compare.summary(known, rounds)))
    return 1 if runner.failed else 0


def reported(given: argparse.Namespace) -> int:
    """Print the tables of the last complete run, or write them to docs/performance.md."""
    targets = all_targets()
    runs = [line for line in history.read("run") if line["compared"]]
    whole = [
        line
        for line in runs
        if all(f"{t.name}.{t.checks[0].name}" in line["figures"] for t in targets.values())
    ]
    if not whole:
        print("The history has no complete run. Make one: python -m benches run")
        return 1
    text = _tables(whole[-1], targets)
    if given.write:
        page = PAGE.read_text()
        pictures = sorted((PAGE.parent / "pictures").glob("*.svg"))
        text += "".join(f"\n\n![{file.stem}](pictures/{file.name})" for file in pictures)
        before, after = page.partition(BEGIN)[0], page.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
    else:
        print(text)
    return 0


def plotted(given: argparse.Namespace) -> int:
    """Draw the pictures of the documentation."""
    for file in importlib.import_module("benches.plots").draw():
        print(file.relative_to(environment.ROOT))
    return 0


def _target(name: str) -> str:
    if name not in {*all_targets(), "compare"}:
        raise argparse.ArgumentTypeError(f"unknown target {name!r}")
    return name


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benches",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    some = commands.add_parser("run", help="measure targets")
    some.add_argument(
        "targets",
        nargs="*",
        type=_target,
        metavar="TARGET",
        help=", ".join([*all_targets(), "compare"]),
    )
    some.add_argument("--runs", type=int, help="rounds, of which the median counts (5)")
    some.add_argument(
        "--quick", action="store_true", help="small and once, without the history; a trial"
    )
    for env, text in {"openmpi": "Open MPI", "testing": "a testing build of bsbpool"}.items():
        some.add_argument(
            f"--{env}", type=os.path.abspath, metavar="PYTHON", help=f"an interpreter with {text}"
        )
    some.set_defaults(call=run)
    comparison = commands.add_parser("compare", help="run workloads on all systems")
    comparison.add_argument(
        "--shapes", nargs="+", choices=SHAPES, metavar="SHAPE", help=", ".join(SHAPES)
    )
    for name, value in {"width": 32, "kernel": 0.0, "bytes": 16, "runs": 5}.items():
        comparison.add_argument(f"--{name}", type=type(value), default=value, help=f"{value}")
    comparison.add_argument("--steps", type=int, help="by default what a system does in a second")
    comparison.set_defaults(call=compared)
    gated = commands.add_parser("check", help="compare the instructions per job with the baseline")
    gated.add_argument("--update", action="store_true", help="write a new baseline")
    gated.set_defaults(call=lambda given: gate.check(given.update))
    again = commands.add_parser("report", help="print the tables of the last complete run")
    again.add_argument("--write", action="store_true", help="write them to docs/performance.md")
    again.set_defaults(call=reported)
    commands.add_parser("plot", help="draw the pictures").set_defaults(call=plotted)
    given = parser.parse_args()
    if given.call is run:
        given.runs = given.runs or (1 if given.quick else 5)
    return given


if __name__ == "__main__":
    given = parse()
    sys.exit(given.call(given))
