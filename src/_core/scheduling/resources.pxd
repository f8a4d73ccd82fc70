# Named resources of workers, and what running jobs hold of them.
#
# A *stock* is an amount of one kind of resource. A worker has at most one stock of each kind; the
# workers of a host may share one. A *demand* is a list of kinds and units that a job needs, shared
# by the jobs that need the same. Units are reserved when a job is assigned to a worker, and
# released when it leaves the queue of the worker, so a stock is never oversubscribed.
#
# The units of a stock of devices (GPUs, for example) are distinguishable: a reservation has a bit
# for each device that it holds.
from bsbpool._core.vector cimport grow
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

cdef enum:
    RESOURCES_NO_MEMORY = -2
    NO_STOCK = -1
    NO_DEMAND = -1
    NO_RESERVATION = -1
    MAX_NEEDS = 8  # the kinds of one demand
    MAX_DEVICES = 64  # the devices of one stock

ctypedef struct stock_t:
    int64_t total
    int64_t free
    bint has_devices
    uint64_t devices  # the free ones

ctypedef struct demand_t:
    int32_t n
    int32_t[MAX_NEEDS] kinds
    int64_t[MAX_NEEDS] units

ctypedef struct reservation_t:
    int32_t demand
    int32_t worker
    int32_t next_free  # the next unused reservation, plus 1
    uint64_t[MAX_NEEDS] devices

ctypedef struct resources_t:
    int32_t n_kinds
    int32_t n_workers
    int32_t *stock_of  # by worker and kind
    stock_t *stocks
    int64_t n_stocks
    int64_t stock_capacity
    demand_t *demands
    int64_t n_demands
    int64_t demand_capacity
    reservation_t *reservations
    int64_t n_reservations
    int64_t reservation_capacity
    int32_t free_reservation  # the first unused one, plus 1


cdef inline void resources_init(resources_t *r) noexcept nogil:
    memset(r, 0, sizeof(resources_t))


cdef inline void resources_free(resources_t *r) noexcept nogil:
    free(r.stock_of)
    free(r.stocks)
    free(r.demands)
    free(r.reservations)
    resources_init(r)


cdef inline int resources_open(resources_t *r, int32_t n_workers, int32_t n_kinds) noexcept nogil:
    """Set how many workers and kinds there are, once. No worker has a stock yet."""
    cdef int64_t i
    r.stock_of = <int32_t *>calloc(<size_t>n_workers * n_kinds + 1, sizeof(int32_t))
    if r.stock_of == NULL:
        return RESOURCES_NO_MEMORY
    for i in range(<int64_t>n_workers * n_kinds):
        r.stock_of[i] = NO_STOCK
    r.n_workers = n_workers
    r.n_kinds = n_kinds
    return 0


cdef inline int32_t resources_add_stock(
    resources_t *r, int64_t total, bint has_devices
) noexcept nogil:
    """Add a stock, which no worker has yet; return its number."""
    cdef uint64_t devices = 0
    if grow(<void **>&r.stocks, &r.stock_capacity, r.n_stocks + 1, sizeof(stock_t)) < 0:
        return RESOURCES_NO_MEMORY
    if has_devices:
        devices = ~<uint64_t>0 if total == MAX_DEVICES else (<uint64_t>1 << total) - 1
    r.stocks[r.n_stocks] = stock_t(total, total, has_devices, devices)
    r.n_stocks += 1
    return <int32_t>(r.n_stocks - 1)


cdef inline stock_t *resources_stock(resources_t *r, int32_t worker, int32_t kind) noexcept nogil:
    """Return the stock of a worker, or NULL."""
    cdef int32_t stock = r.stock_of[<int64_t>worker * r.n_kinds + kind]
    return NULL if stock == NO_STOCK else &r.stocks[stock]


cdef inline int32_t resources_add_demand(resources_t *r, demand_t *wanted) noexcept nogil:
    """Return the number of a demand; add it if it is new."""
    cdef demand_t *known
    cdef int64_t i
    cdef int same
    for i in range(r.n_demands):
        known = &r.demands[i]
        same = 0
        while same < wanted.n and known.n == wanted.n and (
            known.kinds[same] == wanted.kinds[same] and known.units[same] == wanted.units[same]
        ):
            same += 1
        if known.n == wanted.n and same == wanted.n:
            return <int32_t>i
    if grow(<void **>&r.demands, &r.demand_capacity, r.n_demands + 1, sizeof(demand_t)) < 0:
        return RESOURCES_NO_MEMORY
    r.demands[r.n_demands] = wanted[0]
    r.n_demands += 1
    return <int32_t>(r.n_demands - 1)


cdef inline bint resources_fit(
    resources_t *r, int32_t worker, int32_t demand, bint now
) noexcept nogil:
    """Whether a worker has what a demand needs: free `now`, or in all."""
    cdef stock_t *stock
    cdef int k
    if demand == NO_DEMAND:
        return True
    for k in range(r.demands[demand].n):
        stock = resources_stock(r, worker, r.demands[demand].kinds[k])
        if stock == NULL or r.demands[demand].units[k] > (stock.free if now else stock.total):
            return False
    return True


cdef inline int32_t resources_reserve(
    resources_t *r, int32_t worker, int32_t demand
) noexcept nogil:
    """Reserve a demand that fits; return the number of the reservation."""
    cdef int32_t number = r.free_reservation - 1
    cdef reservation_t *made
    cdef stock_t *stock
    cdef int k
    if number < 0:
        if grow(
            <void **>&r.reservations, &r.reservation_capacity, r.n_reservations + 1,
            sizeof(reservation_t),
        ) < 0:
            return RESOURCES_NO_MEMORY
        number = <int32_t>r.n_reservations
        r.n_reservations += 1
    else:
        r.free_reservation = r.reservations[number].next_free
    made = &r.reservations[number]
    made.demand = demand
    made.worker = worker
    for k in range(r.demands[demand].n):
        stock = resources_stock(r, worker, r.demands[demand].kinds[k])
        stock.free -= r.demands[demand].units[k]
        made.devices[k] = take_devices(stock, r.demands[demand].units[k])
    return number


cdef inline uint64_t take_devices(stock_t *stock, int64_t units) noexcept nogil:
    """Take the first free devices of a stock; return their bits."""
    cdef uint64_t taken = 0
    if stock.has_devices:
        while units:
            taken |= stock.devices & -stock.devices
            stock.devices &= stock.devices - 1
            units -= 1
    return taken


cdef inline void resources_release(resources_t *r, int32_t number) noexcept nogil:
    """Release a reservation."""
    cdef reservation_t *old = &r.reservations[number]
    cdef stock_t *stock
    cdef int k
    for k in range(r.demands[old.demand].n):
        stock = resources_stock(r, old.worker, r.demands[old.demand].kinds[k])
        stock.free += r.demands[old.demand].units[k]
        stock.devices |= old.devices[k]
    old.demand = NO_DEMAND
    old.next_free = r.free_reservation
    r.free_reservation = number + 1
