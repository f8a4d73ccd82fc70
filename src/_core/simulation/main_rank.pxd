# What the simulated main rank does, as `runtime.main_loop` does it: it reads replies, lets the
# dispatcher decide, and sends jobs. The dispatcher is the real one.
from bsbpool._core.scheduling.assignment cimport queues_assign
from bsbpool._core.scheduling.dispatcher_tables cimport SEND_JOB
from bsbpool._core.scheduling.status cimport SUCCESS
from bsbpool._core.scheduling.worker_queues cimport (
    queues_can_steal,
    queues_done,
    queues_stolen,
)
from bsbpool._core.scheduling.workers cimport ns_per_kib
from bsbpool._core.simulation.tables cimport (
    AT_LEADER,
    AT_WORKER,
    LEADER_ACK,
    MAIN_TURN,
    NOBODY,
    RECORD_BYTES,
    SPIN_NS,
    STEAL_TIME,
    gauge_set,
    main_t,
    noticed_at,
    packet_add_frame,
    packet_add_job,
    packet_free,
    packet_new,
    packet_t,
    plan,
    queue_pop,
    queue_push,
    simulation_t,
    worker_state_t,
)
from bsbpool._core.simulation.worker_rank cimport EAGER_FRAME
from bsbpool._core.vector cimport ints_push
from libc.stdint cimport int32_t, int64_t

cdef enum:
    MESSAGES_PER_ROUND = 64  # these two are those of `main_loop`
    STEAL_INTERVAL_NS = 1_000_000


# ------------------------------------------------------------------ receiving

cdef inline double read_frame(simulation_t *s, int32_t number, double time) noexcept nogil:
    """Read the replies of a worker; return the time after that."""
    cdef packet_t *p = &s.packets[number]
    cdef worker_state_t *w = &s.workers[p.worker]
    cdef int32_t job = p.first
    cdef int32_t following
    cdef double kib = <double>(<int64_t>s.argument_bytes >> 10)
    w.last_contact = time
    w.steal_pending = False
    time += s.costs.main_frame
    while job != NOBODY:
        following = s.link[job]
        time += s.costs.job_done
        if queues_done(
            &s.d, p.worker, job, SUCCESS,
            s.run_ns[job] + kib * ns_per_kib(&s.d.workers),
        ) < 0:
            return time
        job = following
    job = p.stolen
    while job != NOBODY:
        following = s.link[job]
        time += s.costs.job_done
        s.n_stolen += 1
        if queues_stolen(&s.d, p.worker, job) < 0:
            return time
        job = following
    packet_free(s, number)
    return time


cdef inline double read_message(simulation_t *s, int32_t number, double time) noexcept nogil:
    """Read a frame or a bundle of frames; return the time after that."""
    cdef int32_t frame
    cdef int32_t following
    s.n_received += 1
    s.bytes_moved += s.packets[number].bytes
    time += s.costs.message + s.network.overhead
    if s.packets[number].worker != NOBODY:
        return read_frame(s, number, time)
    frame = s.packets[number].frames
    while frame != NOBODY:
        following = s.packets[frame].next
        time = read_frame(s, frame, time)
        frame = following
    if s.paced:
        plan(s, time + s.network.latency, LEADER_ACK, s.packets[number].leader)
    packet_free(s, number)
    return time


cdef inline void at_main(simulation_t *s, int32_t number, double time) noexcept nogil:
    """A message has arrived at the network interface."""
    cdef main_t *m = &s.main
    cdef packet_t *p = &s.packets[number]
    cdef double taken = p.bytes * s.network.gap_per_byte
    if taken < s.network.gap:
        taken = s.network.gap
    p.time = time if time > m.nic_in + taken else m.nic_in + taken
    m.nic_in = p.time
    queue_push(s, &m.inbox, number)
    gauge_set(&s.inbox, time, <double>m.inbox.size)
    if m.waits:
        m.waits = False
        m.n_sleeps += p.time > m.wait_since + SPIN_NS
        plan(s, noticed_at(&s.network, m.wait_since, p.time), MAIN_TURN, 0)


# ------------------------------------------------------------------ sending

cdef inline double post(simulation_t *s, int32_t number, double time) noexcept nogil:
    """Send a message to a worker or a leader; return the time after that."""
    cdef packet_t *p = &s.packets[number]
    cdef main_t *m = &s.main
    cdef double taken = p.bytes * s.network.gap_per_byte
    cdef bint waits = s.workers[p.worker].waits if p.leader == NOBODY else s.leaders[p.leader].waits
    cdef double begin
    s.n_sent += 1
    s.bytes_moved += p.bytes
    time += s.costs.message + s.network.overhead
    if waits and s.network.wakeup >= 0:
        time += s.network.notify
    begin = time if time > m.nic_out else m.nic_out
    m.nic_out = begin + (taken if taken > s.network.gap else s.network.gap)
    p.time = begin + s.network.latency + taken
    plan(s, p.time, AT_WORKER if p.leader == NOBODY else AT_LEADER, number)
    return time


cdef inline int32_t frame_for(simulation_t *s, int32_t worker) noexcept nogil:
    """Return the open frame to a worker; NOBODY when memory is exhausted."""
    cdef worker_state_t *w = &s.workers[worker]
    if w.frame == NOBODY:
        w.frame = packet_new(s, worker)
        if w.frame != NOBODY and ints_push(&s.touched, worker) < 0:
            s.failed = True
    return w.frame


