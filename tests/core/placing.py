"""What the assignment of jobs with options promises, checked action by action.

Nothing here decides where a job goes: each decision of the engine is compared with all that it had
to respect at that moment.
"""


def check_order(pair, waiting, worker, job):
    """Check a job that was just sent, while the jobs `waiting` waited, itself among them."""
    oracle, entry = pair.oracle, pair.oracle.jobs[job]
    assert worker in takers(pair, job), f"worker {worker} may not get job {job} now"
    preferred = oracle.preferred(job)
    if preferred and worker not in preferred:
        assert not takers(pair, job) & preferred, f"job {job} could go to {preferred}"
        hopes = oracle.allowed(job) & preferred
        assert not hopes or oracle.now >= entry.deadline, f"job {job} waits for {hopes}"
    for earlier in waiting[: waiting.index(job)]:
        assert must_wait(pair, waiting, earlier), f"job {earlier} comes before job {job}"
    for earlier in waiting[: waiting.index(job)]:
        assert not holds(pair, earlier, worker), f"worker {worker} is kept for job {earlier}"


def check_rest(pair, waiting):
    """Check that none of the jobs that still wait could have been sent."""
    for job in waiting:
        assert must_wait(pair, waiting, job), f"job {job} could run on {takers(pair, job)}"


def takers(pair, job):
    """Return the workers that may get a job now."""
    oracle, entry = pair.oracle, pair.oracle.jobs[job]
    return {
        worker
        for worker in oracle.allowed(job) - oracle.held
        if len(oracle.chains[worker]) < (1 if entry.alone else pair.engine.credit(worker))
        and oracle.has(worker, entry.options.needs)
    }


def holds(pair, job, worker):
    """Whether a job that must not wait behind others could keep a worker from getting more jobs."""
    return (
        pair.oracle.jobs[job].alone
        and not takers(pair, job)
        and kept_for(pair, job) == {worker}
        and not waits_for_preferred(pair, [job], job)
    )


def kept_for(pair, job):
    """Return the workers of which a job keeps one with the fewest jobs."""
    oracle, entry = pair.oracle, pair.oracle.jobs[job]
    return {
        worker
        for worker in oracle.allowed(job) - oracle.held
        if 0 < len(oracle.chains[worker]) < pair.engine.credit(worker)
        and oracle.has(worker, entry.options.needs)
    }


def waits_for_preferred(pair, waiting, job):
    """Whether a job, or one before it with the same conditions, waits for its preferred workers."""
    oracle = pair.oracle
    for earlier in waiting[: waiting.index(job) + 1]:
        hopes = oracle.allowed(earlier) & oracle.preferred(earlier)
        same = conditions(oracle, earlier) == conditions(oracle, job)
        if same and hopes and oracle.now < oracle.jobs[earlier].deadline:
            return True
    return False


def conditions(oracle, job):
    entry = oracle.jobs[job]
    return (
        entry.options.targets, entry.options.needs, entry.options.grace, entry.alone,
        entry.excluded, entry.options.strict and entry.wait_followed, oracle.preferred(job),
    )  # fmt: skip


def must_wait(pair, waiting, job):
    """Whether a job has to wait: nobody can take it, or it hopes for a preferred worker."""
    oracle = pair.oracle
    free = takers(pair, job)
    preferred = oracle.preferred(job)
    if preferred & free - kept(pair, waiting, job):
        return False
    if preferred and waits_for_preferred(pair, waiting, job):
        return True
    return not free - kept(pair, waiting, job)


def kept(pair, waiting, job):
    """Return the workers that earlier jobs may keep from getting more jobs."""
    earlier = waiting[: waiting.index(job)]
    alone = [other for other in earlier if pair.oracle.jobs[other].alone]
    return {worker for other in alone for worker in kept_for(pair, other)}
