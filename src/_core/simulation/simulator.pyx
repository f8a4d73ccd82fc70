"""A simulation of a pool: the real tables of the dispatcher on virtual ranks and a network."""
from bsbpool._core.scheduling.dispatcher cimport dispatcher_start_run, dispatcher_submit
from bsbpool._core.scheduling.dispatcher_tables cimport (
    dispatcher_free,
    dispatcher_init,
    job_t,
)
from bsbpool._core.scheduling.graph cimport edge_t, vertex_t
from bsbpool._core.scheduling.ready cimport READY_LEVELS
from bsbpool._core.scheduling.workers cimport worker_t, workers_open, workers_set_one_each
from bsbpool._core.simulation.event_heap cimport event_t, heap_free, heap_pop
from bsbpool._core.simulation.leader_rank cimport at_leader, leader_ack, leader_turn
from bsbpool._core.simulation.main_rank cimport at_main, main_turn, steal_time
from bsbpool._core.simulation.random_numbers cimport random_seed, random_t
from bsbpool._core.simulation.tables cimport (
    AT_LEADER,
    AT_MAIN,
    AT_WORKER,
    JOB_ENDED,
    LEADER_ACK,
    LEADER_TURN,
    MAIN_TURN,
    NOBODY,
    PROGRESS,
    STEAL_TIME,
    WORKER_TURN,
    gauge_set,
    leader_t,
    network_t,
    packet_t,
    plan,
    queue_init,
    simulation_t,
    worker_state_t,
)
from bsbpool._core.simulation.worker_rank cimport (
    LONG_JOB_NS,
    at_worker,
    worker_job_ended,
    worker_progress,
    worker_turn,
)
from bsbpool._core.simulation.workload cimport (
    INDEPENDENT,
    MAX_DEPS,
    draw_dependencies,
    draw_seconds,
)
from bsbpool._core.vector cimport ints_free
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from array import array

cdef enum:
    EVENTS_BETWEEN_SIGNALS = 1_000_000
    GRAPH_SEED = 0x5EED


