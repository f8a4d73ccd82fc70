# The jobs of a simulation: how long they run, and which jobs they wait for.
from bsbpool._core.simulation.random_numbers cimport (
    random_below,
    random_exponential,
    random_lognormal,
    random_t,
    random_unit,
)
from libc.stdint cimport int32_t

cdef enum duration_kind:
    CONSTANT = 0
    UNIFORM = 1
    LOGNORMAL = 2
    EXPONENTIAL = 3

cdef enum graph_kind:
    INDEPENDENT = 0
    CHAIN = 1
    TREE = 2
    RANDOM = 3

cdef enum:
    MAX_DEGREE = 32
    MAX_DEPS = 2 * MAX_DEGREE


cdef inline double draw_seconds(random_t *r, int kind, double a, double b) noexcept nogil:
    """Return the run time of a job in seconds."""
    if kind == CONSTANT:
        return a
    if kind == UNIFORM:
        return a + (b - a) * random_unit(r)
    if kind == LOGNORMAL:
        return random_lognormal(r, a, b)
    return a * random_exponential(r)


cdef inline int draw_dependencies(
    random_t *r, int kind, int32_t parameter, int32_t job, int32_t *deps
) noexcept nogil:
    """Write the jobs that a job waits for, each once, to `deps`; return how many.

    CHAIN: `parameter` chains side by side. TREE: each job lets `parameter` others run. RANDOM:
    `parameter` earlier jobs on average, between none and twice as many.
    """
    cdef int wanted
    cdef int n = 0
    cdef int _
    cdef int k
    cdef int32_t other
    if kind == CHAIN:
        deps[0] = job - parameter
        return 1 if job >= parameter else 0
    if kind == TREE:
        deps[0] = (job - 1) // parameter
        return 1 if job > 0 else 0
    if kind == INDEPENDENT or job == 0:
        return 0
    wanted = <int>random_below(r, 2 * parameter + 1)
    for _ in range(wanted):
        other = <int32_t>random_below(r, job)
        for k in range(n):
            if deps[k] == other:
                other = -1
                break
        if other >= 0:
            deps[n] = other
            n += 1
    return n
