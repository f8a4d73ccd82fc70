"""The bench suite's own arithmetic: shapes, METG, the gate's verdicts, the history, the tables."""

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # benches are no part of the package

from benches import compare, environment, gate, history, measuring, metg, report, workloads
from benches.measuring import Figure
from benches.targets import all_targets, scale
from benches.targets.kinds import Target, at_least, at_most, case
from benches.workloads import SHAPES, tasks

from bsbpool.simulation.costs import Calibration

# ------------------------------------------------------------------ shapes


def by_point(shape, width, steps):
    """Return {(step, point): points of the step before}, checking that there is nothing else."""
    graph = tasks(shape, width, steps)
    places = [
        (step, point)
        for step in range(steps)
        for point in range(workloads.width_of(shape, width, step))
    ]
    assert len(graph) == len(places)
    found = {}
    for place, needed in zip(places, graph, strict=True):
        steps_before = {places[number][0] for number in needed}
        assert steps_before <= {place[0] - 1}
        found[place] = {places[number][1] for number in needed}
        assert len(found[place]) == len(needed), "a dependency twice"
    return found


def slow_oracle(shape, width, point, other, step):
    """Say whether `point` of a step waits for `other` of the step before, by the definition."""
    return {
        "trivial": False,
        "chain": point == other,
        "stencil": abs(point - other) <= 1,
        "tree": other == point // 2,
        "barrier": True,
    }[shape]


@pytest.mark.parametrize("shape", ["trivial", "chain", "stencil", "tree", "barrier"])
@pytest.mark.parametrize("width", [1, 2, 5, 8])
def test_a_shape_is_what_its_name_says(shape, width):
    for (step, point), needed in by_point(shape, width, 6).items():
        before = range(workloads.width_of(shape, width, step - 1)) if step else ()
        assert needed == {
            other for other in before if slow_oracle(shape, width, point, other, step)
        }


def test_a_tree_doubles():
    assert len(tasks("tree", 8, 6)) == 1 + 2 + 4 + 8 + 8 + 8


def test_butterflies_bring_everything_to_everyone():
    levels, width = 3, 8
    graph = by_point("fft", width, levels + 1)
    for point in range(width):
        heard = {point}
        for step in range(levels, 0, -1):
            for one in heard:
                assert len(graph[step, one]) == 2
            heard = set().union(*(graph[step, one] for one in heard))
        assert heard == set(range(width))


def test_butterflies_start_over_and_are_cut_at_the_width():
    graph = by_point("fft", 8, 6)
    assert {point: graph[4, point] for point in range(8)} == {p: graph[1, p] for p in range(8)}
    for (step, point), needed in by_point("fft", 6, 5).items():
        assert not step or (point in needed and needed <= set(range(6)))


def test_random_graphs_repeat_and_are_wide():
    assert tasks("random", 10, 5) == tasks("random", 10, 5)
    graph = by_point("random", 10, 5)
    assert {len(needed) for (step, _), needed in graph.items() if step} == {3}
    assert len({frozenset(needed) for needed in graph.values()}) > 20
    assert tasks("random", 1, 3) == [(), (0,), (1,)]


@pytest.mark.parametrize("shape", SHAPES)
def test_no_task_waits_for_a_later_one(shape):
    graph = tasks(shape, 7, 5)
    assert all(other < number for number, needed in enumerate(graph) for other in needed)
    assert len(graph) == sum(workloads.width_of(shape, 7, step) for step in range(5))


def test_tasks_of_a_step_share_their_dependencies():
    graph = tasks("barrier", 50, 3)
    assert len({id(needed) for needed in graph[50:]}) == 2


# ------------------------------------------------------------------ METG


@pytest.mark.parametrize("overhead", [0.7, 3.0, 40.0, 900.0])
@pytest.mark.parametrize("guess", [1.0, 30.0, 5000.0])
def test_metg_of_a_constant_overhead_is_that_overhead(overhead, guess):
    found = metg.metg(lambda grain: grain / (grain + overhead), guess)
    assert found == pytest.approx(overhead, rel=0.02)


