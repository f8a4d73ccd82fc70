# Which process may have the lock: transitions of a page whose mutex the caller holds.
#
# Writers go first, in the order of their requests. After WRITES_IN_A_ROW writes while readers
# waited, all readers that wait go before the next writer; later readers wait for the writers that
# wait. So neither side starves.
#
# With `two_level` set, the node as a whole needs the lock of all nodes too. The process that is
# granted access first (WRITING, or TAKING_READ) takes it; the last one gives it back (GIVING_BACK).
# If a process dies meanwhile, the next one that is granted access goes on at `stage`.
from bsbpool._core.comm.backoff cimport now_ns
from bsbpool._core.locking.shared_page cimport (
    GIVING_BACK,
    GIVING_READ,
    GIVING_WRITE,
    HANDOVERS,
    IDLE,
    INSIDE,
    OUTSIDE,
    READING,
    TAKING_READ,
    WAITING_TO_READ,
    WAITING_TO_WRITE,
    WRITES_IN_A_ROW,
    WRITING,
    lock_head_t,
    lock_slot_t,
    lock_store,
    lock_wake,
    page_t,
)
from libc.stdint cimport uint32_t

cdef inline bint is_waiting(uint32_t state) noexcept nogil:
    return state == WAITING_TO_READ or state == WAITING_TO_WRITE

cdef inline bint is_exclusive(uint32_t state) noexcept nogil:
    return state == WRITING or state == TAKING_READ or state == GIVING_BACK

cdef inline void set_state(page_t *p, int slot, uint32_t state) noexcept nogil:
    p.slots[slot].since_ns = now_ns()
    lock_store(&p.slots[slot].state, state)
    if slot != p.own:
        lock_wake(&p.slots[slot].state)

cdef inline int first_waiting(page_t *p, uint32_t state) noexcept nogil:
    """Return the slot that has waited longest in a state, or -1."""
    cdef int i, found = -1
    for i in range(p.n_slots):
        if p.slots[i].state == state:
            if found < 0 or p.slots[i].ticket < p.slots[found].ticket:
                found = i
    return found

cdef inline bint may_read(lock_head_t *h) noexcept nogil:
    """Whether this node may admit further readers without asking the other nodes."""
    return not h.two_level or (h.global_mode == READING and h.handovers < HANDOVERS)

cdef inline void admit_readers(page_t *p) noexcept nogil:
    cdef lock_head_t *h = p.head
    cdef int i
    h.writes_in_a_row = 0
    if may_read(h):
        for i in range(p.n_slots):
            if p.slots[i].state == WAITING_TO_READ:
                h.n_readers += 1
                h.handovers += 1
                set_state(p, i, READING)
        h.waiting_readers = 0
    elif h.n_readers == 0:
        i = first_waiting(p, WAITING_TO_READ)
        h.waiting_readers -= 1
        h.writer = i + 1
        set_state(p, i, TAKING_READ)

cdef inline void admit(page_t *p) noexcept nogil:
    """Grant access to the processes that are next."""
    cdef lock_head_t *h = p.head
    cdef int i
    if h.writer:
        return
    if h.waiting_readers and (
        h.waiting_writers == 0 or h.writes_in_a_row >= WRITES_IN_A_ROW
    ):
        admit_readers(p)
    elif h.waiting_writers and h.n_readers == 0:
        i = first_waiting(p, WAITING_TO_WRITE)
        h.waiting_writers -= 1
        h.writes_in_a_row = h.writes_in_a_row + 1 if h.waiting_readers else 0
        h.writer = i + 1
        set_state(p, i, WRITING)

cdef inline uint32_t request(page_t *p, uint32_t state) noexcept nogil:
    """Ask for access, with WAITING_TO_READ or WAITING_TO_WRITE; return the new state."""
    cdef lock_head_t *h = p.head
    cdef lock_slot_t *own = &p.slots[p.own]
    own.ticket = h.next_ticket
    h.next_ticket += 1
    set_state(p, p.own, state)
    if state == WAITING_TO_READ:
        h.waiting_readers += 1
    else:
        h.waiting_writers += 1
    admit(p)
    return own.state

cdef inline bint must_give_back(lock_head_t *h) noexcept nogil:
    """Whether this node must give the global lock back before anything else."""
    if not h.two_level or h.global_mode == IDLE or h.n_readers:
        return False
    if h.waiting_readers == 0 and h.waiting_writers == 0:
        return True
    return h.global_mode == WRITING and h.handovers >= HANDOVERS

cdef inline void begin_to_give_back(lock_head_t *h) noexcept nogil:
    """Note that this node no longer has the global lock, before it gives it back."""
    h.stage = GIVING_WRITE if h.global_mode == WRITING else GIVING_READ
    h.global_mode = IDLE
    h.handovers = 0

cdef inline bint leave(page_t *p) noexcept nogil:
    """Give up the access of this process; whether it must give the global lock back now."""
    cdef lock_head_t *h = p.head
    cdef lock_slot_t *own = &p.slots[p.own]
    if own.state == READING:
        h.n_readers -= 1
    else:
        h.writer = 0
        h.handovers += 1
    if must_give_back(h):
        h.writer = p.own + 1
        begin_to_give_back(h)
        set_state(p, p.own, GIVING_BACK)
        return True
    set_state(p, p.own, IDLE)
    admit(p)
    return False

cdef inline void take_global(page_t *p, uint32_t mode) noexcept nogil:
    """Note that this node has the global lock, READING or WRITING."""
    cdef lock_head_t *h = p.head
    h.global_mode = mode
    h.stage = INSIDE
    h.handovers = 0
    if p.slots[p.own].state == TAKING_READ:
        h.writer = 0
        h.n_readers = 1
        set_state(p, p.own, READING)
        admit_readers(p)  # all that wait, like those of one node

cdef inline void end_give_back(page_t *p) noexcept nogil:
    """Note that this node has given the global lock back; let its next process go on."""
    p.head.stage = OUTSIDE
    if p.slots[p.own].state == GIVING_BACK:
        p.head.writer = 0
        set_state(p, p.own, IDLE)
        admit(p)

cdef inline bint is_left_over(lock_head_t *h) noexcept nogil:
    """Whether the node has the global lock, or a place in its queue, that no process will use."""
    if h.writer or h.n_readers or h.waiting_readers or h.waiting_writers:
        return False
    return h.stage != OUTSIDE

cdef inline void withdraw(page_t *p) noexcept nogil:
    """End a request that was not granted."""
    if p.slots[p.own].state == WAITING_TO_READ:
        p.head.waiting_readers -= 1
    else:
        p.head.waiting_writers -= 1
    set_state(p, p.own, IDLE)
    admit(p)

cdef inline void count(page_t *p) noexcept nogil:
    """Compute the counters from the slots."""
    cdef lock_head_t *h = p.head
    cdef uint32_t state
    cdef int i
    h.writer = h.n_readers = h.waiting_readers = h.waiting_writers = 0
    for i in range(p.n_slots):
        state = p.slots[i].state
        h.n_readers += state == READING
        h.waiting_readers += state == WAITING_TO_READ
        h.waiting_writers += state == WAITING_TO_WRITE
        if is_exclusive(state):
            h.writer = i + 1

cdef inline bint abandon(page_t *p, int slot) noexcept nogil:
    """Free the slot of a process that has died; whether it had access."""
    cdef uint32_t state = p.slots[slot].state
    if state == IDLE:
        return False
    lock_store(&p.slots[slot].state, IDLE)
    count(p)
    admit(p)
    return not is_waiting(state)
