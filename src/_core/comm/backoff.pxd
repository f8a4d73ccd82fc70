# Waiting that costs no core: spin a little, then sleep for longer and longer.
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
    /* The default slack of 50 us would turn a sleep of 1 us into 62 us. */
    static int pause_slack(unsigned long ns) {
        int old = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
        prctl(PR_SET_TIMERSLACK, ns, 0, 0, 0);
        return old;
    }
    #else
    static int pause_slack(unsigned long ns) { (void)ns; return 0; }
    #endif
    """
    int pause_slack(unsigned long) nogil

cdef enum:
    FIRST_SLEEP_NS = 1_000
    LONGEST_SLEEP_NS = 500_000
    SIGNALS_NS = 20_000_000  # how long Ctrl-C may wait while nothing happens
    LOOKS = 2  # after a sleep: MPICH's first probe only brings in what the second finds

ctypedef struct pause_t:
    int spins_left
    int spins
    int64_t sleep_ns

cdef inline int64_t now_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1_000_000_000 + t.tv_nsec

cdef inline void pause_reset(pause_t *p) noexcept nogil:
    p.spins_left = p.spins
    p.sleep_ns = FIRST_SLEEP_NS

cdef inline void pause_longer(pause_t *p) noexcept nogil:
    p.spins_left = LOOKS - 1
    p.sleep_ns *= 2
    if p.sleep_ns > LONGEST_SLEEP_NS:
        p.sleep_ns = LONGEST_SLEEP_NS

cdef inline void pause_sleep(int64_t ns) noexcept nogil:
    cdef timespec t
    t.tv_sec = ns // 1_000_000_000
    t.tv_nsec = ns % 1_000_000_000
    nanosleep(&t, NULL)

cdef inline void pause_wait(pause_t *p) noexcept nogil:
    if p.spins_left > 0:
        p.spins_left -= 1
        return
    pause_sleep(p.sleep_ns)
    pause_longer(p)
