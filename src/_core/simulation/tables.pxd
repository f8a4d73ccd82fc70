# The tables of a simulation: costs, messages, and the state of main, leaders and workers.
#
# Times are in ns, as doubles. Lists of jobs and of messages are linked through arrays of numbers:
# a simulated job takes no memory besides 12 bytes and its entry in the tables of the dispatcher.
from bsbpool._core.scheduling.dispatcher_tables cimport dispatcher_t
from bsbpool._core.simulation.event_heap cimport heap_push, heap_t
from bsbpool._core.vector cimport grow, ints_t
from libc.math cimport ceil
from libc.stdint cimport int32_t, int64_t, uint8_t

cdef enum:
    NOBODY = -1
    RECORD_BYTES = 32  # `record_t`
    HEADER_BYTES = 40  # `header_t`

cdef enum event_kind:
    MAIN_TURN = 0
    AT_MAIN = 1  # a message arrives
    STEAL_TIME = 2  # main has waited for STEAL_INTERVAL_NS
    AT_WORKER = 3
    JOB_ENDED = 4
    WORKER_TURN = 5
    PROGRESS = 6  # the progress thread of a worker looks for messages
    AT_LEADER = 7
    LEADER_TURN = 8
    LEADER_ACK = 9  # main has read the bundle of a leader

# The parameters of LogGP, and how a rank that sleeps notices a message.
ctypedef struct network_t:
    double latency
    double overhead  # CPU time of the sender, and again of the receiver
    double gap  # between two messages of a rank
    double gap_per_byte
    double wakeup  # how long it takes to wake a rank; negative: it finds the message when it polls
    double notify  # CPU time of the sender for waking a rank

# The CPU time of our own steps, without that of the network.
ctypedef struct costs_t:
    double round  # a round of main's loop
    double job_sent  # assign and encode a job
    double job_done  # read a reply and update the tables
    double frame  # write or read a frame
    double main_frame  # the same on main, whose state of the worker may not be in a cache
    double message  # send or receive a message, without the network's overhead
    double worker_job  # what a worker does for a job besides its run time
    double scan  # look at one worker, when jobs are to be stolen

# Frames from main to a worker or back; with leaders also bundles of frames.
ctypedef struct packet_t:
    double time  # when the receiver can see it
    double bytes
    int32_t next  # the next packet of a queue, or frame of a bundle
    int32_t worker
    int32_t leader
    int32_t first  # the list of its jobs
    int32_t last
    int32_t n_jobs
    int32_t stolen  # the list of the jobs that are given back
    int32_t n_stolen
    int32_t frames  # the list of the frames of a bundle
    int32_t last_frame
    int32_t n_frames
    uint8_t asks  # it asks for the jobs that have not begun

ctypedef struct queue_t:
    int32_t head
    int32_t tail
    int64_t size

# A quantity over time.
ctypedef struct gauge_t:
    double since
    double value
    double integral
    double most

ctypedef struct main_t:
    queue_t inbox
    double nic_in  # when the network has delivered the last message
    double nic_out
    double wait_since
    double busy
    double next_steal
    int64_t n_waits
    int64_t n_sleeps
    int32_t n_read  # messages of this round
    uint8_t waits

ctypedef struct worker_state_t:
    double job_start
    double job_end
    double function_ns  # `Function.run_ns`
    double polled
    double oldest  # when the oldest reply was added
    double wait_since
    double sent_until  # when its last message arrives: none overtakes another
    double forwarded_until  # the same for messages of its leader to it
    double last_contact  # main's
    int32_t frame  # the open frame to it, or NOBODY
    int32_t running  # a job, or NOBODY
    int32_t first  # the jobs that it has received
    int32_t last
    int32_t arrived_head  # packets that it has not received
    int32_t arrived_tail
    int32_t reply_first
    int32_t reply_last
    int32_t n_replies
    int32_t leader
    uint8_t waits
    uint8_t looks  # a PROGRESS event is due
    uint8_t steal_pending  # main's

ctypedef struct leader_t:
    queue_t inbox
    double wait_since
    double busy
    double sent_until
    int32_t bundle_down  # main's open bundle to it
    int32_t bundle_up
    int32_t worker  # that is this rank too, or NOBODY
    uint8_t waits
    uint8_t unread  # main has not read its last bundle

ctypedef struct simulation_t:
    dispatcher_t d
    heap_t heap
    network_t network
    network_t local  # within a node, between a leader and its workers
    costs_t costs
    double argument_bytes
    double result_bytes
    double *run_ns  # by job
    int32_t *link  # the next job of a list
    double *started  # by job, or NULL if nobody asks for it
    double *ended
    int32_t *ran_on
    packet_t *packets
    int64_t n_packets
    int64_t packet_capacity
    int32_t free_packet
    main_t main
    worker_state_t *workers
    int32_t n_workers
    leader_t *leaders
    bint paced  # leaders send a bundle when main has read the one before
    int32_t n_leaders
    ints_t touched  # workers with an open frame
    ints_t touched_leaders
    double busy  # the run times of all jobs that have ended
    double idle_wait  # the sum of the times that workers have waited between two jobs
    int64_t n_waits
    int64_t n_sent
    int64_t n_received
    int64_t n_rounds
    int64_t n_stolen
    double bytes_moved
    gauge_t ready
    gauge_t inbox
    double end
    double full_until  # when no job was ready for the first time after all were queued
    double busy_while_full  # the run times of all jobs until then
    bint failed  # memory is exhausted


