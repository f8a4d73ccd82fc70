"""`bsbpool simulate` and `bsbpool.simulation`: arguments, tables, pictures and measurements."""

import json
import subprocess
import sys

import pytest

from bsbpool import cli
from bsbpool._core.simulation.loopback import Loopback
from bsbpool.simulation import Costs, Network, simulate
from bsbpool.simulation.calibrate import LONG_NS, calibrate, measure_main
from bsbpool.simulation.costs import Calibration, read_calibration
from bsbpool.simulation.leaders import groups_of
from bsbpool.simulation.networks import NETWORKS, network_of
from bsbpool.simulation.units import bytes_text, seconds_of
from bsbpool.simulation.workload import durations_of

# ------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("20ms", 0.02), ("1.5", 1.5), ("3us", 3e-6), ("2min", 120), ("1e3ns", 1e-6), ("1h", 3600)],
)
def test_times_have_units(text, seconds):
    assert seconds_of(text, "duration") == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (dict(ranks=1), ["ranks", "from 2", "got 1"]),
        (dict(ranks=2.5), ["ranks", "whole number", "2.5"]),
        (dict(jobs=0), ["jobs", "from 1", "got 0"]),
        (dict(jobs=True), ["jobs", "True"]),
        (dict(seed=-1), ["seed", "-1"]),
        (dict(result_bytes=-5), ["result_bytes", "-5"]),
        (dict(duration="gaussian:1s"), ["duration", "gaussian:1s", "lognormal:MEDIAN"]),
        (dict(duration="uniform:1s"), ["duration", "uniform:1s", "uniform:TIME:TIME"]),
        (dict(duration="uniform:2s:1s"), ["duration", "uniform:2s:1s", "before it begins"]),
        (dict(duration="constant:fast"), ["duration", "fast", "20ms"]),
        (dict(duration="lognormal:1s:x"), ["sigma", "0 to 10", "lognormal:1s:x"]),
        (dict(duration=-1.0), ["duration", "-1.0"]),
        (dict(duration=[]), ["duration", "at least one"]),
        (dict(duration=[1.0, float("nan")]), ["duration", "nan"]),
        (dict(leaders="node"), ["leaders", "node", "node:K"]),
        (dict(leaders=1), ["leaders", "1", "at least 2"]),
        (dict(leaders="rack:4"), ["leaders", "rack:4", "auto"]),
        (dict(network="ethernet"), ["network", "ethernet", "slingshot"]),
        (dict(network="1us,2us"), ["network", "L,o,g,G"]),
        (dict(network=3), ["network", "3"]),
        (dict(graph="ring"), ["graph", "ring", "tree[:K]"]),
        (dict(graph="chain:0"), ["graph", "chain:0", "from 1"]),
        (dict(graph="random:99"), ["graph", "random:99", "32"]),
        (dict(graph="independent:2"), ["graph", "independent:2"]),
    ],
)
def test_wrong_arguments_are_named(wrong, words):
    with pytest.raises((TypeError, ValueError)) as caught:
        simulate(**{"ranks": 4, "jobs": 10, **wrong})
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_file_of_run_times(tmp_path):
    file = tmp_path / "times"
    file.write_text("0.5\n\n0.25\n")
    assert simulate(2, 4, str(file)).work == pytest.approx(1.5)
    for text, word in ("", "empty"), ("1\nx\n", "number"), ("-1\n", "-1"):
        file.write_text(text)
        with pytest.raises(ValueError, match=word):
            simulate(2, 4, str(file))


def test_means_of_durations():
    assert durations_of("uniform:1s:3s").mean() == 2
    assert durations_of("exponential:3s").mean() == 3
    assert durations_of("lognormal:1s:1").mean() == pytest.approx(1.6487, rel=1e-4)
    assert durations_of([1.0, 3.0]).mean() == 2
    for duration in ("uniform:1s:3s", "exponential:3s", "lognormal:1s:1", "lognormal:2s"):
        work = simulate(33, 20_000, duration).work / 20_000
        assert work == pytest.approx(durations_of(duration).mean(), rel=0.03)


