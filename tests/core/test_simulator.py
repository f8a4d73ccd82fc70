"""The simulator of pools: compared with one in plain Python, and what must hold in each run."""

import itertools
import json
import time
from collections import defaultdict
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bsbpool._core.simulation.simulator import dependencies
from bsbpool.simulation import Costs, Network, simulate
from bsbpool.simulation.leaders import groups_of
from bsbpool.simulation.model import make_simulator
from bsbpool.simulation.networks import LOCAL, NETWORKS
from bsbpool.simulation.workload import graph_of
from core.simulated_pool import Pool

COSTS = Costs(round=0.7e-6, job_sent=0.31e-6, job_done=0.23e-6, frame=0.11e-6, message=0.43e-6,
              worker_job=0.9e-6, scan=13e-9)  # fmt: skip
STEPS = (
    "round", "job_sent", "job_done", "frame", "main_frame", "message", "worker_job", "scan"
)  # fmt: skip
DURATIONS = [
    "constant:10ms", "uniform:0:1ms", "uniform:0:100us", "uniform:0:8ms", "lognormal:1us:1",
    "lognormal:2ms:1", "exponential:300us", "uniform:1s:2s",
]  # fmt: skip
GRAPHS = ["independent", "chain:4", "tree:2", "random:1", "random:3"]


def ns(values):
    return [1e9 * each for each in values]


def simulated(
    ranks, jobs, duration, graph, leaders, network, payload=(16, 8), seed=1, paced=False
):
    """Run the simulator with a trace."""
    groups = groups_of(ranks, leaders)
    s = make_simulator(groups, jobs, duration, graph, seed, trace=True)
    s.set_network(ns(NETWORKS[network]), ns(LOCAL))
    s.set_costs(*ns(COSTS.steps(groups.workers)))
    s.set_payload(*payload)
    if paced:
        s.pace_leaders()
    s.run()
    return s


def expected(
    s, ranks, jobs, graph, leaders, network, payload=(16, 8), seed=1, paced=False
):
    """Run the simulator in plain Python with the same jobs."""
    groups = groups_of(ranks, leaders)
    kind, parameter = graph_of(graph, groups.workers)
    nets = [SimpleNamespace(**dict(zip(Network._fields, ns(net), strict=True)))
            for net in (NETWORKS[network], LOCAL)]  # fmt: skip
    costs = SimpleNamespace(**dict(zip(STEPS, ns(COSTS.steps(groups.workers)), strict=True)))
    sizes = groups.sizes if groups.leaders else [groups.workers]
    pool = Pool(sizes, groups.leaders_work, ns(s.run_times),
                dependencies(kind, parameter, jobs, seed), costs, *nets, payload,
                paced)  # fmt: skip
    pool.run()
    return pool


WHERE = [("none", "ndr"), ("none", "shared-memory"), ("5", "ndr"), ("node:22", "ndr")]
CASES = list(itertools.product(DURATIONS, GRAPHS, WHERE))


@pytest.mark.parametrize(("duration", "graph", "where"), CASES)
def test_the_simulator_does_what_one_in_plain_python_does(duration, graph, where):
    leaders, network = where
    ranks = 43 if leaders == "node:22" else 11
    s = simulated(ranks, 100, duration, graph, leaders, network)
    pool = expected(s, ranks, 100, graph, leaders, network)
    assert s.results()["makespan"] == pytest.approx(pool.makespan * 1e-9, rel=1e-9)
    assert list(s.ran_on) == [pool.ran_on[job] for job in range(100)]
    assert list(s.started) == pytest.approx([pool.started[job] * 1e-9 for job in range(100)])
    assert list(s.ended) == pytest.approx([pool.ended[job] * 1e-9 for job in range(100)])