cdef inline double flush_to(simulation_t *s, int32_t worker, double time) noexcept nogil:
    """Send the open frame to a worker, or add it to the bundle of its leader."""
    cdef worker_state_t *w = &s.workers[worker]
    cdef int32_t frame = w.frame
    cdef int32_t bundle
    if frame == NOBODY:
        return time
    w.frame = NOBODY
    time += s.costs.main_frame
    w.last_contact = time
    if w.leader == NOBODY:
        return post(s, frame, time)
    bundle = s.leaders[w.leader].bundle_down
    if bundle == NOBODY:
        bundle = packet_new(s, NOBODY)
        if bundle == NOBODY or ints_push(&s.touched_leaders, w.leader) < 0:
            s.failed = True
            return time
        s.packets[bundle].leader = w.leader
        s.leaders[w.leader].bundle_down = bundle
    packet_add_frame(s, bundle, frame)
    return time


cdef inline double flush_all(simulation_t *s, double time) noexcept nogil:
    """Send all open frames; return the time after that."""
    cdef int64_t i
    cdef int32_t leader
    for i in range(s.touched.size):
        time = flush_to(s, s.touched.data[i], time)
    s.touched.size = 0
    for i in range(s.touched_leaders.size):
        leader = s.touched_leaders.data[i]
        time = post(s, s.leaders[leader].bundle_down, time)
        s.leaders[leader].bundle_down = NOBODY
    s.touched_leaders.size = 0
    return time


cdef inline double dispatch(simulation_t *s, double time) noexcept nogil:
    """Let the dispatcher assign jobs, and send them; return the time after that."""
    cdef int64_t i
    cdef int32_t frame
    gauge_set(&s.ready, time, <double>s.d.ready.count)
    if queues_assign(&s.d) < 0:
        return time
    for i in range(s.d.n_actions):
        if s.d.actions[i].kind != SEND_JOB:
            continue
        time += s.costs.job_sent
        frame = frame_for(s, s.d.actions[i].worker)
        if frame == NOBODY:
            return time
        packet_add_job(s, frame, s.d.actions[i].job, s.argument_bytes)
        if s.packets[frame].bytes >= EAGER_FRAME:
            time = flush_to(s, s.d.actions[i].worker, time)
    s.d.n_actions = 0
    time = flush_all(s, time)
    gauge_set(&s.ready, time, <double>s.d.ready.count)
    if s.full_until == 0 and s.d.ready.count == 0:
        note_full(s, time)
    return time


cdef inline void note_full(simulation_t *s, double time) noexcept nogil:
    """Note how long the workers were busy until now, when no more jobs are ready."""
    cdef int32_t worker
    cdef double busy = s.busy
    cdef double part
    for worker in range(s.n_workers):
        if s.workers[worker].running != NOBODY:
            part = time - s.workers[worker].job_start
            if part > 0:
                busy += min(part, s.run_ns[s.workers[worker].running])
    s.full_until = time
    s.busy_while_full = busy


# ------------------------------------------------------------------ the loop

cdef inline double request_steals(simulation_t *s, double time) noexcept nogil:
    """Ask workers that have been silent for the jobs that they have not begun."""
    cdef int32_t worker
    cdef double now = time
    cdef int32_t frame
    if now < s.main.next_steal:
        return time
    s.main.next_steal = now + STEAL_INTERVAL_NS
    time += s.costs.scan * s.n_workers
    for worker in range(s.n_workers):
        if (
            s.d.workers.slots[worker].in_flight > 1
            and not s.workers[worker].steal_pending
            and now - s.workers[worker].last_contact >= STEAL_INTERVAL_NS
        ):
            frame = frame_for(s, worker)
            if frame == NOBODY:
                return time
            s.workers[worker].steal_pending = True
            s.packets[frame].asks = True
            s.packets[frame].bytes += RECORD_BYTES
    return flush_all(s, time)


cdef inline void main_wait(simulation_t *s, double time) noexcept nogil:
    """Wait for a message, or until jobs may be stolen."""
    cdef main_t *m = &s.main
    cdef double begin = time
    if queues_can_steal(&s.d):
        time = request_steals(s, time)
        m.n_waits += 1
        plan(s, begin + STEAL_INTERVAL_NS, STEAL_TIME, <int32_t>(m.n_waits & 0x7FFFFFFF))
        m.busy += time - begin
    else:
        m.n_waits += 1
    m.wait_since = time
    if m.inbox.size:
        plan(s, max(time, s.packets[m.inbox.head].time), MAIN_TURN, 0)
    else:
        m.waits = True


cdef inline void main_turn(simulation_t *s, double time) noexcept nogil:
    """Go on with a round of the loop: read what has arrived, or send jobs and begin the next."""
    cdef main_t *m = &s.main
    cdef double begin = time
    cdef int32_t n_before = m.n_read
    cdef int64_t n_sent
    while (
        m.inbox.size and m.n_read < MESSAGES_PER_ROUND
        and s.packets[m.inbox.head].time <= begin
    ):
        m.n_read += 1
        time = read_message(s, queue_pop(s, &m.inbox), time)
    if m.n_read > n_before:
        gauge_set(&s.inbox, begin, <double>m.inbox.size)
        m.busy += time - begin
        if s.d.unfinished == 0:
            s.end = time
        else:
            plan(s, time, MAIN_TURN, 0)  # more may have arrived meanwhile
        return
    n_sent = s.n_sent
    s.n_rounds += 1
    time = dispatch(s, time + s.costs.round)
    m.busy += time - begin
    n_before = m.n_read
    m.n_read = 0
    if n_before or s.n_sent > n_sent:
        plan(s, time, MAIN_TURN, 0)
    else:
        main_wait(s, time)


cdef inline void steal_time(simulation_t *s, int32_t number, double time) noexcept nogil:
    """Main has waited for some time without a message."""
    if s.main.waits and number == <int32_t>(s.main.n_waits & 0x7FFFFFFF):
        s.main.waits = False
        plan(s, time, MAIN_TURN, 0)
