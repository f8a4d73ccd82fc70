# Text that grows, and numbers in it; the runs of jobs in order, and times as steps.
from bsbpool._core.vector cimport grow
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy

ctypedef struct text_t:
    char *data
    int64_t size
    int64_t capacity


cdef inline int text_reserve(text_t *t, int64_t more) noexcept nogil:
    """Let the next functions add up to `more` bytes; OUT_OF_MEMORY on failure."""
    return grow(<void **>&t.data, &t.capacity, t.size + more, 1)


cdef inline void put_bytes(text_t *t, const char *data, int64_t size) noexcept nogil:
    memcpy(t.data + t.size, data, <size_t>size)
    t.size += size


cdef inline void put_digits(text_t *t, uint64_t value, int n_digits) noexcept nogil:
    """Add a number with at least so many digits; it needs up to 20 bytes."""
    cdef char digits[20]
    cdef int n = 0
    while value or n < n_digits:
        digits[n] = <char>(48 + value % 10)
        value //= 10
        n += 1
    while n:
        n -= 1
        t.data[t.size] = digits[n]
        t.size += 1


cdef inline void put_number(text_t *t, int64_t value) noexcept nogil:
    if value < 0:
        put_bytes(t, b"-", 1)
        value = -value
    put_digits(t, <uint64_t>value, 1)


cdef inline void put_microseconds(text_t *t, int64_t ns) noexcept nogil:
    """Add a time in ns as microseconds with three decimals."""
    if ns < 0:
        put_bytes(t, b"-", 1)
        ns = -ns
    put_digits(t, <uint64_t>ns // 1000, 1)
    put_bytes(t, b".", 1)
    put_digits(t, <uint64_t>ns % 1000, 3)


ctypedef struct ran_t:
    int64_t begin
    int32_t job
    int32_t attempt  # its index in the table of earlier attempts; -1 for the last one

ctypedef struct span_t:
    int64_t begin
    int64_t end


cdef inline int compare(const void *a, const void *b) noexcept nogil:
    cdef const ran_t *x = <const ran_t *>a
    cdef const ran_t *y = <const ran_t *>b
    if x.begin != y.begin:
        return -1 if x.begin < y.begin else 1
    return -1 if x.job < y.job else 1


cdef inline int64_t step_of(int64_t time, int64_t width) noexcept nogil:
    """Return the first step that is not before a time."""
    return (time + width - 1) // width if time > 0 else 0


cdef inline void add_attempt_steps(
    int64_t *changes, int64_t steps, int64_t begin, int64_t end
) noexcept nogil:
    """Count a job that waits again after an attempt: `changes` are of waiting, then of running."""
    changes[begin] -= 1
    changes[end] += 1
    changes[steps + begin] += 1
    changes[steps + end] -= 1
