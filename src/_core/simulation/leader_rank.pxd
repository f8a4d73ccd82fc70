# What a simulated leader does: it forwards frames between main and the workers of its node.
#
# Main sends one bundle to each leader in a round. The leader sends its frames to the workers. It
# collects their frames, and sends them to main in one bundle when it has read all that has arrived.
# A leader that runs jobs too forwards while its progress thread looks for messages.
from bsbpool._core.simulation.tables cimport (
    AT_MAIN,
    AT_WORKER,
    LEADER_TURN,
    NOBODY,
    leader_t,
    looks_at,
    noticed_at,
    packet_add_frame,
    packet_free,
    packet_new,
    packet_t,
    plan,
    queue_pop,
    queue_push,
    simulation_t,
    worker_state_t,
)
from libc.stdint cimport int32_t


cdef inline void leader_plan(simulation_t *s, int32_t number, double time) noexcept nogil:
    """Let a leader read what has arrived, as soon as it can after `time`."""
    cdef int32_t own = s.leaders[number].worker
    cdef worker_state_t *w
    if own != NOBODY and s.workers[own].running != NOBODY:
        w = &s.workers[own]
        time = min(looks_at(w.job_start, time), w.job_end)
    plan(s, time, LEADER_TURN, number)


cdef inline double send_down(
    simulation_t *s, leader_t *leader, int32_t bundle, double time
) noexcept nogil:
    """Forward the frames of a bundle to their workers; return the time after that."""
    cdef int32_t frame = s.packets[bundle].frames
    cdef int32_t following
    cdef packet_t *p
    cdef worker_state_t *w
    while frame != NOBODY:
        p = &s.packets[frame]
        w = &s.workers[p.worker]
        following = p.next
        time += s.costs.frame
        p.time = time
        if p.worker != leader.worker:
            time += s.costs.message + s.local.overhead
            if w.waits and s.local.wakeup >= 0:
                time += s.local.notify
            p.time = time + s.local.latency + p.bytes * s.local.gap_per_byte
        p.time = w.forwarded_until = max(p.time, w.forwarded_until)
        plan(s, p.time, AT_WORKER, frame)
        frame = following
    packet_free(s, bundle)
    return time


cdef inline double send_up(
    simulation_t *s, leader_t *leader, double time
) noexcept nogil:
    """Send the frames of the workers to main; return the time after that."""
    cdef packet_t *p
    if leader.bundle_up == NOBODY or leader.unread:
        return time
    leader.unread = s.paced
    p = &s.packets[leader.bundle_up]
    time += s.costs.message + s.network.overhead
    if s.main.waits and s.network.wakeup >= 0:
        time += s.network.notify
    p.time = max(
        time + s.network.latency + p.bytes * s.network.gap_per_byte, leader.sent_until
    )
    leader.sent_until = p.time
    plan(s, p.time, AT_MAIN, leader.bundle_up)
    leader.bundle_up = NOBODY
    return time


cdef inline void leader_turn(simulation_t *s, int32_t number, double time) noexcept nogil:
    """Read what has arrived; when nothing is left, send the frames for main, and wait."""
    cdef leader_t *leader = &s.leaders[number]
    cdef double begin = time
    cdef int32_t packet
    cdef bint found = False
    while leader.inbox.size and s.packets[leader.inbox.head].time <= begin:
        found = True
        packet = queue_pop(s, &leader.inbox)
        if s.packets[packet].worker == NOBODY:
            time += s.costs.message + s.network.overhead
            time = send_down(s, leader, packet, time)
            continue
        time += s.costs.frame
        if s.packets[packet].worker != leader.worker:
            time += s.costs.message + s.local.overhead
        if leader.bundle_up == NOBODY:
            leader.bundle_up = packet_new(s, NOBODY)
            if leader.bundle_up == NOBODY:
                return
            s.packets[leader.bundle_up].leader = number
        packet_add_frame(s, leader.bundle_up, packet)
    if not found:
        time = send_up(s, leader, time)
    leader.busy += time - begin
    if found or leader.inbox.size:
        # More may have arrived meanwhile.
        if not found and s.packets[leader.inbox.head].time > time:
            time = s.packets[leader.inbox.head].time
        leader_plan(s, number, time)
    else:
        leader.waits = True
        leader.wait_since = time


cdef inline void at_leader(simulation_t *s, int32_t number, double time) noexcept nogil:
    """A bundle of main or a frame of a worker has arrived."""
    cdef packet_t *p = &s.packets[number]
    cdef leader_t *leader = &s.leaders[p.leader]
    queue_push(s, &leader.inbox, number)
    if leader.waits:
        leader.waits = False
        if leader.worker == NOBODY or s.workers[leader.worker].running == NOBODY:
            time = noticed_at(
                &s.network if p.worker == NOBODY else &s.local, leader.wait_since, time
            )
        leader_plan(s, p.leader, time)


cdef inline void leader_ack(simulation_t *s, int32_t number, double time) noexcept nogil:
    """Main has read the last bundle: send the next one, if frames wait."""
    cdef leader_t *leader = &s.leaders[number]
    leader.unread = False
    if leader.waits and leader.bundle_up != NOBODY:
        leader.waits = False
        leader_plan(s, number, time)