@pytest.mark.parametrize("leaders", ["5", "node:22"])
@pytest.mark.parametrize("duration", DURATIONS)
def test_paced_leaders(duration, leaders):
    """A leader has at most one bundle that main has not read."""
    case = (43, 400, "random:1", leaders, "ndr")
    s = simulated(*case[:2], duration, *case[2:], paced=True)
    pool = expected(s, *case, paced=True)
    assert s.results()["makespan"] == pytest.approx(pool.makespan * 1e-9, rel=1e-9)
    assert list(s.ran_on) == [pool.ran_on[job] for job in range(400)]


def test_paced_leaders_send_larger_bundles_to_a_busy_main():
    """Without pace, jobs that end at different times travel in a bundle of their own."""
    arguments = dict(
        ranks=8193, jobs=200_000, duration="uniform:1ms:3ms", leaders="node:128", prefetch=False
    )
    eager, paced = (simulate(**arguments, paced_leaders=pace) for pace in (False, True))
    assert paced.received < 0.5 * eager.received and paced.makespan < 0.9 * eager.makespan


def test_large_payloads_fill_frames():
    """Frames that reach the limit are sent in the middle of a round."""
    payload = 1500, 4000
    s = simulated(4, 200, "uniform:0:10us", "independent", "none", "ndr", payload)
    pool = expected(s, 4, 200, "independent", "none", "ndr", payload)
    assert s.results()["makespan"] == pytest.approx(pool.makespan * 1e-9, rel=1e-9)


def test_waiting_jobs_are_taken_back():
    """A job that waits behind a long one goes to an idle worker."""
    listed = [10e-6] * 200 + [0.5] + [10e-6] * 100
    groups = groups_of(3, None)
    s = make_simulator(groups, len(listed), listed, "independent", 0, trace=True)
    s.set_network(ns(NETWORKS["ndr"]), ns(LOCAL))
    s.set_costs(*ns(COSTS.steps(2)))
    s.run()
    assert s.results()["stolen"] > 0
    late = [job for job in range(201, 301) if s.ended[job] > 0.4]
    assert late == [] and s.results()["makespan"] < 0.51
    pool = expected(s, 3, len(listed), "independent", "none", "ndr", (0, 0))
    assert s.results()["makespan"] == pytest.approx(pool.makespan * 1e-9, rel=1e-9)


# ------------------------------------------------------------------ what must hold in each run

CASE = st.fixed_dictionaries({
    "ranks": st.integers(2, 70),
    "jobs": st.integers(1, 250),
    "duration": st.sampled_from(DURATIONS),
    "graph": st.sampled_from(GRAPHS),
    "leaders": st.sampled_from(["none", "2", "5", "20", "node:4", "node:18", "auto"]),
    "network": st.sampled_from(sorted(NETWORKS)),
    "paced": st.booleans(),
    "seed": st.integers(0, 2**32),
})  # fmt: skip


@given(CASE)
@settings(max_examples=200, deadline=None)
@example(dict(ranks=2, jobs=1, duration="constant:10ms", graph="tree:2", leaders="2",
              network="ndr", seed=0, paced=True))  # fmt: skip
def test_each_job_runs_once_after_its_dependencies_and_alone(case):
    s = simulated(**case)
    jobs, found = case["jobs"], s.results()
    groups = groups_of(case["ranks"], case["leaders"])
    assert all(0 <= worker < groups.workers for worker in s.ran_on)
    assert found["busy"] == pytest.approx(sum(s.run_times)) == pytest.approx(found["work"])
    by_worker = defaultdict(list)
    for job in range(jobs):
        # The core also refuses a second end of a job.
        assert s.ended[job] == pytest.approx(
            s.started[job] + COSTS.worker_job + s.run_times[job], abs=1e-12
        )
        by_worker[s.ran_on[job]].append((s.started[job], s.ended[job]))
    for spans in by_worker.values():
        spans.sort()
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))
    kind, parameter = graph_of(case["graph"], groups.workers)
    for job, needed in enumerate(dependencies(kind, parameter, jobs, case["seed"])):
        assert all(s.ended[other] < s.started[job] for other in needed)
    bound = max(found["critical_path"], found["work"] / groups.workers)
    assert found["makespan"] >= max(max(s.ended), bound)
    assert 0 <= found["busy_while_full"] <= found["work"] * (1 + 1e-9)


