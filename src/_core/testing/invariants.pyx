"""Everything that must be true of an engine's tables between two events.

`check` counts all tables anew, in the plainest way, and compares. It costs time
in proportion to all that was ever submitted: it is for tests, which call it
after each step.
"""
from bsbpool._core.scheduling.cache_refs cimport CACHE_NO_SET, cache_t, item_set_t
from bsbpool._core.scheduling.dispatcher cimport WITHDRAW, dispatcher_t, job_t
from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.graph cimport JOIN_BROKEN, JOIN_MET, JOIN_OPEN, graph_t
from bsbpool._core.scheduling.ready cimport READY_LEVELS, level_t
from bsbpool._core.scheduling.status cimport (
    CANCELLED,
    N_STATUSES,
    PENDING,
    QUEUED,
    RUNNING,
    status_is_terminal,
)
from bsbpool._core.vector cimport grow, ints_t
from bsbpool._core.scheduling.workers cimport (
    MAX_CREDIT,
    NO_WORKER,
    OF_IDLE,
    OF_NONE,
    OF_SPARE,
    worker_t,
    workers_t,
)
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free

cdef enum:
    NONE = -1
    MOST_REPORTED = 50

# A law that does not hold: of what, of which one, and the two numbers that differ.
ctypedef struct violation_t:
    const char *law
    int64_t which
    int64_t found
    int64_t wanted

ctypedef struct report_t:
    violation_t *data
    int64_t size
    int64_t capacity
    bint no_memory


def check(Engine engine not None):
    """Raise AssertionError with every law that the tables of an engine break."""
    cdef report_t report = report_t(NULL, 0, 0, False)
    cdef int64_t i
    engine.lock()
    check_all(&engine.d, &report)
    engine.unlock()
    try:
        if report.no_memory:
            raise MemoryError()
        if report.size:
            raise AssertionError("\n".join([
                f"{report.data[i].law.decode()} [{report.data[i].which}]: "
                f"{report.data[i].found}, but {report.data[i].wanted} by counting anew"
                for i in range(report.size)
            ]))
    finally:
        free(report.data)


cdef void check_all(dispatcher_t *d, report_t *r) noexcept nogil:
    expect(r, "fault", 0, d.fault, 0)
    expect(r, "vertices", 0, d.graph.n_vertices, d.n_jobs)
    if r.size:
        return  # nothing else can be relied on
    check_statuses(d, r)
    check_ready(d, r)
    check_graph(d, r)
    check_joins(d, r)
    check_cache(d, r)
    check_chains(d, r)
    check_lists(&d.workers, r)
    check_actions(d, r)


cdef void expect(
    report_t *r, const char *law, int64_t which, int64_t found, int64_t wanted
) noexcept nogil:
    if found == wanted or r.size == MOST_REPORTED:
        return
    if grow(<void **>&r.data, &r.capacity, r.size + 1, sizeof(violation_t)) < 0:
        r.no_memory = True
        return
    r.data[r.size] = violation_t(law, which, found, wanted)
    r.size += 1


cdef int32_t *counters(report_t *r, int64_t n) noexcept nogil:
    """Return `n` zeros, at least one; the caller frees them."""
    cdef int32_t *data = <int32_t *>calloc(n + 1, sizeof(int32_t))
    r.no_memory = r.no_memory or data == NULL
    return data


# ------------------------------------------------------------------ jobs

cdef void check_statuses(dispatcher_t *d, report_t *r) noexcept nogil:
    cdef int64_t[N_STATUSES] counts
    cdef int64_t unfinished = 0
    cdef int64_t i
    for i in range(N_STATUSES):
        counts[i] = 0
    for i in range(d.n_jobs):
        if d.jobs[i].status >= N_STATUSES:
            expect(r, "status is a status", i, d.jobs[i].status, 0)
            return
        counts[d.jobs[i].status] += 1
        unfinished += not status_is_terminal(d.jobs[i].status)
    for i in range(N_STATUSES):
        expect(r, "jobs in status", i, d.counts[i], counts[i])
    expect(r, "unfinished jobs", 0, d.unfinished, unfinished)
    if d.ended:
        expect(r, "unfinished jobs of an ended run", 0, unfinished, 0)
    if not d.started:
        expect(r, "QUEUED jobs before the start", 0, counts[<int>QUEUED], 0)