def test_metg_lies_between_two_measurements():
    assert metg.between((10, 0.25), (20, 0.75)) == pytest.approx(200**0.5)
    assert metg.between((20, 0.5), (10, 0.1)) == pytest.approx(20)


def test_metg_gives_up_on_what_is_never_efficient():
    with pytest.raises(ValueError, match="10%"):
        metg.metg(lambda grain: 0.1, 1.0, probes=4)


# ------------------------------------------------------------------ the gate

OLD = {"core": 100.0, "serial": 1000.0}


@pytest.mark.parametrize(
    ("serial", "word", "code"),
    [
        (1000, "as before", 0),
        (1030, "as before", 0),
        (1031, "WORSE", 1),
        (971, "as before", 0),
        (960, "better", 0),
    ],
)
def test_the_gate_fails_beyond_three_percent(serial, word, code, capsys):
    verdicts = gate.judge(OLD, {"core": 100.0, "serial": serial})
    assert [verdict.word for verdict in verdicts] == ["as before", word]
    assert gate.conclude(verdicts, []) == code
    said = capsys.readouterr().out
    assert ("--update" in said) == (word == "better")
    if code:
        assert "serial" in said and "1,031" in said and "1,000" in said and "+3.1%" in said


def test_the_gate_does_not_compare_other_toolchains(capsys):
    here = {"compiler": "GCC: 12", "libc": "glibc 2.36"}
    other = gate.differences(here, {**here, "compiler": "GCC: 13"})
    assert gate.conclude(gate.judge(OLD, {"core": 900.0}), other) == 0
    assert "Not compared" in (said := capsys.readouterr().out) and "GCC: 13" in said
    assert gate.differences(here, dict(here)) == []
    assert gate.differences({}, here) == []


def test_the_gate_lets_a_new_count_in(capsys):
    assert gate.conclude(gate.judge(OLD, {"bulk": 5.0}), []) == 0
    assert "--update" in capsys.readouterr().out


def test_the_baseline_says_what_it_was_counted_with():
    baseline = json.loads(gate.BASELINE.read_text())
    assert set(baseline["instructions"]) <= set(gate.JOBS)
    assert {"python", "compiler", "libc"} <= set(baseline["toolchain"])


def test_the_toolchain_is_read_from_the_core():
    here = environment.toolchain()
    assert re.match("GCC|clang", here["compiler"])
    assert re.match(r"\d", here["cython"])


# ------------------------------------------------------------------ history and reports


def test_history_round_trip(tmp_path):
    file = tmp_path / "history.jsonl"
    assert history.read("run", file) == []
    lines = [{"kind": "run", "n": 1}, {"kind": "check", "n": 2}, {"kind": "run", "n": 3}]
    for line in lines:
        history.append(line, file)
    assert history.read("run", file) == [lines[0], lines[2]]
    assert history.read("check", file) == [lines[1]]


def test_the_history_in_git_can_be_read():
    for line in history.read("run"):
        assert {"commit", "machine", "figures"} <= set(line)
        report.targets(all_targets(), line["figures"])


FAST, SLOW = case("noop", 2, jobs=10), case("loop", 2, jobs=10)
TARGET = Target(
    "speed",
    "how fast",
    {"fast": FAST, "slow": SLOW},
    (
        at_least("ratio", "over slow", 2, lambda r: r["slow"]["s"] / r["fast"]["s"]),
        at_most("cost", "a job", 1.5, lambda r: r["fast"]["s"], "us"),
    ),
)


def test_figures_are_medians_of_what_each_round_gave():
    rounds = [{FAST: {"s": 1}, SLOW: {"s": slow}} for slow in (2, 9, 4)]
    assert measuring.evaluate(TARGET, rounds)["ratio"] == Figure(4, 2, 9)


