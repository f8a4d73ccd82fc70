# Waiting that uses little CPU time: poll some times, then sleep for longer and longer.
from libc.stdint cimport int64_t

cdef extern from "<time.h>" nogil:
    cdef struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(int, timespec *)
    int nanosleep(const timespec *, timespec *)
    int CLOCK_MONOTONIC

cdef extern from *:
    """
    #ifdef __linux__
    #include <sys/prctl.h>
    /* Set the timer slack of this thread in ns and return the previous one. The default of 50 us
       would turn a sleep of 1 us into 62 us. */
    static int set_timer_slack(unsigned long ns) {
        int previous = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
        prctl(PR_SET_TIMERSLACK, ns, 0, 0, 0);
        return previous;
    }
    #else
    static int set_timer_slack(unsigned long ns) { (void)ns; return 0; }
    #endif
    """
    int set_timer_slack(unsigned long) nogil

cdef enum:
    FIRST_SLEEP_NS = 1_000
    MAX_SLEEP_NS = 500_000
    SIGNALS_NS = 20_000_000  # how long Ctrl-C may wait while no message arrives
    POLLS_AFTER_SLEEP = 2  # MPICH's first probe only makes progress; the second finds the message

ctypedef struct backoff_t:
    int spins_left  # how often to poll before the next sleep
    int spins
    int64_t sleep_ns  # how long the next sleep is

cdef inline int64_t now_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1_000_000_000 + t.tv_nsec

cdef inline void sleep_ns(int64_t ns) noexcept nogil:
    cdef timespec t
    t.tv_sec = ns // 1_000_000_000
    t.tv_nsec = ns % 1_000_000_000
    nanosleep(&t, NULL)

cdef inline void backoff_reset(backoff_t *b) noexcept nogil:
    """Start again with polls and short sleeps, after a message has arrived."""
    b.spins_left = b.spins
    b.sleep_ns = FIRST_SLEEP_NS

cdef inline void backoff_after_sleep(backoff_t *b) noexcept nogil:
    """Make the next sleep longer."""
    b.spins_left = POLLS_AFTER_SLEEP - 1
    b.sleep_ns *= 2
    if b.sleep_ns > MAX_SLEEP_NS:
        b.sleep_ns = MAX_SLEEP_NS