@pytest.mark.parametrize(
    ("ranks", "leaders", "sizes", "work"),
    [
        (5, None, [0, 4], []),
        (5, "none", [0, 4], []),
        (1000, "auto", [0, 999], []),
        (256, "node:128", [126, 127], [False, False]),
        (9, 4, [4, 4], [True, True]),
        (41, "20", [19, 19], [False, False]),
        (37, 18, [17, 17], [False, False]),
        (35, 17, [16, 16], [False, False]),
        (33, 16, [16, 16], [True, True]),
        (130, "node:128", [126, 2], [False, True]),
        (3, "node:2", [1, 1], [True, True]),
    ],
)
def test_groups_of_leaders(ranks, leaders, sizes, work):
    groups = groups_of(ranks, leaders)
    assert (groups.sizes, groups.leaders_work) == (sizes, work)
    assert groups.workers + work.count(False) + 1 == ranks


def test_auto_uses_leaders_on_many_nodes():
    assert groups_of(4096, "auto") == groups_of(4096, "node:128")


def test_networks():
    assert network_of("1us,0.5us,0.25us,1ns") == Network(1e-6, 0.5e-6, 0.25e-6, 1e-9)
    assert network_of(NETWORKS["ndr"]) is NETWORKS["ndr"]
    slow = simulate(9, 100, "constant:1ms", network="1ms,1us,1us,1ns")
    assert slow.makespan > 1.5 * simulate(9, 100, "constant:1ms").makespan
    assert "0.001" in simulate(9, 10, network=Network(1e-3, 0, 0, 0)).network


def test_large_arguments_take_time():
    small, large = (simulate(9, 100, "constant:1ms", argument_bytes=n) for n in (16, 10**7))
    assert large.makespan > 1.5 * small.makespan and large.bytes_moved > 10**9


def test_without_prefetch_each_message_has_one_job():
    result = simulate(5, 1000, "constant:10us", prefetch=False)
    assert result.received == 1000 > 10 * simulate(5, 1000, "constant:10us").received


# ------------------------------------------------------------------ what limits a run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(ranks=9, jobs=1000, duration="constant:100ms"), "the workers"),
        (dict(ranks=9, jobs=20, duration="constant:100ms"), "the number of jobs"),
        (dict(ranks=4097, jobs=200_000, duration="constant:1ms"), "the main rank"),
        (dict(ranks=9, jobs=100, duration="constant:100ms", graph="chain:1"), "the dependencies"),
        (dict(ranks=9, jobs=500, duration="constant:3ms", network="5ms,1us,1us,0ns"), "round trip"),
    ],
)
def test_the_limit_in_words(arguments, words):
    assert words in simulate(**arguments).limit


def test_leaders_reduce_the_load_of_main():
    one, two = (
        simulate(16_385, 500_000, "constant:2ms", leaders=each) for each in (None, "node:128")
    )
    assert one.main_load > 0.9
    assert two.sent < one.sent and two.main_busy < one.main_busy
    assert "leaders reduce" in one.limit and two.leader_load > 0


# ------------------------------------------------------------------ the command


def run(capsys, *arguments):
    code = cli.main(["simulate", *arguments])
    return code, *capsys.readouterr()


def test_the_table(capsys):
    code, out, err = run(capsys, "--ranks", "65", "--jobs", "2000", "--duration", "lognormal:20ms",
                         "--leaders", "node:32", "--graph", "random:1", "--seed", "3")  # fmt: skip
    assert (code, err) == (0, "")
    names = [line.partition("  ")[0] for line in out.splitlines()]
    assert names[:4] == ["ranks, workers, leaders", "jobs", "network", "makespan"]
    assert {"bound", "efficiency", "load of main", "ready jobs", "limited by"} <= set(names)


