"""The invariants of an engine's tables: what holds between any two events.

`check` recounts all tables in the simplest way and compares. Its cost is proportional to the number
of all jobs ever submitted. Tests call it after each step.
"""
from bsbpool._core.scheduling.cache_refs cimport CACHE_NO_SET, cache_t, item_set_t
from bsbpool._core.scheduling.dispatcher_tables cimport (
    SEND_SKIP,
    SPECIAL,
    dispatcher_t,
    job_t,
)
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.gangs cimport gang_has
from bsbpool._core.scheduling.graph cimport (
    JOIN_ALL,
    JOIN_ENDED,
    JOIN_FAILED,
    JOIN_MET,
    JOIN_OPEN,
    N_JOIN_MODES,
    graph_t,
)
from bsbpool._core.scheduling.ready cimport READY_LEVELS, level_t
from bsbpool._core.scheduling.status cimport (
    CANCELLED,
    N_STATUSES,
    PENDING,
    QUEUED,
    RUNNING,
    status_is_terminal,
)
from bsbpool._core.scheduling.workers cimport (
    MAX_CREDIT,
    NO_WORKER,
    IN_IDLE,
    IN_SPARE,
    NOT_LISTED,
    worker_t,
    workers_t,
)
from bsbpool._core.testing.gang_invariants cimport check_gangs, n_shared
from bsbpool._core.testing.invariant_report cimport counters, expect, report_t
from bsbpool._core.testing.local_invariants cimport check_local
from bsbpool._core.testing.special_invariants cimport check_special
from bsbpool._core.vector cimport ints_t
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport free

cdef enum:
    NONE = -1


def check(Engine engine not None):
    """Check all invariants of an engine.

    Raises
    ------
    AssertionError
        If one does not hold; with a list of all that do not.
    """
    cdef report_t report = report_t(NULL, 0, 0, False)
    cdef int64_t i
    check_all(&engine.d, &report)
    try:
        if report.no_memory:
            raise MemoryError()
        if report.size:
            raise AssertionError("\n".join([
                f"{report.data[i].invariant.decode()} [{report.data[i].element}]: "
                f"{report.data[i].found}, but the recount gives {report.data[i].expected}"
                for i in range(report.size)
            ]))
    finally:
        free(report.data)


cdef void check_all(dispatcher_t *d, report_t *r) noexcept nogil:
    expect(r, "fault", 0, d.fault, 0)
    expect(r, "vertices", 0, d.graph.n_vertices, d.n_jobs)
    if r.size:
        return  # the other checks may then crash
    check_statuses(d, r)
    check_ready(d, r)
    check_special(d, r)
    check_graph(d, r)
    check_joins(d, r)
    check_cache(d, r)
    check_local(d, r)
    check_queues(d, r)
    check_gangs(d, r)
    check_lists(&d.workers, r)
    check_actions(d, r)


# ------------------------------------------------------------------ jobs

cdef void check_statuses(dispatcher_t *d, report_t *r) noexcept nogil:
    cdef int64_t[N_STATUSES] counts
    cdef int64_t unfinished = 0
    cdef int64_t i
    for i in range(N_STATUSES):
        counts[i] = 0
    for i in range(d.n_jobs):
        if d.jobs[i].status >= N_STATUSES:
            expect(r, "valid status", i, d.jobs[i].status, 0)
            return
        counts[d.jobs[i].status] += 1
        unfinished += not status_is_terminal(d.jobs[i].status)
    for i in range(N_STATUSES):
        expect(r, "jobs in status", i, d.counts[i], counts[i])
    expect(r, "unfinished jobs", 0, d.unfinished, unfinished)
    if d.aborted:
        expect(r, "unfinished jobs of an aborted run", 0, unfinished, 0)
    if not d.started:
        expect(r, "QUEUED jobs before the start", 0, counts[<int>QUEUED], 0)


cdef bint is_ready(dispatcher_t *d, int64_t job) noexcept nogil:
    return (
        job < d.n_jobs
        and not d.jobs[job].flags & SPECIAL
        and d.jobs[job].status == QUEUED
        and d.jobs[job].worker == NO_WORKER
    )


cdef void check_ready(dispatcher_t *d, report_t *r) noexcept nogil:
    cdef level_t *level = &d.ready.levels[0]
    cdef level_t *below
    cdef int64_t count = 0
    cdef int64_t i
    cdef int k
    expect(r, "ready set is large enough", 0, level.n_words * 64 >= d.n_jobs, True)
    for i in range(level.n_words * 64):
        expect(r, "job is in the ready set", i, bit(level, i), is_ready(d, i))
        count += is_ready(d, i)
    expect(r, "ready jobs", 0, d.ready.count, count)
    for k in range(1, READY_LEVELS):
        level = &d.ready.levels[k]
        below = &d.ready.levels[k - 1]
        expect(r, "summary level is large enough", k, level.n_words * 64 >= below.n_words, True)
        for i in range(level.n_words * 64):
            expect(
                r, "summary bit", i, bit(level, i), i < below.n_words and below.words[i] != 0
            )


