"""The plan of a simulated run: jobs, deaths and settings, drawn from a seed, and shown as code."""

from dataclasses import dataclass, fields, is_dataclass, replace
from random import Random

US, MS = 1_000, 1_000_000
ALWAYS = 1000
PART = 40_000
"""A size at which bytes are sent as a part, outside of the frame."""
LARGE = 66_000
"""The size of a result that stays on its worker if other jobs need it."""


@dataclass(frozen=True)
class Options:
    priority: int = 0
    targets: tuple[int, ...] = ()  # ranks; none: all
    needs: tuple[int, ...] = ()  # the units of each kind of resource
    follow: tuple[int, ...] = ()
    grace: int = -1  # how long it prefers the ranks of these, in ns; -1: it must run there
    retries: int = 0
    lost_retries: int = 0
    elsewhere: bool = False


@dataclass(frozen=True)
class Job:
    at: int = 0  # when it is submitted, in ns from the start of its pool; 0: before the start
    duration: int = 0  # its run time in ns
    deps: tuple[int, ...] = ()
    mode: int = -1  # of the join that its dependencies are; -1: single dependencies
    fails: int = 0  # how many of its runs fail; ALWAYS: all
    unsendable: bool = False
    size: int = 0  # of its arguments
    result_size: int = 0
    items: tuple[int, ...] = ()
    takes: bool = False  # whether it gets the large results of its dependencies as data
    stays: bool = False  # whether a large result is not sent to the main rank
    function: int = 0
    options: Options | None = None


@dataclass(frozen=True)
class Cancel:
    at: int
    job: int
    running: bool = False  # whether to interrupt the job if it is running


@dataclass(frozen=True)
class Pool:
    jobs: tuple[Job, ...] = ()
    cancels: tuple[Cancel, ...] = ()
    stops_at: int = 0  # when the run is aborted; 0: never
    interrupts: bool = False  # whether that interrupts the running jobs
    evict_every: int = 0  # after how many jobs a function is evicted; 0: never
    direct: bool = False  # whether the worker loops call functions themselves
    leaders: tuple[tuple[int, int], ...] = ()  # (worker, the rank that relays its messages)
    ahead: int = 0  # how much work is sent ahead, as with many workers; 0: as with these


@dataclass(frozen=True)
class Death:
    rank: int
    at: int = -1  # at this time
    step: int = -1  # at this step of the network
    part_message: int = -1  # while it sends this message with parts
    job: int = -1  # in this one of the jobs that it runs ...
    phase: int = 0  # ... at its begin (0), in the middle (1), or at its end (2)
    n_delivered: int = -1  # how many of its messages in flight arrive; -1: all
    report_delay: int = 0  # the least time in ns until the death is reported


@dataclass(frozen=True)
class Plan:
    seed: int = 0
    workers: int = 1
    pools: tuple[Pool, ...] = ()
    deaths: tuple[Death, ...] = ()
    shares_begun: bool = True  # whether main can read which job a dead rank began last
    wakeup: bool = False  # whether a message wakes its receiver
    makes_progress: bool = False  # whether workers answer inside long jobs
    slow_sends: bool = False
    spins: bool = False  # whether ranks poll before they sleep
    latency: int = 2 * US
    preempt: int = 0


def show(thing):
    """Return Python code for a plan or a part of it, without default values."""
    if isinstance(thing, tuple):
        return "(" + "".join(f"{show(part)}, " for part in thing).rstrip(" ") + ")"
    if not is_dataclass(thing):
        return repr(thing)
    arguments = [
        f"{field.name}={show(getattr(thing, field.name))}"
        for field in fields(thing)
        if getattr(thing, field.name) != field.default
    ]
    return f"{type(thing).__name__}({', '.join(arguments)})"


# ------------------------------------------------------------------ drawing


def spread(r, low, high):
    """Draw an integer whose logarithm is uniform."""
    return int(low * (high / low) ** r.random())


def draw(seed):
    """Return the plan of a seed."""
    r = Random(seed)
    workers = r.choice([1, 1, 2, 2, 3, 3, 4, 6])
    n_pools = r.choice([1, 1, 1, 1, 2, 3])
    plan = add_options(
        Plan(
            seed,
            workers,
            tuple(draw_pool(r, workers, n_pools) for _ in range(n_pools)),
            draw_deaths(r, workers),
            shares_begun=r.random() < 0.5,
            wakeup=r.random() < 0.6,
            makes_progress=r.random() < 0.6,
            slow_sends=r.random() < 0.3,
            spins=r.random() < 0.1,
            latency=r.choice([200, 2 * US, 2 * US, 50 * US, 2 * MS]),
            preempt=r.choice([0, 5, 20, 100]),
        ),
        Random(-1 - seed),
    )
    plan = add_leaders(plan, Random(f"leaders {seed}"))
    return add_ahead(plan, Random(f"ahead {seed}"))


def add_ahead(plan, r):
    """Let workers hold replies back, in a quarter of the plans."""
    if r.random() < 0.75:
        return plan
    ahead = [r.choice([2 * MS, 10 * MS, 100 * MS]) for _ in plan.pools]
    pools = (replace(pool, ahead=ns) for pool, ns in zip(plan.pools, ahead, strict=True))
    return replace(plan, pools=tuple(pools))


