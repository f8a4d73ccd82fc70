"""A thread that relays messages while its rank does not poll.

A leader may run a job, or do other work between two pools, while messages between main and its
workers arrive. The thread looks for them from time to time, often while there are any.
"""
from bsbpool._core.comm.backoff cimport sleep_ns
from bsbpool._core.comm.demux cimport Demux
from bsbpool._core.comm.relay cimport RelayTransport
from libc.stdint cimport int64_t
from posix.unistd cimport getpid

cdef extern from "<pthread.h>" nogil:
    int pthread_join(pthread_t, void **)

cdef extern from *:
    """
    #include <pthread.h>
    #include <signal.h>
    /* The thread blocks all signals, so that Python's threads handle them. */
    static int relay_begin(pthread_t *t, void *(*f)(void *), void *arg) {
        sigset_t all, previous;
        int code;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &previous);
        code = pthread_create(t, (void *)0, f, arg);
        pthread_sigmask(SIG_SETMASK, &previous, (void *)0);
        return code;
    }
    """
    int relay_begin(pthread_t *, void *(*)(void *) noexcept nogil, void *)

cdef enum:
    SHORTEST_NS = 50_000
    LONGEST_NS = 2_000_000


cdef class RelayThread:
    """Relays messages until `stop`.

    Parameters
    ----------
    demux : Demux
        The messages of the communicator.
    relay : RelayTransport
        Its transport.
    """

    def __init__(self, Demux demux not None, RelayTransport relay not None):
        if self.runs:
            raise RuntimeError("a RelayThread can be initialized only once")
        self.demux, self.relay = demux, relay
        self.process = getpid()
        self.runs = relay_begin(&self.thread, run_relay_thread, <void *>self) == 0

    def __dealloc__(self):
        self.end()

    def stop(self):
        """End the thread and wait for it."""
        self.end()

    cdef void end(self) noexcept:
        if self.runs and self.process == getpid():  # a forked child has no such thread
            self.quits = True
            with nogil:
                pthread_join(self.thread, NULL)
        self.runs = False

    cdef void loop(self) noexcept nogil:
        cdef int64_t pause = SHORTEST_NS
        while not self.quits:
            sleep_ns(pause)
            pause = min(2 * pause, LONGEST_NS)
            if self.demux.try_lock():
                if self.relay.relay_arrived():
                    pause = SHORTEST_NS
                self.demux.unlock()


cdef void *run_relay_thread(void *arg) noexcept nogil:
    (<RelayThread>arg).loop()
    return NULL