cdef bint bit(level_t *level, int64_t i) noexcept nogil:
    return (level.words[i >> 6] >> (i & 63)) & 1


# ------------------------------------------------------------------ graph

cdef void check_graph(dispatcher_t *d, report_t *r) noexcept nogil:
    """Walk all edges: each is in exactly one list, and its target counts it as unmet."""
    cdef graph_t *g = &d.graph
    cdef int32_t *unmet = counters(r, g.n_vertices)
    cdef int32_t *join_unmet = counters(r, g.n_joins)
    cdef int32_t *walked = counters(r, g.n_edges)
    cdef int64_t live = 0
    cdef int64_t i
    if not r.no_memory:
        for i in range(g.n_vertices):
            live += walk(g, r, g.vertices[i].head, i, walked, unmet, join_unmet)
            if status_is_terminal(d.jobs[i].status):
                expect(r, "first edge of a finished job", i, g.vertices[i].head, NONE)
        for i in range(g.n_joins):
            live += walk(g, r, g.joins[i].head, NONE, walked, unmet, join_unmet)
        expect(r, "live edges", 0, g.live_edges, live)
        live += walk(g, r, g.free_edge, NONE, walked, NULL, NULL)
        expect(r, "live and free edges", 0, live, g.n_edges)
        for i in range(g.n_vertices):
            expect(r, "unmet dependencies of job", i, g.vertices[i].unmet, unmet[i])
            check_waiting(d, r, i)
        for i in range(g.n_joins):
            expect(r, "unmet members of join", i, g.joins[i].unmet, join_unmet[i])
    free(unmet)
    free(join_unmet)
    free(walked)


cdef int64_t walk(
    graph_t *g, report_t *r, int32_t edge, int64_t job,
    int32_t *walked, int32_t *unmet, int32_t *join_unmet,
) noexcept nogil:
    """Walk a list of edges, count their targets unless `unmet` is NULL; return its length."""
    cdef int64_t n = 0
    cdef int32_t target
    cdef bint is_new
    while edge != NONE:
        is_new = 0 <= edge < g.n_edges and not walked[edge]
        expect(r, "edge is in exactly one list", edge, is_new, True)
        if not is_new:
            return n
        walked[edge] = 1
        n += 1
        target = g.edges[edge].target
        edge = g.edges[edge].next
        if unmet == NULL:
            continue
        expect(r, "edge has a valid target", target, -1 - g.n_joins < target < g.n_vertices, True)
        if target >= g.n_vertices or target < -g.n_joins:
            return n
        if target >= 0:
            unmet[target] += 1
            expect(r, "edge leads to a younger job", job, target > job, True)
        else:
            join_unmet[-1 - target] += 1
            expect(r, "edge to a join comes from a job", target, job != NONE, True)
    return n


cdef void check_waiting(dispatcher_t *d, report_t *r, int64_t job) noexcept nogil:
    """Only PENDING and CANCELLED jobs have unmet dependencies; after the start, all PENDING do."""
    cdef uint8_t status = d.jobs[job].status
    cdef bint waits = d.graph.vertices[job].unmet > 0
    if status != PENDING and status != CANCELLED:
        expect(r, "started job has unmet dependencies", job, waits, False)
    elif status == PENDING and d.started:
        expect(r, "PENDING job has unmet dependencies", job, waits, True)


cdef void check_joins(dispatcher_t *d, report_t *r) noexcept nogil:
    """A join is settled at the latest with its last member; some are settled only then."""
    cdef graph_t *g = &d.graph
    cdef int64_t i
    cdef uint8_t mode
    cdef bint needs_all
    for i in range(g.n_joins):
        mode = g.joins[i].mode
        expect(r, "valid mode of a join", i, mode < N_JOIN_MODES, True)
        if g.joins[i].state == JOIN_OPEN:
            expect(r, "open join has unmet members", i, g.joins[i].unmet > 0, True)
            continue
        expect(r, "first edge of a settled join", i, g.joins[i].head, NONE)
        needs_all = mode == JOIN_ENDED
        if g.joins[i].state == JOIN_MET:
            needs_all = needs_all or mode == JOIN_ALL
        else:
            expect(r, "state of join", i, g.joins[i].state, JOIN_FAILED)
            expect(r, "join of ended jobs cannot fail", i, mode == JOIN_ENDED, False)
            needs_all = mode != JOIN_ALL
        if needs_all:
            expect(r, "unmet members of a settled join", i, g.joins[i].unmet, 0)


# ------------------------------------------------------------------ cache

