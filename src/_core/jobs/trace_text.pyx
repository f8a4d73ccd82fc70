"""The times of the jobs of a pool as the text of trace events, each of which is a JSON object.

A run may have millions of jobs, so this makes the text of an event without Python objects, in
about 0.2 us.
"""
from bsbpool._core.jobs.handle cimport Handle
from bsbpool._core.jobs.job_times cimport JobTimes
from bsbpool._core.jobs.submission cimport Submitter
from bsbpool._core.jobs.times cimport attempt_t, job_times_t
from bsbpool._core.jobs.trace_text cimport (
    add_attempt_steps, compare, put_bytes, put_microseconds, put_number, ran_t, span_t, step_of,
    text_reserve, text_t,
)
from bsbpool._core.scheduling.status cimport SUCCESS
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free, malloc, qsort
from libc.string cimport strlen

cdef enum:
    FIXED = 512  # more than the constant parts and the numbers of an event
    PER_DEPENDENCY = 12
    GAP_NS = 2  # between slices, since viewers read times as floating-point numbers


cdef class TraceText:
    """The jobs of a pool that ran to an end, in the order in which they began.

    A job that ran again has a slice of the category "attempt" for each earlier attempt. Slices of a
    rank must not overlap. The times of workers are rounded, and those of other hosts are estimates,
    so a slice begins at the earliest where the one before it ends.

    Parameters
    ----------
    pool : Submitter
        The pool. Jobs that are added or end meanwhile are left out.
    times : JobTimes
        Its times.
    name_of : callable
        Returns the name of a job, as bytes of a JSON string. It is called once for each function,
        and for each job with options or further information.
    further : callable
        Returns further members of the object `args` of a slice as bytes, each with a comma in
        front. It is called with the job and its number of attempts, for jobs that failed or ran
        more than once, or for all.
    further_of_attempt : callable
        Returns further members of the slice of an earlier attempt in the same way. It is called
        with the job, and the number of the attempt among those that ended.
    for_all : bool
        Whether it is called for all jobs.
    members : dict
        The ranks of jobs that ran on several ones, by number.
    pid : int
        The number of the pool in the trace.
    origin : int
        The time 0 of the trace in ns.
    n_ranks : int
        The number of ranks.
    """

    cdef list jobs
    cdef JobTimes times
    cdef Submitter pool
    cdef object name_of
    cdef object further
    cdef object further_of_attempt
    cdef bint for_all
    cdef dict members
    cdef int64_t pid
    cdef int64_t origin
    cdef int32_t n_ranks
    cdef int64_t n_jobs
    cdef int64_t n_ran
    cdef ran_t *ran  # in the order of their beginning
    cdef int64_t n_attempts
    cdef span_t *attempts  # the slices of earlier attempts
    cdef int64_t *ends  # by number; 0 for jobs that did not run
    cdef int64_t *begins
    cdef int64_t *rank_ends
    cdef int64_t next_slice
    cdef int64_t next_arrow
    cdef text_t text
    cdef object last_function
    cdef bytes last_name
    cdef readonly int64_t n_arrows  # the number that `arrows` has returned
    cdef readonly int64_t arrows_left_out

    def __init__(
        self, Submitter pool not None, JobTimes times not None, name_of, further,
        further_of_attempt, bint for_all, dict members not None, int64_t pid, int64_t origin,
        int32_t n_ranks,
    ):
        cdef int64_t i
        if self.ran != NULL:
            raise RuntimeError("a TraceText cannot be initialized twice")
        if n_ranks < 1:
            raise ValueError(f"n_ranks must be positive, got {n_ranks}")
        self.pool, self.jobs, self.times = pool, pool.job_list, times
        self.name_of, self.further, self.further_of_attempt = name_of, further, further_of_attempt
        self.for_all, self.members = for_all, members
        self.pid, self.origin, self.n_ranks = pid, origin, n_ranks
        self.n_jobs = min(len(self.jobs), times.times.n)
        self.n_attempts = times.times.n_earlier
        self.ran = <ran_t *>malloc((self.n_jobs + self.n_attempts + 1) * sizeof(ran_t))
        self.attempts = <span_t *>calloc(self.n_attempts + 1, sizeof(span_t))
        self.begins = <int64_t *>calloc(self.n_jobs + 1, sizeof(int64_t))
        self.ends = <int64_t *>calloc(self.n_jobs + 1, sizeof(int64_t))
        self.rank_ends = <int64_t *>calloc(n_ranks, sizeof(int64_t))
        if (
            not self.ran or not self.attempts or not self.begins or not self.ends
            or not self.rank_ends
        ):
            raise MemoryError()
        for i in range(self.n_jobs):
            if times.times.jobs[i].rank >= 0:
                self.add_run(times.times.jobs[i].started_ns, i, -1)
        for i in range(self.n_attempts):
            if times.times.earlier[i].job < self.n_jobs:
                self.add_run(times.times.earlier[i].times.started_ns, times.times.earlier[i].job, i)
        qsort(self.ran, self.n_ran, sizeof(ran_t), &compare)

    cdef void add_run(self, int64_t begin, int64_t job, int64_t attempt) noexcept:
        self.ran[self.n_ran].begin = begin
        self.ran[self.n_ran].job = <int32_t>job
        self.ran[self.n_ran].attempt = <int32_t>attempt
        self.n_ran += 1

    def __dealloc__(self):
        free(self.ran)
        free(self.attempts)
        free(self.begins)
        free(self.ends)
        free(self.rank_ends)
        free(self.text.data)

    def __len__(self):
        """Return the number of jobs."""
        return self.n_ran - self.n_attempts

    # ------------------------------------------------------------ slices

    def slices(self, int64_t most):
        """Return the next slices as bytes, up to so many, with commas between them."""
        self.text.size = 0
        while self.next_slice < self.n_ran and most > 0:
            if self.ran[self.next_slice].attempt < 0:
                self.add_slices(self.ran[self.next_slice].job)
            else:
                self.add_attempt(self.ran[self.next_slice].attempt)
            self.next_slice += 1
            most -= 1
        return self.taken()

    cdef bytes taken(self):
        """Return the text without the separator at its end."""
        return PyBytes_FromStringAndSize(self.text.data, max(0, self.text.size - 2))

    cdef int add_slices(self, int32_t number) except -1:
        """Add the slice of a job, and those of its other ranks."""
        # A copy, since another thread may move the table while `name_of` runs.
        cdef job_times_t entry = self.times.times.jobs[number]
        cdef int32_t member
        cdef span_t span = self.free_span(&entry)
        cdef Handle job = <Handle>self.jobs[number]
        cdef bytes name = self.name(job)
        cdef bytes further = b""
        if (
            self.for_all
            or entry.attempts != 1
            or self.pool.engine.d.jobs[number].status != SUCCESS
            or (job.options is not None and job.attempts)
        ):
            further = self.further(job, entry.attempts)
        self.begins[number], self.ends[number] = span.begin, span.end
        self.add_slice(b"job", &entry, job, span, name, further)
        if self.members and number in self.members:
            for member in self.members[number]:
                if member != entry.rank % self.n_ranks and 0 <= member < self.n_ranks:
                    self.add_member(job, member, name)
        return 0

    cdef int add_attempt(self, int64_t index) except -1:
        """Add the slice of an earlier attempt of a job."""
        cdef attempt_t attempt = self.times.times.earlier[index]  # a copy, as in `add_slices`
        cdef Handle job = <Handle>self.jobs[attempt.job]
        cdef bytes further = self.further_of_attempt(job, attempt.times.attempts)
        self.attempts[index] = self.free_span(&attempt.times)
        return self.add_slice(
            b"attempt", &attempt.times, job, self.attempts[index], self.name(job), further
        )

    cdef span_t free_span(self, const job_times_t *entry) noexcept:
        """Return the times of a slice, which begins at the earliest after the one before it."""
        cdef span_t span
        cdef int64_t previous = self.rank_ends[entry.rank % self.n_ranks]
        span.begin = max(entry.started_ns, previous + GAP_NS)
        span.end = max(entry.started_ns + entry.run_ns, span.begin)
        return span

    cdef bytes name(self, Handle job):
        """Return the name of a job; those of plain calls are kept, since they often repeat."""
        if job.context is not None or not job.calls_function or job.options is not None:
            return self.name_of(job)
        if self.last_name is None or job.f is not self.last_function:
            self.last_name = self.name_of(job)
            self.last_function = job.f
        return self.last_name

    cdef int add_slice(
        self, bytes category, const job_times_t *entry, Handle job, span_t span, bytes name,
        bytes further,
    ) except -1:
        cdef text_t *t = &self.text
        cdef int64_t begin = span.begin, end = span.end
        cdef int32_t rank = entry.rank % self.n_ranks
        cdef int64_t wait = begin - entry.submitted_ns if entry.submitted_ns else 0
        cdef tuple deps = job.deps if type(job.deps) is tuple else ()
        cdef Handle dep
        cdef int64_t i
        self.reserve(len(name) + len(further) + len(deps) * PER_DEPENDENCY)
        put_bytes(t, b'{"ph":"X","cat":"', 17)
        put_bytes(t, PyBytes_AS_STRING(category), PyBytes_GET_SIZE(category))
        put_bytes(t, b'","name":', 9)
        self.put_place(name, rank, begin, end)
        put_bytes(t, b',"args":{"job":', 15)
        put_number(t, job.number)
        put_bytes(t, b',"wait":', 8)
        put_microseconds(t, wait)
        put_bytes(t, b',"reply":', 9)
        put_microseconds(t, max(0, entry.received_ns - end))
        put_bytes(t, b',"in":', 6)
        put_number(t, <int64_t>entry.bytes_in)
        put_bytes(t, b',"out":', 7)
        put_number(t, <int64_t>entry.bytes_out)
        if deps:
            put_bytes(t, b',"after":[', 10)
            for i in range(len(deps)):
                dep = deps[i]
                if i:
                    put_bytes(t, b",", 1)
                put_number(t, dep.number)
            put_bytes(t, b"]", 1)
        put_bytes(t, PyBytes_AS_STRING(further), PyBytes_GET_SIZE(further))
        put_bytes(t, b"}},\n", 4)
        self.rank_ends[rank] = end
        return 0

    cdef int add_member(self, Handle job, int32_t rank, bytes name) except -1:
        """Add the slice of a job on another of its ranks, with the times of the first one."""
        cdef int64_t begin = max(self.begins[job.number], self.rank_ends[rank] + GAP_NS)
        cdef int64_t end = max(self.ends[job.number], begin)
        self.reserve(len(name))
        put_bytes(&self.text, b'{"ph":"X","cat":"member","name":', 32)
        self.put_place(name, rank, begin, end)
        put_bytes(&self.text, b',"args":{"job":', 15)
        put_number(&self.text, job.number)
        put_bytes(&self.text, b"}},\n", 4)
        self.rank_ends[rank] = end
        return 0

    cdef void put_place(self, bytes name, int32_t rank, int64_t begin, int64_t end) noexcept:
        cdef text_t *t = &self.text
        put_bytes(t, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        put_bytes(t, b',"pid":', 7)
        put_number(t, self.pid)
        put_bytes(t, b',"tid":', 7)
        put_number(t, rank)
        put_bytes(t, b',"ts":', 6)
        put_microseconds(t, begin - self.origin)
        put_bytes(t, b',"dur":', 7)
        put_microseconds(t, end - begin)

    cdef int reserve(self, int64_t more) except -1:
        if text_reserve(&self.text, FIXED + more) < 0:
            raise MemoryError()
        return 0

    def end_of(self, int32_t rank):
        """Return when the last slice of a rank ends, in ns; 0 if it has none."""
        return self.rank_ends[rank] if 0 <= rank < self.n_ranks else 0

    # ------------------------------------------------------------ arrows

    def arrows(self, int64_t jobs, int64_t most):
        """Return two events for each dependency of the next `jobs` jobs, after all slices.

        Dependencies beyond `most` are counted only. None at the end.
        """
        cdef int32_t number, attempt
        cdef Handle dep
        if self.next_arrow >= self.n_ran:
            return None
        self.text.size = 0
        while self.next_arrow < self.n_ran and jobs > 0:
            number = self.ran[self.next_arrow].job
            attempt = self.ran[self.next_arrow].attempt
            deps = (<Handle>self.jobs[number]).deps
            self.next_arrow += 1
            jobs -= 1
            if attempt >= 0 or type(deps) is not tuple:
                continue
            for dep in <tuple>deps:
                if not self.can_draw(dep.number, number):
                    continue
                if self.n_arrows >= most:
                    self.arrows_left_out += 1
                    continue
                self.n_arrows += 1
                # Inside of the slice, so that the arrow begins there.
                self.add_end(
                    b's', dep.number, max(self.begins[dep.number], self.ends[dep.number] - 1)
                )
                self.add_end(b'f","bp":"e', number, self.begins[number])
        return self.taken()

    cdef bint can_draw(self, int64_t before, int64_t after) noexcept:
        """Whether a job ended before another one began, as far as clocks can tell."""
        return 0 <= before < self.n_jobs and 0 < self.ends[before] <= self.begins[after]

    cdef int add_end(self, const char *phase, int64_t job, int64_t time) except -1:
        cdef text_t *t = &self.text
        self.reserve(0)
        put_bytes(t, b'{"ph":"', 7)
        put_bytes(t, phase, <int64_t>strlen(phase))
        put_bytes(t, b'","cat":"dependency","name":"dependency","id":', 46)
        put_number(t, (self.pid << 32) + self.n_arrows)  # importers read texts as hex numbers
        put_bytes(t, b',"pid":', 7)
        put_number(t, self.pid)
        put_bytes(t, b',"tid":', 7)
        put_number(t, self.times.times.jobs[job].rank % self.n_ranks)
        put_bytes(t, b',"ts":', 6)
        put_microseconds(t, time - self.origin)
        put_bytes(t, b"},\n", 3)
        return 0

    # ------------------------------------------------------------ numbers

    def counts(self, int64_t points):
        """Return how many jobs waited and ran at up to so many times, after all slices.

        Returns
        -------
        list of tuple
            Times in ns, from that of the trace on, and the two numbers, where one has changed.
        """
        cdef int64_t i, first, last, width
        cdef int64_t waiting = 0, running = 0, steps = points + 2
        cdef int64_t *changes
        if not self.n_ran or points < 1:
            return []
        first, last = self.ran[0].begin, 0
        for i in range(self.n_jobs):
            if 0 < self.times.times.jobs[i].submitted_ns < first:
                first = self.times.times.jobs[i].submitted_ns
            last = max(last, self.ends[i], self.times.times.jobs[i].submitted_ns)
        width = max(1, (last - first + points - 1) // points)
        changes = <int64_t *>calloc(2 * steps, sizeof(int64_t))
        if changes == NULL:
            raise MemoryError()
        for i in range(self.n_jobs):
            if self.times.times.jobs[i].submitted_ns:
                changes[step_of(self.times.times.jobs[i].submitted_ns - first, width)] += 1
                if self.ends[i]:
                    changes[step_of(self.begins[i] - first, width)] -= 1
            if self.ends[i]:
                changes[steps + step_of(self.begins[i] - first, width)] += 1
                changes[steps + step_of(self.ends[i] - first, width)] -= 1
        for i in range(self.n_attempts):
            add_attempt_steps(
                changes, steps, step_of(self.attempts[i].begin - first, width),
                step_of(self.attempts[i].end - first, width),
            )
        found = []
        try:
            for i in range(points + 1):
                waiting += changes[i]
                running += changes[steps + i]
                if i == 0 or changes[i] or changes[steps + i]:
                    found.append((first + i * width - self.origin, waiting, running))
        finally:
            free(changes)
        return found

    def longest(self, int64_t most):
        """Return the numbers of the jobs with the longest slices, the longest first."""
        cdef int64_t i
        cdef int64_t least = -1
        found = []
        for i in range(self.n_ran):
            if self.ran[i].attempt >= 0:
                continue
            length = self.ends[self.ran[i].job] - self.begins[self.ran[i].job]
            if length > least or len(found) < most:
                found.append((length, self.ran[i].job))
                if len(found) >= 2 * most:
                    found.sort(reverse=True)
                    del found[most:]
                    least = found[most - 1][0] if found else -1
        found.sort(reverse=True)
        return [job for _, job in found[:most]]