cdef bint is_ready(dispatcher_t *d, int64_t job) noexcept nogil:
    return (
        job < d.n_jobs
        and d.jobs[job].status == QUEUED
        and d.jobs[job].worker == NO_WORKER
    )


cdef void check_ready(dispatcher_t *d, report_t *r) noexcept nogil:
    cdef level_t *level = &d.ready.levels[0]
    cdef level_t *below
    cdef int64_t count = 0
    cdef int64_t i
    cdef int k
    expect(r, "ready has room for all jobs", 0, level.n_words * 64 >= d.n_jobs, True)
    for i in range(level.n_words * 64):
        expect(r, "job is in ready", i, bit(level, i), is_ready(d, i))
        count += is_ready(d, i)
    expect(r, "ready jobs", 0, d.ready.count, count)
    for k in range(1, READY_LEVELS):
        level = &d.ready.levels[k]
        below = &d.ready.levels[k - 1]
        expect(r, "ready summarizes all words", k, level.n_words * 64 >= below.n_words, True)
        for i in range(level.n_words * 64):
            expect(
                r, "ready summary", i, bit(level, i), i < below.n_words and below.words[i] != 0
            )


cdef bint bit(level_t *level, int64_t i) noexcept nogil:
    return (level.words[i >> 6] >> (i & 63)) & 1


# ------------------------------------------------------------------ graph

cdef void check_graph(dispatcher_t *d, report_t *r) noexcept nogil:
    """Walk all edges: each in one list or free, and counted where it leads to."""
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
    """Follow a list of edges; count what they lead to, unless NULL; return its length."""
    cdef int64_t n = 0
    cdef int32_t target
    while edge != NONE:
        expect(r, "edge is in one list", edge, 0 <= edge < g.n_edges and not walked[edge], True)
        if not 0 <= edge < g.n_edges or walked[edge]:
            return n
        walked[edge] = 1
        n += 1
        target = g.edges[edge].target
        edge = g.edges[edge].next
        if unmet == NULL:
            continue
        expect(r, "edge leads somewhere", target, -1 - g.n_joins < target < g.n_vertices, True)
        if target >= g.n_vertices or target < -g.n_joins:
            return n
        if target >= 0:
            unmet[target] += 1
            expect(r, "edge leads to a younger job", job, target > job, True)
        else:
            join_unmet[-1 - target] += 1
            expect(r, "member of a join is a job", target, job != NONE, True)
    return n


cdef void check_waiting(dispatcher_t *d, report_t *r, int64_t job) noexcept nogil:
    """Only jobs that are PENDING or were CANCELLED wait; PENDING ones of a started run do."""
    cdef uint8_t status = d.jobs[job].status
    cdef bint waits = d.graph.vertices[job].unmet > 0
    if status != PENDING and status != CANCELLED:
        expect(r, "waits though it got further", job, waits, False)
    elif status == PENDING and d.started:
        expect(r, "PENDING waits for something", job, waits, True)


cdef void check_joins(dispatcher_t *d, report_t *r) noexcept nogil:
    cdef graph_t *g = &d.graph
    cdef int64_t i
    for i in range(g.n_joins):
        if g.joins[i].state == JOIN_OPEN:
            expect(r, "open join waits for members", i, g.joins[i].unmet > 0, True)
            continue
        expect(r, "first edge of a settled join", i, g.joins[i].head, NONE)
        if g.joins[i].state == JOIN_MET:
            expect(r, "unmet members of a met join", i, g.joins[i].unmet, 0)
        else:
            expect(r, "state of join", i, g.joins[i].state, JOIN_BROKEN)


# ------------------------------------------------------------------ cache

