"""The lock of one rank, with its two levels: the processes of a node, and all nodes.

Signal handlers can raise an error between any two instructions of Python code. This module is
compiled so that they run only where a rank waits, and never between an operation on the lock and
the note that it was made.
"""
import sys

from bsbpool._core.locking.global_queue cimport GlobalQueue
from bsbpool._core.locking.node_lock cimport NodeLock

cdef extern from "<unistd.h>":
    int getpid()


cdef class RankLock:
    """Acquires and releases; the locks of a rank that `ReadLock` and `WriteLock` nest.

    Parameters
    ----------
    rank, master : int
        The rank of this process, and the one that writes by default.
    node : NodeLock, optional
        The lock of the node; None if there are no other ranks, so that all requests are granted.
    queue : GlobalQueue, optional
        The queue of the nodes, if there are several.
    warn : callable, optional
        Called with the slots of processes that have died while they had the lock.
    begin_span : callable, optional
        Called with "read" or "write", the rank, the master and a dict of attributes, if spans are
        traced. Returns a context manager that was entered, with a method `wait`, which returns
        another one.
    """

    def __init__(
        self, int rank, int master, NodeLock node=None, GlobalQueue queue=None, warn=None,
        begin_span=None,
    ):
        self.rank, self.master, self.node, self.queue = rank, master, node, queue
        self.progress = None if queue is None else queue.progress
        self.warn, self.begin_span = warn, begin_span
        self.process = getpid()

    def close(self):
        """Refuse further requests.

        Raises
        ------
        RuntimeError
            If the rank is inside of a block that has the lock.
        """
        if self.read_depth or self.write_depth:
            raise RuntimeError("The lock cannot be closed inside of a block that has it")
        self.closed = True

    cpdef acquire(self, bint write):
        """Acquire the lock, without regard to what this rank has."""
        cdef bint granted
        cdef list dead = None
        if self.closed:
            raise RuntimeError("The lock cannot be acquired, because its controller was closed")
        if self.node is None:
            return
        if getpid() != self.process:
            raise RuntimeError("A forked child cannot acquire a lock of its parent")
        granted = self.node.request(write)
        if granted and self.queue is None:
            return
        try:
            if not granted:
                dead = self.node.wait(self.progress)
            if self.node.must_take_global():
                self.queue.acquire(self.node, write)
            if dead and self.warn is not None:
                self.warn(dead)
        except BaseException:
            self.release()
            raise

    cpdef release(self):
        """Release the lock, if this rank has it; an interrupted `acquire` may have left it."""
        if self.node is None or getpid() != self.process or not self.node.has_access():
            return
        if self.node.release():
            self.queue.give_back(self.node)
            self.node.end_give_back()

    def recover(self):
        """Give back what processes of this node had that have died.

        Returns
        -------
        bool
            Whether all was given back. Else the queue of the nodes must advance before: call this
            again later.
        """
        cdef bint done = True
        if self.closed or self.node is None or getpid() != self.process:
            return True
        dead = self.node.find_dead()
        if self.queue is not None and self.node.left_over:
            if not self.node.request(True):
                if not self.node.cancel():
                    return True  # another process of the node uses the lock
            try:
                done = self.queue.give_up(self.node)
            finally:
                self.release()
        if dead and self.warn is not None:
            self.warn(dead)
        return bool(done)


cdef class ReadLock:
    """A block that has the lock for reading.

    Parameters
    ----------
    lock : RankLock
        The lock.
    """

    cdef RankLock lock
    cdef bint entered, outermost
    cdef object span

    def __init__(self, RankLock lock not None):
        self.lock = lock

    def __enter__(self):
        cdef RankLock lock = self.lock
        refuse_second(self.entered)
        self.outermost = not (lock.read_depth or lock.write_depth)
        if "opentelemetry.sdk.trace" in <dict>sys.modules:
            self.span = begin_span(lock, "read", {"nested": bool(not self.outermost)})
        if self.outermost:
            acquire_traced(lock, False, self.span)
        lock.read_depth += 1
        self.entered = True

    def __exit__(self, *error):
        self.entered = False
        self.lock.read_depth -= 1
        if self.outermost:
            self.lock.release()
        if self.span is not None:
            self.span.__exit__(*error)


cdef class WriteLock:
    """A block that has the lock for writing.

    Inside of a block that reads, the lock for reading is released before the lock for writing is
    acquired, and acquired again at the end.

    Parameters
    ----------
    lock : RankLock
        The lock.
    """

    cdef RankLock lock
    cdef bint entered, outermost, promoted
    cdef object span

    def __init__(self, RankLock lock not None):
        self.lock = lock

    def locked(self):
        """Whether this rank has the lock for writing."""
        return self.lock.write_depth > 0

    def __enter__(self):
        cdef RankLock lock = self.lock
        refuse_second(self.entered)
        self.outermost = not lock.write_depth
        self.promoted = self.outermost and lock.read_depth > 0
        if "opentelemetry.sdk.trace" in <dict>sys.modules:
            self.span = begin_span(
                lock,
                "write",
                {"nested": bool(not self.outermost), "promoted": bool(self.promoted)},
            )
        if self.promoted:
            lock.release()
        if self.outermost:
            acquire_traced(lock, True, self.span)
        lock.write_depth += 1
        self.entered = True

    def __exit__(self, *error):
        cdef RankLock lock = self.lock
        self.entered = False
        lock.write_depth -= 1
        if self.outermost:
            lock.release()
        try:
            if self.promoted:
                lock.acquire(False)
        finally:
            if self.span is not None:
                self.span.__exit__(*error)


cdef int refuse_second(bint entered) except -1:
    if entered:
        raise RuntimeError("This block has begun already; call read() or write() for each block")
    return 0


cdef object begin_span(RankLock lock, str kind, dict attributes):
    if lock.begin_span is None:
        return None
    return lock.begin_span(kind, lock.rank, lock.master, attributes)


cdef int acquire_traced(RankLock lock, bint write, span) except -1:
    if span is None:
        lock.acquire(write)
        return 0
    try:
        with span.wait():
            lock.acquire(write)
    except BaseException:
        span.__exit__(*sys.exc_info())
        raise
    return 0
