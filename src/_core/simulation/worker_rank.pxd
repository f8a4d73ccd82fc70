# What a simulated worker does, as `runtime.worker_loop` and `runtime.worker_receiver` do it.
from bsbpool._core.simulation.tables cimport (
    AT_LEADER,
    AT_MAIN,
    CHECK_NS,
    JOB_ENDED,
    NOBODY,
    PROGRESS,
    RECORD_BYTES,
    WORKER_TURN,
    looks_at,
    network_t,
    noticed_at,
    packet_free,
    packet_new,
    packet_t,
    plan,
    simulation_t,
    worker_state_t,
)
from libc.stdint cimport int32_t

cdef enum:
    POLL_NS = 20_000  # of `worker_loop`
    LONG_JOB_NS = 50_000  # of `loaded_functions`
    MAX_REPLIES = 64  # of `reply_buffer`
    MAX_REPLY_AGE_NS = 200_000
    EAGER_FRAME = 3_500  # of `wire`


cdef inline network_t *network_of(simulation_t *s, worker_state_t *w) noexcept nogil:
    """Return the network between a worker and the rank that it exchanges messages with."""
    return &s.network if w.leader == NOBODY else &s.local


cdef inline bint is_leader(simulation_t *s, worker_state_t *w) noexcept nogil:
    """Whether the rank of a worker is its own leader, so that frames need no message."""
    return w.leader != NOBODY and &s.workers[s.leaders[w.leader].worker] == w


cdef inline double send_replies(
    simulation_t *s, worker_state_t *w, double time, int32_t stolen, int32_t n_stolen
) noexcept nogil:
    """Send the replies, and jobs that are given back; return the time after that."""
    cdef network_t *n = network_of(s, w)
    cdef int32_t number = packet_new(s, <int32_t>(w - s.workers))
    cdef packet_t *p
    if number == NOBODY:
        return time
    p = &s.packets[number]
    p.first = w.reply_first
    p.last = w.reply_last
    p.n_jobs = w.n_replies
    p.stolen = stolen
    p.n_stolen = n_stolen
    p.leader = w.leader
    p.bytes += (RECORD_BYTES + s.result_bytes) * w.n_replies + RECORD_BYTES * n_stolen
    w.reply_first = w.reply_last = NOBODY
    w.n_replies = 0
    time += s.costs.frame
    if is_leader(s, w):
        p.time = w.sent_until = max(time, w.sent_until)
        plan(s, p.time, AT_LEADER, number)
        return time
    time += s.costs.message + n.overhead
    if (s.main.waits if w.leader == NOBODY else s.leaders[w.leader].waits) and n.wakeup >= 0:
        time += n.notify
    p.time = w.sent_until = max(time + n.latency + p.bytes * n.gap_per_byte, w.sent_until)
    plan(s, p.time, AT_MAIN if w.leader == NOBODY else AT_LEADER, number)
    return time


cdef inline double give_back(
    simulation_t *s, worker_state_t *w, double time, bint keeps_first
) noexcept nogil:
    """Send the jobs that have not begun to main, and replies; return the time after that."""
    cdef int32_t stolen = w.first
    cdef int32_t n = 0
    cdef int32_t job
    if keeps_first and stolen != NOBODY:
        stolen = s.link[stolen]
        s.link[w.first] = NOBODY
        w.last = w.first
    else:
        w.first = w.last = NOBODY
    job = stolen
    while job != NOBODY:
        n += 1
        job = s.link[job]
    return send_replies(s, w, time, stolen, n) if n or w.n_replies else time


cdef inline double receive(
    simulation_t *s, worker_state_t *w, double time, bint busy
) noexcept nogil:
    """Receive the packets that have arrived; return the time after that."""
    cdef network_t *n = network_of(s, w)
    cdef int32_t number
    cdef packet_t *p
    while w.arrived_head != NOBODY and s.packets[w.arrived_head].time <= time:
        number = w.arrived_head
        p = &s.packets[number]
        w.arrived_head = p.next
        time += s.costs.frame
        if not is_leader(s, w):
            time += s.costs.message + n.overhead
        if p.n_jobs:
            if w.first == NOBODY:
                w.first = p.first
            else:
                s.link[w.last] = p.first
            w.last = p.last
        if p.asks:
            time = give_back(s, w, time, not busy)
        packet_free(s, number)
    w.polled = time
    return time


cdef inline bint may_hold(simulation_t *s, worker_state_t *w, double time) noexcept nogil:
    """Whether the replies may wait until a time, as in pools with many workers."""
    return time < w.oldest + s.d.workers.hold_ns


