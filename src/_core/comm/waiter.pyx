"""Waiting for messages: poll some times, then sleep until a wakeup or for longer and longer."""
from bsbpool._core.comm.backoff cimport (
    POLLS_AFTER_SLEEP,
    backoff_after_sleep,
    backoff_reset,
)
from bsbpool._core.comm.demux cimport Demux
from bsbpool._core.comm.transport cimport transport_now, transport_sleep
from bsbpool._core.comm.wakeup cimport Wakeup
from bsbpool._core.protocol.message cimport message_t
from libc.stdint cimport int64_t, uint32_t

cdef enum:
    SPINS = 50
    ACTIVE_SLEEP_NS = 8_000  # the longest sleep while a message is being sent or received
    MISSED_WAKEUP_NS = 3_000_000  # the longest sleep where all ranks can wake this one


cdef class Waiter:
    """Waits for the messages of a demux.

    Parameters
    ----------
    demux : Demux
        The messages.
    wakeup : Wakeup or None
        Wakes the ranks of this node.
    crowded : bool
        Whether ranks share cores, so that polling takes a core from ranks that have work.
    """

    def __init__(self, Demux demux not None, Wakeup wakeup, bint crowded):
        self.demux = demux
        self.wakeup = wakeup
        self.backoff.spins = 0 if crowded else SPINS
        self.reset()

    cdef void reset(self) noexcept nogil:
        """Let the next wait start with polling and short sleeps."""
        backoff_reset(&self.backoff)

    cdef void wake(self) noexcept nogil:
        """End a wait, from any thread."""
        self.woken = True
        if self.wakeup is not None:
            self.wakeup.notify_self()

    cdef message_t *wait(self, uint32_t run_id, int64_t until_ns) noexcept nogil:
        """Wait for a message of a run; return NULL at the time `until_ns` or after a `wake`."""
        cdef message_t *m
        while True:
            m = self.demux.poll(run_id)
            if m == NULL and self.backoff.spins_left == 0:
                m = self.sleep(run_id, until_ns)
            elif m == NULL:
                self.backoff.spins_left -= 1
            if m != NULL:
                self.reset()
                return m
            if (
                self.woken
                or self.demux.error < 0
                or transport_now(self.demux.table) >= until_ns
            ):
                self.woken = False
                return NULL

    cdef message_t *sleep(self, uint32_t run_id, int64_t until_ns) noexcept nogil:
        """Sleep until a wakeup or the time to poll; return a message that came just before."""
        cdef message_t *m
        cdef int polls = POLLS_AFTER_SLEEP
        # A transport that has its own sleep also ends it when a message arrives.
        if self.wakeup is None or self.demux.table.sleep != NULL:
            transport_sleep(self.demux.table, self.sleep_duration(until_ns))
        else:
            # Poll once more after `prepare_wait`: the sender of an earlier message did not notify.
            self.wakeup.prepare_wait()
            while polls > 0:
                polls -= 1
                m = self.demux.poll(run_id)
                if m != NULL or self.woken:
                    self.wakeup.end_wait()
                    return m
            self.wakeup.sleep(self.sleep_duration(until_ns))
        backoff_after_sleep(&self.backoff)
        return NULL

    cdef int64_t sleep_duration(self, int64_t until_ns) noexcept nogil:
        """Return how long to sleep, in ns."""
        cdef int64_t ns = self.backoff.sleep_ns
        cdef int64_t left = until_ns - transport_now(self.demux.table)
        if self.wakeup is not None and self.wakeup.complete:
            ns = MISSED_WAKEUP_NS
        if self.demux.table.is_active(self.demux.table):
            ns = min(ns, ACTIVE_SLEEP_NS)  # the other rank may be waiting for this one
        return max(0, min(ns, left))

    cdef void backoff_wait(self) noexcept nogil:
        """Return at once some times, then sleep for longer and longer until a `reset`."""
        if self.backoff.spins_left > 0:
            self.backoff.spins_left -= 1
            return
        transport_sleep(self.demux.table, self.backoff.sleep_ns)
        backoff_after_sleep(&self.backoff)
