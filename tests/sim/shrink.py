"""Makes a failing plan smaller, as long as it still fails."""

from dataclasses import fields, is_dataclass, replace

TRIES = 400
"""The largest number of plans that are run."""
SEEDS = 3
"""How many seeds each plan is run with, since fewer jobs change the order of all events."""

JOB_FIELDS = (
    "deps", "mode", "items", "size", "result_size", "takes", "stays", "fails", "unsendable",
    "function", "options",
)  # fmt: skip


def shrink(plan, failure_of, tries=TRIES):
    """Return a smaller plan that fails, and its error.

    Parameters
    ----------
    plan : Plan
        A plan that fails.
    failure_of : callable
        Runs a plan and returns its error, or None.
    """
    failure = failure_of(plan)
    again = True
    while again and tries > 0:
        again = False
        for smaller in smaller_plans(plan):
            for seed in range(plan.seed, plan.seed + SEEDS):
                tries -= 1
                found = failure_of(replace(smaller, seed=seed))
                if found is not None:
                    plan, failure, again = replace(smaller, seed=seed), found, True
                    break
            if again or tries <= 0:
                break
    return plan, failure


def smaller_plans(plan):
    """Yield smaller plans, those with the largest difference first."""
    if len(plan.pools) > 1:
        for place in range(len(plan.pools)):
            yield replace(plan, pools=without(plan.pools, place))
    for place in range(len(plan.deaths)):
        yield replace(plan, deaths=without(plan.deaths, place))
    if plan.workers > 1:
        deaths = tuple(death for death in plan.deaths if death.rank < plan.workers)
        yield replace(plan, workers=plan.workers - 1, deaths=deaths)
    for place, pool in enumerate(plan.pools):
        for smaller in smaller_pools(pool):
            pools = (*plan.pools[:place], smaller, *plan.pools[place + 1 :])
            yield replace(plan, pools=pools)
    settings = ("wakeup", "makes_progress", "slow_sends", "spins", "preempt", "latency")
    yield from plainer(plan, settings)


def smaller_pools(pool):
    n = len(pool.jobs)
    step = n // 2
    while step:
        for first in range(0, n, step):
            yield without_jobs(pool, first, min(n, first + step))
        step //= 2
    for place in range(len(pool.cancels)):
        yield replace(pool, cancels=without(pool.cancels, place))
    options = ("stops_at", "interrupts", "evict_every", "direct", "leaders", "ahead")
    yield from plainer(pool, options)
    for name in ("at", *JOB_FIELDS):  # of all jobs at once, as `at` is their order
        plain = tuple(defaulted(job, name) for job in pool.jobs)
        if plain != pool.jobs:
            yield replace(pool, jobs=plain)
    for place, job in enumerate(pool.jobs):
        for smaller in plainer(job, JOB_FIELDS):
            yield replace(pool, jobs=(*pool.jobs[:place], smaller, *pool.jobs[place + 1 :]))


def without(parts, place):
    return parts[:place] + parts[place + 1 :]


def without_jobs(pool, first, end):
    """Return a pool without some jobs, with the other jobs renumbered."""
    places = {}
    for place in range(len(pool.jobs)):
        if not first <= place < end:
            places[place] = len(places)
    jobs = tuple(
        replace(
            pool.jobs[place],
            deps=tuple(places[dep] for dep in pool.jobs[place].deps if dep in places),
            options=renumbered(pool.jobs[place].options, places),
        )
        for place in places
    )
    cancels = tuple(
        replace(cancel, job=places[cancel.job]) for cancel in pool.cancels if cancel.job in places
    )
    return replace(pool, jobs=jobs, cancels=cancels)


def renumbered(options, places):
    if options is None:
        return None
    return replace(options, follow=tuple(places[job] for job in options.follow if job in places))


def plainer(thing, names):
    """Yield `thing` with one of the fields `names` set to its default."""
    for name in names:
        plain = defaulted(thing, name)
        if plain != thing:
            yield plain


def defaulted(thing, name):
    assert is_dataclass(thing)
    [default] = [field.default for field in fields(thing) if field.name == name]
    return replace(thing, **{name: default})


def failure_of(plan, run):
    """Run a plan; return its error, or None."""
    try:
        run(plan)
    except Exception as error:
        return error
    return None