cdef inline void plan(simulation_t *s, double time, int32_t kind, int32_t subject) noexcept nogil:
    """Let an event happen at a time."""
    if heap_push(&s.heap, time, kind, subject) < 0:
        s.failed = True


cdef inline void gauge_set(gauge_t *g, double time, double value) noexcept nogil:
    if time > g.since:
        g.integral += g.value * (time - g.since)
        g.since = time
    g.value = value
    if value > g.most:
        g.most = value


# ------------------------------------------------------------------ packets

cdef inline int32_t packet_new(simulation_t *s, int32_t worker) noexcept nogil:
    """Return a new frame; NOBODY when memory is exhausted."""
    cdef int32_t number = s.free_packet
    cdef packet_t *p
    if number != NOBODY:
        s.free_packet = s.packets[number].next
    else:
        if grow(<void **>&s.packets, &s.packet_capacity, s.n_packets + 1, sizeof(packet_t)) < 0:
            s.failed = True
            return NOBODY
        number = <int32_t>s.n_packets
        s.n_packets += 1
    p = &s.packets[number]
    p.bytes = HEADER_BYTES
    p.time = 0
    p.worker = worker
    p.leader = p.next = p.first = p.last = p.stolen = p.frames = p.last_frame = NOBODY
    p.n_jobs = p.n_stolen = p.n_frames = 0
    p.asks = False
    return number


cdef inline void packet_free(simulation_t *s, int32_t number) noexcept nogil:
    s.packets[number].next = s.free_packet
    s.free_packet = number


cdef inline void packet_add_frame(simulation_t *s, int32_t bundle, int32_t frame) noexcept nogil:
    cdef packet_t *p = &s.packets[bundle]
    s.packets[frame].next = NOBODY
    if p.n_frames:
        s.packets[p.last_frame].next = frame
    else:
        p.frames = frame
    p.last_frame = frame
    p.n_frames += 1
    p.bytes += s.packets[frame].bytes


cdef inline void packet_add_job(
    simulation_t *s, int32_t number, int32_t job, double payload
) noexcept nogil:
    cdef packet_t *p = &s.packets[number]
    s.link[job] = NOBODY
    if p.n_jobs:
        s.link[p.last] = job
    else:
        p.first = job
    p.last = job
    p.n_jobs += 1
    p.bytes += RECORD_BYTES + payload


cdef inline void queue_init(queue_t *q) noexcept nogil:
    q.head = q.tail = NOBODY
    q.size = 0


cdef inline void queue_push(simulation_t *s, queue_t *q, int32_t number) noexcept nogil:
    s.packets[number].next = NOBODY
    if q.size:
        s.packets[q.tail].next = number
    else:
        q.head = number
    q.tail = number
    q.size += 1


cdef inline int32_t queue_pop(simulation_t *s, queue_t *q) noexcept nogil:
    cdef int32_t number = q.head
    q.head = s.packets[number].next
    q.size -= 1
    return number


# ------------------------------------------------------------------ waiting

cdef enum:
    # Those of `comm.waiter`, `comm.backoff` and `runtime.progress_thread`.
    SPIN_NS = 5_000  # 50 polls of 100 ns
    FIRST_SLEEP_NS = 1_000
    MAX_SLEEP_NS = 500_000
    CHECK_NS = 1_000_000
    LONG_CHECK_NS = 4_000_000
    LONG_NS = 16_000_000


cdef inline double noticed_at(network_t *n, double since, double time) noexcept nogil:
    """Return when a rank that waits since `since` notices a message that it can see at `time`."""
    cdef double sleep = FIRST_SLEEP_NS
    cdef double wakes = since + SPIN_NS
    if time <= wakes:
        return time if time > since else since
    if n.wakeup >= 0:
        return time + n.wakeup
    while wakes < time and sleep < MAX_SLEEP_NS:
        wakes += sleep
        sleep *= 2
    if wakes < time:
        wakes += ceil((time - wakes) / MAX_SLEEP_NS) * MAX_SLEEP_NS
    return wakes


cdef inline double looks_at(double start, double time) noexcept nogil:
    """Return when the progress thread looks for messages, in a job since `start`, after `time`."""
    if time <= start + CHECK_NS:
        return start + CHECK_NS
    if time <= start + LONG_NS:
        return start + ceil((time - start) / CHECK_NS) * CHECK_NS
    return start + LONG_NS + ceil((time - start - LONG_NS) / LONG_CHECK_NS) * LONG_CHECK_NS
