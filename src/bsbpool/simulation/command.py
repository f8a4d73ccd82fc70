"""The command ``bsbpool simulate``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from bsbpool.exceptions import DependencyError
from bsbpool.simulation.costs import Calibration, read_calibration
from bsbpool.simulation.model import simulate
from bsbpool.simulation.networks import NETWORKS

EXAMPLES = """
examples:
  bsbpool simulate --ranks 131072 --jobs 10000000 --duration lognormal:1s --leaders node:128
  bsbpool simulate --ranks 4096 --jobs 100000 --duration uniform:0:200ms --graph random:3
  bsbpool simulate --plot efficiency.png --leaders node:128
  bsbpool simulate --calibrate --output costs.json

exit codes: 0, or 2 for a value that is not allowed
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    given = parser().parse_args(list(arguments))
    try:
        return _run(given)
    except (TypeError, ValueError, MemoryError, DependencyError) as error:
        print(f"bsbpool simulate: error: {error}", file=sys.stderr)
        return 2


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    result = argparse.ArgumentParser(
        prog="bsbpool simulate",
        description="Predict how a pool uses many ranks: the real dispatcher on a virtual network.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = result.add_argument
    add("--ranks", type=int, default=1024, help="ranks, the main rank included (1024)")
    add("--jobs", type=int, default=100_000, help="jobs, queued before the run (100000)")
    add(
        "--duration",
        default="constant:1s",
        help="run times: constant:T, uniform:T:T, lognormal:MEDIAN[:SIGMA], exponential:MEAN, or a "
        "file with a number of seconds in each line (constant:1s)",
    )
    add("--leaders", default="none", help="none, auto, node:K or K (none)")
    add(
        "--paced-leaders",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="leaders send main one bundle at a time, as they do; default: yes",
    )
    add("--network", default="ndr", help=f"{', '.join(NETWORKS)}, or L,o,g,G of LogGP (ndr)")
    add("--graph", default="independent", help="independent, chain[:K], tree[:K] or random[:K]")
    add("--argument-bytes", type=int, default=16, help="bytes of the arguments of a job (16)")
    add("--result-bytes", type=int, default=8, help="bytes of the result of a job (8)")
    add("--no-prefetch", action="store_true", help="send each worker one job at a time")
    add("--seed", type=int, default=0, help="seed of run times and graphs (0)")
    add("--costs", metavar="FILE", help="CPU times that --calibrate has written")
    add("--json", action="store_true", help="print the figures as JSON")
    add("--plot", metavar="FILE", help="draw efficiency against ranks for several job lengths")
    add("--calibrate", action="store_true", help="measure the CPU times of this machine")
    add("--output", metavar="FILE", help="where --calibrate writes them, besides printing them")
    return result


def _run(given: argparse.Namespace) -> int:
    if given.output and not given.calibrate:
        raise ValueError("--output is for --calibrate; redirect the output of other commands")
    if given.calibrate:
        return _calibrate(given.output)
    calibration = read_calibration(given.costs) if given.costs else Calibration()
    if given.plot:
        from bsbpool.simulation.plot import draw_efficiency

        draw_efficiency(
            given.plot,
            leaders=given.leaders,
            paced_leaders=given.paced_leaders,
            network=given.network,
            seed=given.seed,
            calibration=calibration,
        )
        print(given.plot)
        return 0
    result = simulate(
        given.ranks,
        given.jobs,
        given.duration,
        leaders=given.leaders,
        network=given.network,
        graph=given.graph,
        argument_bytes=given.argument_bytes,
        result_bytes=given.result_bytes,
        paced_leaders=given.paced_leaders,
        prefetch=not given.no_prefetch,
        seed=given.seed,
        costs=calibration.costs,
        local=calibration.local,
    )
    print(json.dumps(result.as_dict(), indent=2) if given.json else result)
    return 0


def _calibrate(output: str | None) -> int:
    from bsbpool.simulation.calibrate import calibrate

    text = json.dumps(calibrate().as_dict(), indent=2)
    print(text)
    if output:
        with open(output, "w") as file:
            file.write(text + "\n")
    return 0