cdef void check_cache(dispatcher_t *d, report_t *r) noexcept nogil:
    cdef cache_t *c = &d.cache
    cdef int32_t *ref_count = counters(r, c.n_items)
    cdef int32_t *changes = counters(r, c.n_items)
    cdef int64_t n_needed = 0
    cdef int64_t seen
    cdef int64_t i
    if not r.no_memory:
        for i in range(d.n_jobs):
            if not status_is_terminal(d.jobs[i].status) and d.jobs[i].cache_set != CACHE_NO_SET:
                count_set(c, d.jobs[i].cache_set, ref_count)
        for i in range(c.changed.size):
            changes[c.changed.data[i]] += 1
        for i in range(c.n_items):
            if c.items[i].is_data:
                # References of Python objects count, too; data items are not in the log.
                expect(r, "users of data item", i, c.items[i].ref_count >= ref_count[i], True)
                expect(r, "changes of data item in the log", i, changes[i], 0)
                continue
            n_needed += ref_count[i] > 0
            expect(r, "jobs that need item", i, c.items[i].ref_count, ref_count[i])
            # An item becomes needed and unneeded in turn, so the log tells which it is now.
            expect(r, "item is needed according to the log", i, changes[i] & 1, ref_count[i] > 0)
        expect(r, "needed items", 0, c.n_needed, n_needed)
        for i in range(d.workers.n):
            seen = d.workers.slots[i].cache_seen
            expect(r, "cache log position of worker", i, 0 <= seen <= c.changed.size, True)
    free(ref_count)
    free(changes)


cdef void count_set(cache_t *c, int32_t number, int32_t *ref_count) noexcept nogil:
    cdef item_set_t *chosen = &c.sets[number]
    cdef int64_t i
    for i in range(chosen.start, chosen.start + chosen.size):
        ref_count[c.members.data[i]] += 1


# ------------------------------------------------------------------ workers

cdef void check_queues(dispatcher_t *d, report_t *r) noexcept nogil:
    """Each job that was sent is in the queue of its worker, and in no other."""
    cdef int64_t in_flight = 0
    cdef int64_t sent = 0
    cdef int64_t i
    for i in range(d.workers.n):
        in_flight += check_queue(d, r, <int32_t>i)
    expect(r, "jobs in flight", 0, d.workers.in_flight, in_flight)
    for i in range(d.n_jobs):
        if d.jobs[i].worker != NO_WORKER:
            sent += 1
        else:
            expect(r, "a job that was not sent has no next one", i, d.jobs[i].next < 0, True)
    expect(r, "jobs with a worker", 0, sent + n_shared(d), in_flight)


cdef int64_t check_queue(dispatcher_t *d, report_t *r, int32_t number) noexcept nogil:
    cdef worker_t *slot = &d.workers.slots[number]
    cdef int32_t current = slot.first
    cdef int32_t last = NONE
    cdef int64_t n = 0
    cdef uint8_t status
    cdef job_t *job
    while current != NONE and n <= d.n_jobs:
        job = &d.jobs[current]
        if not gang_has(d, number, current):
            expect(r, "worker of job", current, job.worker, number)
        if not status_is_terminal(job.status):
            status = QUEUED if n else RUNNING
            expect(r, "status by the position in the queue", current, job.status, status)
        n += 1
        last = current
        current = job.next
    expect(r, "jobs of worker", number, slot.in_flight, n)
    expect(r, "last job of worker", number, slot.last, last)
    return n


cdef void check_lists(workers_t *w, report_t *r) noexcept nogil:
    """Each available worker with credit left is in its list once; no other worker is in a list."""
    cdef worker_t *slot
    cdef ints_t *members
    cdef int64_t n_listed = 0
    cdef int32_t i
    for i in range(w.n):
        slot = &w.slots[i]
        expect(r, "credit within its bounds", i, 1 <= slot.credit <= MAX_CREDIT, True)
        expect(r, "list of worker", i, slot.list, expected_list(w, slot))
        if slot.list == NOT_LISTED:
            continue
        n_listed += 1
        members = &w.idle if slot.list == IN_IDLE else &w.spare
        expect(r, "valid index in the list", i, 0 <= slot.list_index < members.size, True)
        if 0 <= slot.list_index < members.size:
            expect(r, "worker at this index of the list", i, members.data[slot.list_index], i)
    expect(r, "workers in the lists", 0, w.idle.size + w.spare.size, n_listed)


cdef int expected_list(workers_t *w, worker_t *slot) noexcept nogil:
    if not slot.available or slot.in_flight >= slot.credit:
        return NOT_LISTED
    if w.hold_ns and slot.in_flight and slot.list == NOT_LISTED:
        return NOT_LISTED  # it holds its share of the jobs that were ready
    return IN_SPARE if slot.in_flight else IN_IDLE


cdef void check_actions(dispatcher_t *d, report_t *r) noexcept nogil:
    """Jobs are assigned when the loop collects actions, so all pending actions are SEND_SKIP."""
    cdef int64_t i
    cdef int32_t kind
    for i in range(d.n_actions):
        kind = d.actions[i].kind
        expect(r, "kind of action", i, kind, SEND_SKIP)
        expect(
            r, "skipped job has ended", d.actions[i].job,
            status_is_terminal(d.jobs[d.actions[i].job].status), True,
        )
