# The invariants of the tables of jobs with options.
from bsbpool._core.scheduling.dispatcher_tables cimport SPECIAL, dispatcher_t
from bsbpool._core.scheduling.resources cimport (
    NO_DEMAND,
    NO_RESERVATION,
    NO_STOCK,
    reservation_t,
    resources_t,
    stock_t,
)
from bsbpool._core.scheduling.special cimport (
    REFUSED,
    placement_t,
    precedes,
    special_t,
    specials_t,
)
from bsbpool._core.scheduling.status cimport QUEUED, RUNNING
from bsbpool._core.scheduling.worker_sets cimport worker_sets_has
from bsbpool._core.scheduling.workers cimport NO_WORKER
from bsbpool._core.testing.invariant_report cimport counters, expect, report_t
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free

cdef extern from *:
    int __builtin_popcountll(unsigned long long) noexcept nogil


cdef inline void check_special(dispatcher_t *d, report_t *r) noexcept nogil:
    cdef specials_t *s = &d.special
    cdef int64_t n_special = 0
    cdef int64_t n_waiting = 0
    cdef int64_t i
    for i in range(d.n_jobs):
        n_special += d.jobs[i].flags & SPECIAL != 0
    expect(r, "jobs with options", 0, s.n, n_special)
    for i in range(s.n):
        check_entry(d, r, i)
    for i in range(s.n_placements):
        n_waiting += s.placements[i].heap.size
        check_placement(s, r, <int32_t>i)
    expect(r, "waiting jobs with options", 0, s.n_ready, n_waiting)
    if s.resources.n_stocks and not r.no_memory:
        check_resources(d, r)


cdef inline void check_entry(dispatcher_t *d, report_t *r, int64_t i) noexcept nogil:
    cdef special_t *entry = &d.special.entries[i]
    cdef int32_t job = entry.job
    cdef int32_t worker
    cdef bint waits
    if i:
        expect(r, "options are sorted", job, d.special.entries[i - 1].job < job, True)
    if not 0 <= job < d.n_jobs:
        expect(r, "options of an existing job", i, job, 0)
        return
    worker = d.jobs[job].worker
    waits = d.jobs[job].status == QUEUED and worker == NO_WORKER
    if entry.place != REFUSED or not waits:
        expect(r, "job with options waits in a placement", job, entry.place >= 0, waits)
    expect(r, "retries left", job, entry.retries >= 0 and entry.lost_retries >= 0, True)
    if worker != NO_WORKER:
        expect(
            r, "job is at one of its targets", job, worker_sets_has(
                &d.special.sets, d.special.placements[entry.placement].conditions.targets, worker
            ), True,
        )


cdef inline void check_placement(specials_t *s, report_t *r, int32_t number) noexcept nogil:
    cdef placement_t *chosen = &s.placements[number]
    cdef special_t *entry
    cdef int64_t i
    expect(r, "placement is active", number, chosen.active >= 0, chosen.heap.size > 0)
    if chosen.active >= 0:
        expect(r, "active placement", number, s.active.data[chosen.active], number)
    for i in range(chosen.heap.size):
        entry = &s.entries[chosen.heap.data[i]]
        expect(r, "index in the heap", entry.job, entry.place, i)
        expect(r, "placement of a waiting job", entry.job, entry.placement, number)
        if i:
            expect(
                r, "order of the heap", entry.job,
                precedes(&s.entries[chosen.heap.data[(i - 1) // 2]], entry), True,
            )


cdef inline void check_resources(dispatcher_t *d, report_t *r) noexcept nogil:
    """Recount what jobs in the queues of workers hold; no device belongs to two jobs."""
    cdef resources_t *resources = &d.special.resources
    cdef int64_t *used = <int64_t *>calloc(resources.n_stocks, sizeof(int64_t))
    cdef uint64_t *devices = <uint64_t *>calloc(resources.n_stocks, sizeof(uint64_t))
    cdef int64_t n_held = 0
    cdef int64_t n_unused = 0
    cdef int64_t i
    cdef int32_t unused = resources.free_reservation - 1
    cdef special_t *entry
    cdef stock_t *stock
    if used == NULL or devices == NULL:
        r.no_memory = True
    else:
        for i in range(d.special.n):
            entry = &d.special.entries[i]
            n_held += entry.reservation != NO_RESERVATION
            check_reservation(d, r, entry, used, devices)
        while unused >= 0 and n_unused <= resources.n_reservations:
            expect(r, "unused reservation", unused, resources.reservations[unused].demand, -1)
            unused = resources.reservations[unused].next_free - 1
            n_unused += 1
        expect(r, "reservations", 0, n_held + n_unused, resources.n_reservations)
        for i in range(resources.n_stocks):
            stock = &resources.stocks[i]
            expect(r, "free units", i, stock.free, stock.total - used[i])
            expect(r, "units are not oversubscribed", i, used[i] <= stock.total, True)
            if stock.has_devices:
                expect(
                    r, "free devices", i, __builtin_popcountll(stock.devices), stock.free
                )
                expect(r, "devices of two jobs", i, stock.devices & devices[i] != 0, False)
    free(used)
    free(devices)


cdef inline void check_reservation(
    dispatcher_t *d, report_t *r, special_t *entry, int64_t *used, uint64_t *devices
) noexcept nogil:
    cdef resources_t *resources = &d.special.resources
    cdef bint serial = d.workers.n == 0
    cdef int32_t worker = 0 if serial else d.jobs[entry.job].worker
    cdef bint needs = entry.conditions.demand != NO_DEMAND
    cdef bint holds = entry.reservation != NO_RESERVATION
    cdef reservation_t *held
    cdef int32_t number
    cdef int32_t kind
    cdef int k
    if serial:  # jobs that run inside of others may hold nothing
        needs = needs and holds and d.jobs[entry.job].status == RUNNING
    expect(
        r, "job in a queue has what it needs", entry.job, holds, needs and worker != NO_WORKER
    )
    if not holds:
        return
    held = &resources.reservations[entry.reservation]
    expect(r, "demand of a reservation", entry.job, held.demand, entry.conditions.demand)
    expect(r, "worker of a reservation", entry.job, held.worker, worker)
    if held.demand != entry.conditions.demand or held.worker != worker:
        return
    for k in range(resources.demands[held.demand].n):
        kind = resources.demands[held.demand].kinds[k]
        number = resources.stock_of[<int64_t>worker * resources.n_kinds + kind]
        expect(r, "stock of a reservation", entry.job, number != NO_STOCK, True)
        if number == NO_STOCK:
            return
        used[number] += resources.demands[held.demand].units[k]
        if resources.stocks[number].has_devices:
            expect(
                r, "devices of a job", entry.job, __builtin_popcountll(held.devices[k]),
                resources.demands[held.demand].units[k],
            )
            expect(r, "device of two jobs", entry.job, held.devices[k] & devices[number] != 0, 0)
            devices[number] |= held.devices[k]