def test_a_figure_without_its_programs_is_not_measured():
    figures = measuring.evaluate(TARGET, [{FAST: {"s": 1}}])
    assert figures == {"ratio": Figure(None), "cost": Figure(1, 1, 1)}
    written = {f"speed.{name}": figure._asdict() for name, figure in figures.items()}
    text = report.targets({"speed": TARGET}, written)
    assert "not measured" in text and re.search(r"<= 1.5 us +\| 1.00 us", text)


def test_the_table_says_what_is_met():
    figures = {
        "speed.ratio": {"value": 1.9, "least": 1.0, "most": 3.0},
        "speed.cost": {"value": 1.5, "least": 1.0, "most": 2.0},
    }
    head, _, ratio, cost = report.targets({"speed": TARGET}, figures).splitlines()
    assert len({len(line) for line in (head, ratio, cost)}) == 1
    assert [cell.strip() for cell in ratio.split("|")][3:7] == [
        ">= 2x",
        "1.90x",
        "1.00x - 3.00x",
        "NO",
    ]
    assert cost.split("|")[6].strip() == "yes"


def test_medians_of_what_programs_print():
    rounds = [{"a": {"s": n, "all": [n, 2 * n]}} for n in (1, 5, 3)]
    assert measuring.medians(rounds) == {"a": {"s": 3, "all": [3, 6]}}


def test_the_main_line_of_an_output():
    assert report.main_line("x\nValueError: no\nMPI_Abort(1)") == "ValueError: no"
    assert report.main_line("") == "it printed nothing"


def test_targets_are_complete():
    for quick in (False, True):
        found = all_targets(quick)
        assert len(found) == 27
        for target in found.values():
            names = [check.name for check in target.checks]
            assert len(set(names)) == len(names) > 0
            for program in target.cases.values():
                module = program.args()[0].replace(".", "/") + ".py"
                assert (environment.ROOT / module).exists()
                assert program.env != "openmpi" or "openmpi" in program.label()


def test_predictions_of_real_runs():
    real = {"ranks": 3, "jobs": 100, "run": 0.01, "listed": [0.02, 0.02], "seconds": 0.5, "cpu": 1}
    found = scale.predicted(real, Calibration().as_dict())
    assert found["seconds"] == pytest.approx(0.5, rel=0.02) and 0 < found["cpu"] < 0.01
    costs = {"costs": Calibration().as_dict(), scale.name_of(2, 100): {**real, "cpu": found["cpu"]}}
    rate, cpu = (
        check.derive(costs)
        for check in all_targets()["scale"].checks
        if check.name.endswith("2 ranks, 100 us")
    )
    assert rate < 5 and cpu == pytest.approx(0)


def test_left_out_is_what_cannot_be_run(capsys):
    runner = measuring.Runner()
    there_is_no = case("noop", needs="no_such_module_at_all")
    assert runner.rounds([there_is_no, case("noop", env="openmpi")], runs=2) == [{}, {}]
    assert "no_such_module_at_all" in runner.left_out[there_is_no]
    assert len(runner.left_out) == 2 and not runner.failed


def test_a_program_runs_and_prints_its_figures():
    runner, serial = measuring.Runner(), case("noop", jobs=50)
    (taken,) = runner.rounds([serial], runs=1)
    assert runner.failed == {} and taken[serial]["jobs"] == 50 and taken[serial]["seconds"] > 0


def test_a_failing_program_is_told_and_left_out(capsys):
    runner, wrong = measuring.Runner(), case("noop", no_such_option=1)
    assert runner.rounds([wrong], runs=3) == [{}, {}, {}]
    assert "no_such_option" in runner.failed[wrong] and "FAILED" in capsys.readouterr().err


def test_systems_are_compared_by_shape():
    known = compare.cases(["chain"], width=2)
    rounds = [{known["hand"]: {"chain": {"jobs": 10, "seconds": s, "cpu": s}}} for s in (1, 2, 3)]
    compared = compare.summary(known, rounds)
    assert compared == {"hand": {"chain": {"jobs": 10, "seconds": 2, "cpu": 2}}}
    assert re.search(
        r"mpi4py loop +\| 10 +\| 5 \(200,000.0\)", report.systems(compare.TITLES, compared)
    )