def add_leaders(plan, r):
    """Let leaders relay messages, in a third of the plans with several workers."""
    if plan.workers < 2 or r.random() < 0.67:
        return plan
    pools = []
    for pool in plan.pools:
        size = r.choice([2, 3, plan.workers])  # of a group
        first = r.randrange(1, 3)  # workers before it have no leader
        leader_of = {rank: rank - (rank - first) % size for rank in range(first, plan.workers + 1)}
        pairs = tuple((rank, leader) for rank, leader in leader_of.items() if rank != leader)
        pools.append(replace(pool, leaders=pairs if r.random() < 0.8 else ()))
    return replace(plan, pools=tuple(pools), makes_progress=True)


def add_options(plan, r):
    """Give the jobs of a plan options, with a probability that is drawn for each pool."""
    pools = []
    for pool in plan.pools:
        p = r.choice([0, 0, 0.05, 0.3, 1])
        kind = r.choice(
            [(0.3, 0.3, 0.3, 0.3), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
        )
        jobs = tuple(
            draw_options(r, job, number, plan.workers, kind) if r.random() < p else job
            for number, job in enumerate(pool.jobs)
        )
        pools.append(replace(pool, jobs=jobs))
    return replace(plan, pools=tuple(pools))


def draw_options(r, job, number, workers, kind):
    p_priority, p_place, p_needs, p_retries = kind
    options = {}
    if r.random() < p_priority:
        options["priority"] = r.randrange(-2, 3)
    if r.random() < p_place and r.random() < 0.5:
        options["targets"] = tuple(r.sample(range(1, workers + 1), r.randrange(1, workers + 1)))
    elif r.random() < p_place and job.deps:
        options.update(follow=job.deps[:1], grace=r.choice([-1, 0, spread(r, US, 10 * MS)]))
    if r.random() < p_needs:
        options["needs"] = (r.randrange(3), r.randrange(3))
    fails = job.fails
    if r.random() < p_retries:
        options.update(
            retries=r.randrange(3), lost_retries=r.randrange(3), elsewhere=r.random() < 0.5
        )
        fails = max(fails, r.choice([0, 0, 1, 2, 3]))
    return replace(job, fails=fails, options=Options(**options))


LOADS = [(US, 20 * US), (US, 20 * US), (20 * US, MS), (MS, 100 * MS), (US, 100 * MS)]

LONG = (5 * MS, 100 * MS)
MODES = (0, 0, 1, 2, 2, 3, -1)  # of joins; the last one is the most frequent


def draw_pool(r, workers, n_pools):
    n = r.randrange(1, 30 if n_pools > 1 else 80) if r.random() < 0.7 else r.randrange(1, 12)
    load, reach = r.choice(LOADS), r.choice([2, 5, 40])
    width = r.choice([(0,), (0,), (0, 0, 0, 0, 1), (0, 0, 1, 2), (0, 1, 2, 4)])
    p_fails, p_items = r.choice([0, 0, 0.02, 0.2]), r.choice([0, 0, 0.5])
    p_parts, p_late = r.choice([0, 0, 0.1]), r.choice([0, 0, 0.3, 0.9])
    p_long = r.choice([0, 0, 0, 0.05])
    p_data = r.choice([0, 0, 0, 0.5])
    durations = [spread(r, *(LONG if r.random() < p_long else load)) for _ in range(n)]
    span = min(200 * MS, int(max(20 * US, sum(durations) / workers) * r.uniform(0.1, 1.2)))
    times = sorted(r.randrange(1, span) if r.random() < p_late else 0 for _ in range(n))
    jobs = []
    for number, at in enumerate(times):
        near = range(max(0, number - reach), number)
        jobs.append(
            Job(
                at,
                duration=durations[number],
                deps=tuple(sorted(r.sample(near, min(len(near), r.choice(width))))),
                mode=MODES[min(int(r.random() * 30), len(MODES) - 1)],
                fails=ALWAYS if r.random() < p_fails else 0,
                unsendable=r.random() < p_fails / 5,
                size=PART if r.random() < p_parts else 0,
                result_size=LARGE if r.random() < p_data else PART if r.random() < p_parts else 0,
                takes=r.random() < 2 * p_data,
                stays=r.random() < p_data,
                items=tuple(r.sample(range(4), 2)) if r.random() < p_items else (),
                function=r.randrange(3),
            )
        )
    n_cancels = r.choice([0, 0, 2, n // 3])
    stops = r.random() < (0.4 if n_pools > 1 else 0.07)
    return Pool(
        tuple(jobs),
        tuple(
            Cancel(r.randrange(1, span), r.randrange(n), r.random() < 0.7) for _ in range(n_cancels)
        ),
        stops_at=r.randrange(1, span) if stops else 0,
        interrupts=r.random() < 0.5,
        evict_every=r.choice([0, 0, 3]),
        direct=r.random() < 0.5,
    )


def draw_deaths(r, workers):
    ranks = range(1, workers + 1)
    n = r.choice([0, 0, 1, 1, 1, 2, 2, workers])
    at = spread(r, US, 30 * MS)
    together = r.random() < 0.5
    return tuple(
        Death(
            rank,
            **({"at": at} if together else draw_moment(r)),
            n_delivered=r.choice([-1, -1, -1, 0, 1, 2]),
            report_delay=spread(r, 100, 50 * MS),
        )
        for rank in r.sample(ranks, min(n, workers))
    ) + ((Death(0, at=at, report_delay=spread(r, 100, 50 * MS)),) if r.random() < 0.03 else ())


def draw_moment(r):
    kind = r.choice(["at", "step", "step", "part_message", "job", "job"])
    if kind == "job":
        return {"job": r.randrange(1, 30), "phase": r.randrange(3)}
    top = {"at": 50 * MS, "step": 1000, "part_message": 4}[kind]
    return {kind: spread(r, 1, top)}