cdef inline double flush(simulation_t *s, worker_state_t *w, double time) noexcept nogil:
    """Send the replies, if there are any, after receiving; return the time after that."""
    if w.n_replies:
        time = receive(s, w, time, False)
        if w.n_replies:
            time = send_replies(s, w, time, NOBODY, 0)
    return time


cdef inline void worker_turn(simulation_t *s, int32_t number, double time) noexcept nogil:
    """Begin the next job, or wait."""
    cdef worker_state_t *w = &s.workers[number]
    cdef int32_t job
    w.waits = False
    if w.first == NOBODY:
        time = receive(s, w, time, False)
    if w.first == NOBODY:
        time = flush(s, w, time)
        if w.first == NOBODY:
            time = receive(s, w, time, False)
    if w.first == NOBODY:
        w.waits = True
        w.wait_since = time
        if w.arrived_head != NOBODY:  # it is seen before the rank sleeps
            w.waits = False
            plan(s, max(time, s.packets[w.arrived_head].time), WORKER_TURN, number)
        return
    if time - w.polled > POLL_NS or w.function_ns >= LONG_JOB_NS:
        if w.function_ns >= LONG_JOB_NS and not may_hold(s, w, time + w.function_ns):
            time = flush(s, w, time)
        time = receive(s, w, time, False)
    job = w.first
    w.first = s.link[job]
    if w.first == NOBODY:
        w.last = NOBODY
    w.running = job
    w.job_start = time
    if s.started != NULL:
        s.started[job] = time
        s.ran_on[job] = number
    time += s.costs.worker_job + s.run_ns[job]
    w.job_end = time
    plan(s, time, JOB_ENDED, number)
    if time > w.job_start + CHECK_NS and (
        w.arrived_head != NOBODY or (w.n_replies and not may_hold(s, w, time))
    ):
        look_later(s, number, w.job_start)


cdef inline void look_later(simulation_t *s, int32_t number, double time) noexcept nogil:
    """Let the progress thread look for messages after `time`."""
    cdef worker_state_t *w = &s.workers[number]
    if not w.looks:
        w.looks = True
        plan(s, looks_at(w.job_start, time), PROGRESS, number)


cdef inline void worker_progress(simulation_t *s, int32_t number, double time) noexcept nogil:
    """Do what the progress thread does while a job runs."""
    cdef worker_state_t *w = &s.workers[number]
    w.looks = False
    if w.running == NOBODY or time < w.job_start + CHECK_NS:
        return  # the job has ended, and maybe another one has begun
    if w.n_replies and not may_hold(s, w, time):
        send_replies(s, w, time, NOBODY, 0)
    receive(s, w, time, True)


cdef inline void worker_job_ended(simulation_t *s, int32_t number, double time) noexcept nogil:
    """Add the reply of a job, send replies that are due, and go on."""
    cdef worker_state_t *w = &s.workers[number]
    cdef int32_t job = w.running
    cdef double run_ns = s.run_ns[job]
    w.running = NOBODY
    s.busy += s.run_ns[job]
    if s.ended != NULL:
        s.ended[job] = time
    s.link[job] = NOBODY
    if w.n_replies:
        s.link[w.reply_last] = job
    else:
        w.reply_first = job
        w.oldest = time
    w.reply_last = job
    w.n_replies += 1
    if run_ns > w.function_ns:
        w.function_ns = run_ns
    else:
        w.function_ns += (run_ns - w.function_ns) * 0.25
    if (
        w.n_replies >= MAX_REPLIES
        or w.n_replies * (RECORD_BYTES + s.result_bytes) > EAGER_FRAME
        or (
            (run_ns > LONG_JOB_NS or time - w.oldest > MAX_REPLY_AGE_NS)
            and not may_hold(s, w, time)
        )
    ):
        time = flush(s, w, time)
    worker_turn(s, number, time)


cdef inline void at_worker(simulation_t *s, int32_t number, double time) noexcept nogil:
    """A packet has arrived."""
    cdef packet_t *p = &s.packets[number]
    cdef worker_state_t *w = &s.workers[p.worker]
    p.next = NOBODY
    if w.arrived_head == NOBODY:
        w.arrived_head = number
    else:
        s.packets[w.arrived_tail].next = number
    w.arrived_tail = number
    if w.waits:
        time = noticed_at(network_of(s, w), w.wait_since, time)
        s.idle_wait += time - w.wait_since
        s.n_waits += 1
        w.waits = False
        plan(s, time, WORKER_TURN, p.worker)
    elif w.running != NOBODY:
        # Otherwise the worker finds the packet when its job has ended. The progress thread
        # receives jobs too, but that changes nothing.
        if p.asks:
            look_later(s, p.worker, time)
