# The invariants of the jobs that run on several workers.
from bsbpool._core.scheduling.dispatcher_tables cimport dispatcher_t
from bsbpool._core.scheduling.gang_tables cimport NO_GANG, gang_t, gangs_t
from bsbpool._core.scheduling.status cimport RUNNING, status_is_terminal
from bsbpool._core.testing.invariant_report cimport expect, report_t
from libc.stdint cimport int32_t, int64_t


cdef inline int64_t n_shared(dispatcher_t *d) noexcept nogil:
    """Return how many queues have a job of several workers, besides one for each such job."""
    cdef int64_t n = 0
    cdef int64_t i
    for i in range(d.special.gangs.n):
        if d.special.gangs.data[i].job >= 0:
            n += d.special.gangs.data[i].n_left - 1
    return n


cdef inline void check_gangs(dispatcher_t *d, report_t *r) noexcept nogil:
    cdef gangs_t *g = &d.special.gangs
    cdef int64_t n_reserved = 0
    cdef int64_t n_running = 0
    cdef int64_t i
    for i in range(d.special.n):
        if d.special.entries[i].gang != NO_GANG:
            n_running += 1
            check_gang(d, r, &g.data[d.special.entries[i].gang], d.special.entries[i].job)
    expect(r, "gangs", 0, g.n_running, n_running)
    for i in range(d.workers.n):
        n_reserved += d.workers.slots[i].reserved
        if d.workers.slots[i].reserved:
            expect(r, "reserved worker gets no jobs", i, d.workers.slots[i].available, False)
    for i in range(g.reserved.size):
        n_reserved -= d.workers.slots[g.reserved.data[i]].reserved
    expect(r, "workers that are reserved for no gang", 0, n_reserved, 0)
    if g.next_up == NO_GANG:
        expect(r, "reserved workers", 0, g.reserved.size, 0)
    else:
        expect(
            r, "gang with reserved workers waits", 0, d.special.entries[g.next_up].place >= 0, True
        )


cdef inline void check_gang(
    dispatcher_t *d, report_t *r, gang_t *gang, int32_t job
) noexcept nogil:
    cdef int64_t n_left = 0
    cdef int32_t worker
    cdef int64_t i
    expect(r, "job of a gang", job, gang.job, job)
    if not status_is_terminal(d.jobs[job].status):
        expect(r, "status of a job on several workers", job, d.jobs[job].status, RUNNING)
    for i in range(gang.members.size):
        worker = gang.members.data[i]
        if i:
            expect(r, "members are sorted", job, gang.members.data[i - 1] < worker, True)
        if d.workers.slots[worker].in_flight and d.workers.slots[worker].first == job:
            n_left += 1
            expect(r, "jobs of a member", worker, d.workers.slots[worker].in_flight, 1)
            expect(r, "credit of a member", worker, d.workers.slots[worker].credit, 1)
    expect(r, "members that have not left", job, gang.n_left, n_left)