cdef void check_cache(dispatcher_t *d, report_t *r) noexcept nogil:
    cdef cache_t *c = &d.cache
    cdef int32_t *needed_by = counters(r, c.n_items)
    cdef int32_t *changes = counters(r, c.n_items)
    cdef int64_t n_needed = 0
    cdef int64_t i
    if not r.no_memory:
        for i in range(d.n_jobs):
            if not status_is_terminal(d.jobs[i].status) and d.jobs[i].cache_set != CACHE_NO_SET:
                count_set(c, d.jobs[i].cache_set, needed_by)
        for i in range(c.changed.size):
            changes[c.changed.data[i]] += 1
        for i in range(c.n_items):
            n_needed += needed_by[i] > 0
            expect(r, "jobs that need item", i, c.items[i].needed_by, needed_by[i])
            # It became needed and unneeded in turn, so the log of it tells which it is.
            expect(r, "item is needed by the log", i, changes[i] & 1, needed_by[i] > 0)
        expect(r, "needed items", 0, c.n_needed, n_needed)
        for i in range(d.workers.n):
            expect(r, "log told", i, 0 <= d.workers.slots[i].seen <= c.changed.size, True)
    free(needed_by)
    free(changes)


cdef void count_set(cache_t *c, int32_t number, int32_t *needed_by) noexcept nogil:
    cdef item_set_t *chosen = &c.sets[number]
    cdef int64_t i
    for i in range(chosen.start, chosen.start + chosen.size):
        needed_by[c.members.data[i]] += 1


# ------------------------------------------------------------------ workers

cdef void check_chains(dispatcher_t *d, report_t *r) noexcept nogil:
    """Each job that was sent stands in the chain of its worker, and nowhere else."""
    cdef int64_t in_flight = 0
    cdef int64_t sent = 0
    cdef int64_t i
    for i in range(d.workers.n):
        in_flight += check_chain(d, r, <int32_t>i)
    expect(r, "jobs in flight", 0, d.workers.in_flight, in_flight)
    for i in range(d.n_jobs):
        if d.jobs[i].worker != NO_WORKER:
            sent += 1
        else:
            expect(r, "job behind one that was not sent", i, d.jobs[i].next, NONE)
    expect(r, "jobs with a worker", 0, sent, in_flight)


cdef int64_t check_chain(dispatcher_t *d, report_t *r, int32_t number) noexcept nogil:
    cdef worker_t *slot = &d.workers.slots[number]
    cdef int32_t here = slot.first
    cdef int32_t last = NONE
    cdef int64_t n = 0
    cdef job_t *job
    while here != NONE and n <= d.n_jobs:
        job = &d.jobs[here]
        expect(r, "worker of job", here, job.worker, number)
        if not status_is_terminal(job.status):
            expect(r, "status by the place", here, job.status, QUEUED if n else RUNNING)
        n += 1
        last = here
        here = job.next
    expect(r, "jobs of worker", number, slot.in_flight, n)
    expect(r, "last job of worker", number, slot.last, last)
    return n


cdef void check_lists(workers_t *w, report_t *r) noexcept nogil:
    """Each worker with credit to spare stands in its list, once; no other does."""
    cdef worker_t *slot
    cdef ints_t *list
    cdef int64_t n_listed = 0
    cdef int32_t i
    for i in range(w.n):
        slot = &w.slots[i]
        expect(r, "credit within its bounds", i, 1 <= slot.credit <= MAX_CREDIT, True)
        expect(r, "list of worker", i, slot.listed, wanted_list(slot))
        if slot.listed == OF_NONE:
            continue
        n_listed += 1
        list = &w.idle if slot.listed == OF_IDLE else &w.spare
        expect(r, "worker's place is in its list", i, 0 <= slot.place < list.size, True)
        if 0 <= slot.place < list.size:
            expect(r, "who stands in the worker's place", i, list.data[slot.place], i)
    expect(r, "workers in the lists", 0, w.idle.size + w.spare.size, n_listed)


cdef int wanted_list(worker_t *slot) noexcept nogil:
    if not slot.alive or slot.in_flight >= slot.credit:
        return OF_NONE
    return OF_SPARE if slot.in_flight else OF_IDLE


cdef void check_actions(dispatcher_t *d, report_t *r) noexcept nogil:
    """What waits for the loop: jobs are assigned when it asks, so none is to be sent."""
    cdef int64_t i
    cdef int32_t kind
    for i in range(d.n_actions):
        kind = d.actions[i].kind
        expect(r, "kind of action", i, kind, WITHDRAW)
        expect(
            r, "job taken back is finished", d.actions[i].job,
            status_is_terminal(d.jobs[d.actions[i].job].status), True,
        )