def figures(paced=False, **arguments):
    found = simulate(**arguments, paced_leaders=paced).as_dict()
    del found["cpu"]
    return found


@given(CASE)
@settings(max_examples=20, deadline=None)
def test_the_seed_decides_everything(case):
    assert figures(**case) == figures(**case)


def test_another_seed_gives_other_run_times():
    one, other = (figures(ranks=9, jobs=50, duration="exponential:1s", seed=s) for s in (1, 2))
    assert one["work"] != other["work"]


LATENCIES = (0, 1, 3, 10, 30, 100, 300, 1000, 3000)
QUICK = ["constant:10us", "constant:1ms", "constant:20ms", "constant:1s"]


@pytest.mark.parametrize("duration", QUICK)
def test_more_latency_never_takes_less_time(duration):
    """Where ranks are woken by messages, and their own work takes no time."""
    spans = [
        simulate(
            97,
            3_000,
            duration,
            network=Network(latency * 1e-6, 0.0, 0.0, 0.0, wakeup=0.0),
            costs=Costs(*[0.0] * len(Costs._fields)),
        ).makespan
        for latency in LATENCIES
    ]
    assert spans == sorted(spans) and spans[0] < spans[-1]


@pytest.mark.parametrize("leaders", ["none", "node:32", "8"])
@pytest.mark.parametrize("duration", QUICK)
def test_more_latency_hardly_ever_takes_less_time(duration, leaders):
    """A rank that polls less often, or a batch that is cut elsewhere, may gain a little."""
    networks = [f"{us}us,0.3us,0.1us,0.02ns" for us in LATENCIES]
    spans = [
        simulate(97, 3_000, duration, leaders=leaders, network=network).makespan
        for network in networks
    ]
    for before, after in itertools.combinations(spans, 2):
        assert after >= 0.96 * before
    assert spans[-1] > spans[0]


# ------------------------------------------------------------------ how good the dispatcher is


def test_random_graphs_end_near_the_bound():
    """1,000 graphs with 50 to 100 jobs for each worker; smaller ones in docs/scaling.md."""
    ratios = []
    for seed in range(1000):
        workers = (4, 8, 16, 32, 64)[seed % 5]
        graphs = "random:1", "random:2", "random:4", "tree:2", f"chain:{2 * workers}"
        graph = graphs[seed // 5 % 5]
        jobs = workers * (50 + seed % 51)
        result = simulate(workers + 1, jobs, "uniform:0:1s", graph=graph, seed=seed)
        ratios.append(result.over_bound)
    assert min(ratios) >= 1
    assert sum(ratios) / len(ratios) <= 1.05


def test_unequal_run_times_end_near_the_bound():
    for seed in range(30):
        assert simulate(65, 64 * 20, "uniform:0:1s", seed=seed).over_bound <= 1.10


# ------------------------------------------------------------------ size


@pytest.mark.timing
def test_a_million_jobs_take_little_time():
    """10 million jobs may take 5 minutes: 30 us each."""
    begin = time.process_time()
    result = simulate(4097, 1_000_000, "exponential:100ms", leaders="node:128")
    assert time.process_time() - begin < 30
    assert result.cpu < 30 and result.efficiency > 0.9


def test_a_million_workers():
    result = simulate(1 << 20, 1 << 20, "constant:1s")
    assert result.workers == (1 << 20) - 1
    assert result.bytes_per_worker <= 128 and result.bytes_per_job <= 64


def test_the_figures_are_json():
    found = json.loads(json.dumps(simulate(8, 10, [0.5, 0.25]).as_dict()))
    assert found["work"] == pytest.approx(3.75) and found["duration"] == "2 given run times"