def test_json(capsys):
    arguments = "--ranks", "9", "--jobs", "50", "--json"
    found = json.loads(run(capsys, *arguments)[1])
    assert found["jobs"] == 50 and 0.8 < found["efficiency"] < 1
    again = json.loads(run(capsys, *arguments)[1])
    assert {**found, "cpu": 0} == {**again, "cpu": 0}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--duration", "soon"], "lognormal"),
        (["--ranks", "0"], "ranks"),
        (["--costs", "no-such-file"], "--calibrate"),
        (["--output", "x"], "--calibrate"),
    ],
)
def test_errors_of_the_command(capsys, arguments, word):
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "") and err.startswith("bsbpool simulate: error: ") and word in err


def test_the_command_imports_no_matplotlib_and_no_mpi():
    program = (
        "import sys; from bsbpool import cli; cli.main(['simulate', '--jobs', '10']);"
        "assert not {'matplotlib', 'mpi4py', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_picture_needs_matplotlib(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = run(capsys, "--plot", "x.png")
    assert code == 2 and "bsbpool[plots]" in err


def test_efficiency_falls_where_main_is_the_limit():
    from bsbpool.simulation.plot import efficiencies

    found = efficiencies("1ms", (16, 256, 4096))
    assert found[0] > 0.9 > found[2] and found == sorted(found, reverse=True)
    with pytest.raises(ValueError, match="duration"):
        efficiencies("soon")


# ------------------------------------------------------------------ measurements


def test_the_real_loop_runs_with_virtual_workers():
    alone = measure_main(ranks=9, jobs=500)
    assert (alone.jobs, alone.messages) == (500, 500) and alone.seconds > 0
    batched = measure_main(ranks=3, jobs=2000, run_ns=0)
    assert batched.messages < 200
    assert measure_main(ranks=9, jobs=500, active=3).messages == 500
    assert measure_main(ranks=2, jobs=50, hidden=3).messages == 50


def test_workers_that_do_not_exist_have_no_state():
    loopback = Loopback(5, LONG_NS)
    assert (loopback.n_messages, loopback.n_jobs, loopback.spent_ns) == (0, 0, 0)


def test_calibration_round_trip(tmp_path, capsys):
    found = calibrate(jobs=2000, workers=64, many=512)
    assert found.costs.job_sent > 0 and all(cost >= 0 for cost in found.costs)
    file = tmp_path / "costs.json"
    file.write_text(json.dumps(found.as_dict()))
    assert read_calibration(str(file)) == found
    assert run(capsys, "--ranks", "9", "--jobs", "50", "--costs", str(file))[0] == 0
    with pytest.raises(ValueError, match="many must be larger"):
        calibrate(workers=10, many=10)


@pytest.mark.parametrize("text", ["{", "{}", '{"costs": {}, "local": {}, "sleep": 1}', "[]"])
def test_other_files_are_refused(tmp_path, text):
    file = tmp_path / "costs.json"
    file.write_text(text)
    with pytest.raises(ValueError, match="bsbpool simulate --calibrate"):
        read_calibration(str(file))


def test_costs_grow_with_the_number_of_workers():
    few, many = (Costs().steps(workers) for workers in (32, 1 << 20))
    assert few[4] == Costs().frame and many[4] == pytest.approx(Costs().frame + 10 * Costs().cold)
    assert Calibration().costs == Costs()


@pytest.mark.timing
def test_idle_workers_cost_a_job_nothing():
    """The cost of a job on main with many idle workers, without the start and end of the run."""

    def cost(workers):
        few, many = (
            min(measure_main(workers + 1, n, active=32).seconds for _ in range(3))
            for n in (5_000, 45_000)
        )
        return (many - few) / 40_000

    assert cost(100_000) <= 1.5 * cost(32)


# ------------------------------------------------------------------ texts


def test_texts_of_sizes():
    assert [bytes_text(n) for n in (5, 2048, 3 << 20, 1 << 30)] == [
        "5 B", "2.0 KiB", "3.0 MiB", "1.0 GiB"
    ]  # fmt: skip
