# Which workers may run the jobs of a placement.
from bsbpool._core.scheduling.dispatcher_tables cimport dispatcher_t
from bsbpool._core.scheduling.resources cimport resources_fit
from bsbpool._core.scheduling.special cimport placement_t
from bsbpool._core.scheduling.worker_sets cimport worker_sets_has
from libc.stdint cimport int32_t


cdef inline bint is_allowed(
    dispatcher_t *d, placement_t *chosen, int32_t worker, bint now
) noexcept nogil:
    """Whether the jobs of a placement may run on a worker, and whether it has enough resources."""
    return (
        worker_sets_has(&d.special.sets, chosen.conditions.targets, worker)
        and (worker != chosen.conditions.excluded or chosen.only_excluded)
        and resources_fit(&d.special.resources, worker, chosen.conditions.demand, now)
    )


cdef inline void update_possible(dispatcher_t *d, placement_t *chosen) noexcept nogil:
    """Find out whether enough workers are left that may run the jobs of a placement."""
    cdef int32_t n_ranks = chosen.conditions.n_ranks if chosen.conditions.n_ranks else 1
    cdef int32_t worker
    chosen.n_lost = d.workers.n_lost
    chosen.possible = chosen.only_excluded = False
    for worker in range(d.workers.n):
        if not d.workers.slots[worker].lost and is_allowed(d, chosen, worker, False):
            n_ranks -= 1
            if n_ranks == 0:
                chosen.possible = True
                return
    worker = chosen.conditions.excluded
    if worker >= 0 and not d.workers.slots[worker].lost:
        chosen.only_excluded = True
        chosen.possible = n_ranks == 1 and is_allowed(d, chosen, worker, False)