cdef class Simulator:
    """One simulated run of a pool.

    Parameters
    ----------
    groups : sequence of int
        The number of workers of each leader; a single 0 and then the number of workers if there are
        no leaders. Workers are numbered in this order.
    leaders_work : sequence of bool
        For each leader, whether its rank is the first of its workers, too.
    n_jobs : int
        The number of jobs.
    trace : bool, optional
        Whether to note when and where each job ran, in the arrays `started`, `ended` and `ran_on`.
    """

    cdef simulation_t s
    cdef int32_t n_jobs
    cdef double longest_path
    cdef double work

    def __cinit__(self, groups, leaders_work, int32_t n_jobs, bint trace=False):
        cdef simulation_t *s = &self.s
        cdef int32_t i
        memset(s, 0, sizeof(simulation_t))
        dispatcher_init(&s.d)
        s.free_packet = NOBODY
        queue_init(&s.main.inbox)
        self.n_jobs = n_jobs
        s.n_leaders = 0 if groups[0] == 0 else <int32_t>len(groups)
        s.n_workers = <int32_t>sum(groups)
        s.workers = <worker_state_t *>calloc(s.n_workers, sizeof(worker_state_t))
        s.leaders = <leader_t *>calloc(s.n_leaders + 1, sizeof(leader_t))
        s.run_ns = <double *>malloc(n_jobs * sizeof(double))
        s.link = <int32_t *>malloc(n_jobs * sizeof(int32_t))
        if trace:
            s.started = <double *>calloc(n_jobs, sizeof(double))
            s.ended = <double *>calloc(n_jobs, sizeof(double))
            s.ran_on = <int32_t *>malloc(n_jobs * sizeof(int32_t))
        if (
            s.workers == NULL or s.leaders == NULL or s.run_ns == NULL or s.link == NULL
            or (trace and (s.started == NULL or s.ended == NULL or s.ran_on == NULL))
            or workers_open(&s.d.workers, s.n_workers) < 0
        ):
            raise MemoryError("out of memory for the tables of the simulation")
        for i in range(s.n_workers):
            self.open_worker(i)
        if s.n_leaders:
            self.open_leaders(groups, leaders_work)

    def __dealloc__(self):
        cdef simulation_t *s = &self.s
        dispatcher_free(&s.d)
        heap_free(&s.heap)
        free(s.workers)
        free(s.leaders)
        free(s.run_ns)
        free(s.link)
        free(s.started)
        free(s.ended)
        free(s.ran_on)
        free(s.packets)
        ints_free(&s.touched)
        ints_free(&s.touched_leaders)

    cdef void open_worker(self, int32_t number) noexcept:
        cdef worker_state_t *w = &self.s.workers[number]
        w.frame = w.running = w.first = w.last = w.arrived_head = w.arrived_tail = NOBODY
        w.reply_first = w.reply_last = w.leader = NOBODY
        w.function_ns = LONG_JOB_NS
        w.waits = True

    cdef int open_leaders(self, groups, leaders_work) except -1:
        cdef int32_t worker = 0
        cdef int32_t i
        cdef int32_t _
        for i in range(self.s.n_leaders):
            queue_init(&self.s.leaders[i].inbox)
            self.s.leaders[i].bundle_down = self.s.leaders[i].bundle_up = NOBODY
            self.s.leaders[i].worker = worker if leaders_work[i] else NOBODY
            self.s.leaders[i].waits = True
            for _ in range(<int32_t>groups[i]):
                self.s.workers[worker].leader = i
                worker += 1
        return 0

    # ------------------------------------------------------------------ parameters

    def set_network(self, network, local):
        """Set the parameters of the network and of messages within a node, in ns.

        Each is (latency, overhead, gap, gap per byte, wakeup, notify); a negative `wakeup`: a
        rank that sleeps finds a message when it polls.
        """
        set_parameters(&self.s.network, network)
        set_parameters(&self.s.local, local)

    def set_costs(
        self, double round, double job_sent, double job_done, double frame, double main_frame,
        double message, double worker_job, double scan,
    ):
        """Set the CPU time of each step in ns."""
        self.s.costs.round = round
        self.s.costs.job_sent = job_sent
        self.s.costs.job_done = job_done
        self.s.costs.frame = frame
        self.s.costs.main_frame = main_frame
        self.s.costs.message = message
        self.s.costs.worker_job = worker_job
        self.s.costs.scan = scan

    def set_payload(self, double argument_bytes, double result_bytes):
        """Set how many bytes the arguments and the result of a job have."""
        self.s.argument_bytes = argument_bytes
        self.s.result_bytes = result_bytes

    def disable_prefetch(self):
        """Let workers get one job at a time, the one that was idle longest first."""
        workers_set_one_each(&self.s.d.workers, True)

    def pace_leaders(self):
        """Let a leader send a bundle only when main has read the one before."""
        self.s.paced = True

    # ------------------------------------------------------------------ jobs

    def draw_jobs(
        self, int kind, double a, double b, int graph, int32_t parameter, uint64_t seed,
    ):
        """Draw run times, in seconds, and dependencies from a seed, and submit the jobs."""
        cdef random_t r
        cdef int32_t job
        random_seed(&r, seed)
        for job in range(self.n_jobs):
            self.s.run_ns[job] = 1e9 * draw_seconds(&r, kind, a, b)
        self.submit(graph, parameter, seed)

    def set_jobs(self, const double[::1] seconds, int graph, int32_t parameter, uint64_t seed):
        """Set the run times, repeated as often as needed, and submit the jobs."""
        cdef int32_t job
        cdef Py_ssize_t n = seconds.shape[0]
        for job in range(self.n_jobs):
            self.s.run_ns[job] = 1e9 * seconds[job % n]
        self.submit(graph, parameter, seed)

    cdef int submit(self, int graph, int32_t parameter, uint64_t seed) except -1:
        cdef random_t r
        cdef int32_t[MAX_DEPS] deps
        cdef int32_t job
        cdef int n = 0
        cdef int i
        cdef double before
        cdef double *path = NULL
        random_seed(&r, seed ^ GRAPH_SEED)
        if graph != INDEPENDENT:
            path = <double *>malloc(self.n_jobs * sizeof(double))
            if path == NULL:
                raise MemoryError()
        for job in range(self.n_jobs):
            before = 0
            if graph != INDEPENDENT:
                n = draw_dependencies(&r, graph, parameter, job, deps)
                for i in range(n):
                    before = max(before, path[deps[i]])
                path[job] = before + self.s.run_ns[job]
            self.work += self.s.run_ns[job]
            self.longest_path = max(self.longest_path, before + self.s.run_ns[job])
            if dispatcher_submit(&self.s.d, deps, n, NULL, 0, -1, 0, NULL) < 0:
                free(path)
                raise MemoryError("out of memory for the tables of jobs")
        free(path)
        return 0

    # ------------------------------------------------------------------ the run

    def run(self):
        """Run until all jobs have ended."""
        cdef bint goes_on = True
        dispatcher_start_run(&self.s.d)
        gauge_set(&self.s.ready, 0, <double>self.s.d.ready.count)
        plan(&self.s, 0, MAIN_TURN, 0)
        while goes_on:
            with nogil:
                goes_on = self.some_events()
            PyErr_CheckSignals()
        if self.s.failed:
            raise MemoryError("out of memory for the events of the simulation")
        if self.s.d.fault or self.s.d.unfinished:
            raise RuntimeError(
                f"the simulation stopped at {self.s.heap.n_added} events with "
                f"{self.s.d.unfinished} unfinished jobs and fault {self.s.d.fault}"
            )

    cdef bint some_events(self) noexcept nogil:
        """Handle some events; return whether there are more."""
        cdef simulation_t *s = &self.s
        cdef event_t e
        cdef int _
        for _ in range(EVENTS_BETWEEN_SIGNALS):
            if s.d.unfinished == 0 or s.failed or s.d.fault or not heap_pop(&s.heap, &e):
                return False
            if e.kind == JOB_ENDED:
                worker_job_ended(s, e.subject, e.time)
            elif e.kind == AT_WORKER:
                at_worker(s, e.subject, e.time)
            elif e.kind == AT_MAIN:
                at_main(s, e.subject, e.time)
            elif e.kind == WORKER_TURN:
                worker_turn(s, e.subject, e.time)
            elif e.kind == MAIN_TURN:
                main_turn(s, e.time)
            elif e.kind == AT_LEADER:
                at_leader(s, e.subject, e.time)
            elif e.kind == LEADER_TURN:
                leader_turn(s, e.subject, e.time)
            elif e.kind == LEADER_ACK:
                leader_ack(s, e.subject, e.time)
            elif e.kind == PROGRESS:
                worker_progress(s, e.subject, e.time)
            elif e.kind == STEAL_TIME:
                steal_time(s, e.subject, e.time)
        return True

    # ------------------------------------------------------------------ results

    def results(self):
        """Return what was counted and measured, with times in seconds."""
        cdef simulation_t *s = &self.s
        cdef double end = s.end if s.end > 0 else 1.0
        leaders = [s.leaders[i].busy for i in range(s.n_leaders)]
        return {
            "makespan": s.end * 1e-9,
            "work": self.work * 1e-9,
            "critical_path": self.longest_path * 1e-9,
            "busy": s.busy * 1e-9,
            "full_until": s.full_until * 1e-9,
            "busy_while_full": s.busy_while_full * 1e-9,
            "main_busy": s.main.busy * 1e-9,
            "leader_busy": max(leaders, default=0.0) * 1e-9,
            "ready_mean": s.ready.integral / end,
            "ready_max": int(s.ready.most),
            "inbox_mean": s.inbox.integral / end,
            "inbox_max": int(s.inbox.most),
            "sent": s.n_sent,
            "received": s.n_received,
            "rounds": s.n_rounds,
            "sleeps": s.main.n_sleeps,
            "stolen": s.n_stolen,
            "bytes_moved": s.bytes_moved,
            "wait": s.idle_wait / max(s.n_waits, 1) * 1e-9,
            "waits": s.n_waits,
            "events": s.heap.n_added,
        }

    def memory(self):
        """Return the bytes of the dispatcher's tables, and of the simulation itself.

        Returns
        -------
        jobs, edges, workers, simulation : int
            The bytes of the tables of jobs, of edges and of workers, and of all other tables.
        """
        cdef simulation_t *s = &self.s
        words = sum(s.d.ready.levels[k].n_words for k in range(READY_LEVELS))
        jobs = s.d.job_capacity * sizeof(job_t) + s.d.graph.vertex_capacity * sizeof(vertex_t)
        workers = s.n_workers * sizeof(worker_t)
        workers += 4 * (s.d.workers.idle.capacity + s.d.workers.spare.capacity)
        own = (
            s.n_workers * sizeof(worker_state_t) + s.n_leaders * sizeof(leader_t)
            + s.packet_capacity * sizeof(packet_t) + s.heap.capacity * sizeof(event_t)
            + self.n_jobs * 12
        )
        return jobs + 8 * words, s.d.graph.edge_capacity * sizeof(edge_t), workers, own

    @property
    def run_times(self):
        """The run time of each job in seconds."""
        return array("d", [self.s.run_ns[i] * 1e-9 for i in range(self.n_jobs)])

    @property
    def started(self):
        """When each job began, in seconds; only with `trace`."""
        self.check_trace()
        return array("d", [self.s.started[i] * 1e-9 for i in range(self.n_jobs)])

    @property
    def ended(self):
        """When each job ended, in seconds; only with `trace`."""
        self.check_trace()
        return array("d", [self.s.ended[i] * 1e-9 for i in range(self.n_jobs)])

    @property
    def ran_on(self):
        """The worker of each job; only with `trace`."""
        self.check_trace()
        return array("i", [self.s.ran_on[i] for i in range(self.n_jobs)])

    cdef int check_trace(self) except -1:
        if self.s.started == NULL:
            raise ValueError("trace was not set, so the simulator did not note when jobs ran")
        return 0


cdef int set_parameters(network_t *n, given) except -1:
    n.latency, n.overhead, n.gap, n.gap_per_byte, n.wakeup, n.notify = given
    return 0


def dependencies(int graph, int32_t parameter, int32_t n_jobs, uint64_t seed):
    """Return the lists of the jobs that each job waits for, as the simulator draws them."""
    cdef random_t r
    cdef int32_t[MAX_DEPS] deps
    cdef int32_t job
    cdef int n
    random_seed(&r, seed ^ GRAPH_SEED)
    found = []
    for job in range(n_jobs):
        n = draw_dependencies(&r, graph, parameter, job, deps)
        found.append([deps[i] for i in range(n)])
    return found
