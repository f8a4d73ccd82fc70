from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    WIRE_MAGIC = 0x6270
    WIRE_VERSION = 4
    WIRE_NO_MEMORY = -1
    WIRE_MALFORMED = -2

cdef enum:
    # A frame of at least this many bytes is sent. With one more short record it stays below 4 KiB,
    # the smallest eager limit of all supported MPIs (Open MPI within a node).
    EAGER_FRAME = 3_500

cpdef enum RecordKind:
    # From main to a worker. In parentheses: the fields of the record, besides those of its payload.
    JOB = 1  # run a job (id: job, aux: function, flags: RecordFlag, extra: for how many ns its
    # reply may be held back while the worker has more jobs, payload: arguments)
    FUNCTION = 2  # a function for later jobs (aux: its number, flags: its mode, payload: pickle)
    FORGET = 3  # drop a function (aux: its number)
    NEEDED = 4  # cache items that became needed (payload: tokens of 8 bytes each)
    UNNEEDED = 5  # cache items that became unneeded (payload: tokens)
    SKIP = 6  # do not run a job (id: job)
    STOP = 7  # the run is over (id: stop code, flags: STOP_..., extra: how many DATA records the
    # worker is sent in this run)
    STEAL_REQUEST = 10  # give back the jobs that have not begun
    INTERRUPT = 13  # end a job (id: job, aux: InterruptKind, payload: the reason, as text)
    SEND_DATA = 16  # send data to another worker (id: data, aux: its rank)
    FORGET_DATA = 18  # drop data (id)
    DATA_LOST = 19  # data will not arrive (id, aux: the rank with which they were lost)
    GANG = 30  # the ranks of the next GANG_JOB (id: job, aux: number of their communicator,
    # payload: the ranks, 8 bytes each)
    GANG_JOB = 31  # like JOB, for a job that several workers run at one time
    GANG_FREE = 32  # free a communicator (aux: its number, flags: GANG_DISCARD)
    # From a worker to main.
    GANG_DONE = 33  # like DONE, for a GANG_JOB
    DONE = 8  # a job has ended (id: job, flags: ReplyFlag, extra: see `timing_pack`, aux: KiB of
    # arguments, payload: result or error)
    LEAVE = 9  # the worker has left the run (payload: the reason, as text)
    STEAL_RESPONSE = 11  # a job that is given back (id: job)
    RANK_FAILED = 12  # the process of another rank has ended (id: rank)
    OUTPUT = 14  # output of a running job (id: job, aux: 1 stdout, 2 stderr, payload: text)
    HAVE_DATA = 20  # data have arrived (id)
    # From any rank to a worker, in a frame of its own.
    DATA = 17  # data that jobs need (id, payload: pickle)
    # Between main and a leader, in frames of their own, see `comm.relay`.
    RELAYED = 21  # a message (id: the worker that gets or has sent it, payload: the frame)
    CONFIRM_LOSS = 22  # to a leader: report when all messages of a lost worker are relayed (id)
    LOSS_CONFIRMED = 23  # from a leader: they are (id)

cdef enum:
    # Field `extra` of DONE: the run time in ns, and above it how long after the job before.
    RUN_TIME_BITS = 48
    START_UNIT_NS = 16
    MOST_AFTER_NS = 0xFFFF * START_UNIT_NS

cdef enum:
    # Flags of STOP.
    STOP_ABORTED = 1  # the run has ended before all jobs have
    STOP_REPORTS = 2  # the worker runs a job; it reports with LEAVE when it has left the run
    STOP_INTERRUPTS = 4  # interrupt the job that the worker runs
    STOP_DEATHS = 8  # ranks have died; the worker must know it before it finalizes MPI

cdef enum:
    GANG_DISCARD = 1  # flag of GANG_FREE: do not use it any more, but MPI cannot free it safely

cpdef enum ReplyFlag:
    # How a job ended, in the lowest two bits; `reply_reader.OUTCOMES` has the statuses.
    FAILED_REPLY = 0
    OK_REPLY = 1
    SKIPPED_REPLY = 2  # the job did not run, since main has cancelled it
    OUTCOME_BITS = 3  # the mask; the value 3 is not in use
    NO_RESULT = 4  # the result is None
    SECONDARY = 0x10  # of GANG_DONE: MPI has reported the failure of another member
    KEPT = 0x20  # the worker keeps the result for other jobs
    STAYED = 0x40  # it does not send the result; the payload is its size (8 B)

cpdef enum RecordFlag:
    SCALARS = 0x08  # `scalar_codec` reads the payload
    ONLY_ARGS = 0x10  # the payload has positional arguments only
    KEEP = 0x20  # keep a large result for other jobs
    KEEP_ONLY = 0x40  # keep a large result, and do not send it
    PAYLOAD_OUT = 0x80  # the payload is the first part, not inline

cdef enum:
    # How a message goes from its sender to its receiver: field `route` of its header.
    DIRECT = 0
    TO_MAIN = 1  # to a leader, which relays it to main
    FROM_MAIN = 2  # from main, relayed by a leader

# The header of a frame.
ctypedef struct header_t:
    uint16_t magic
    uint8_t version
    uint8_t route
    uint32_t run_id
    uint32_t n_records
    uint32_t n_parts
    uint64_t size
    int64_t time_ns  # of a worker's clock: when the first job of the replies began
    uint64_t peak_kib  # the largest resident memory of the worker so far
    # Of messages between main and a worker, on a channel that can relay them; else 0.
    uint32_t number  # of the message, from 1
    uint32_t confirmed  # the number of the last message of the receiver that has arrived

# The fields of a record. `id`, `aux` and `extra` depend on the kind.
ctypedef struct record_t:
    uint8_t kind
    uint8_t flags
    uint16_t n_parts
    uint32_t aux
    int64_t id
    uint64_t size
    uint64_t extra

# A frame that is being written.
ctypedef struct frame_t:
    uint8_t *data
    int64_t size
    int64_t capacity
    uint64_t *part_sizes
    int64_t n_parts
    int64_t part_capacity
    uint32_t n_records
    int64_t time_ns
    uint64_t peak_kib

# A position in a frame that is being read.
ctypedef struct cursor_t:
    const uint8_t *data
    uint64_t at
    uint64_t end
    header_t header
    uint32_t records_left
    uint32_t parts_left

cdef void frame_init(frame_t *f) noexcept nogil
cdef void frame_free(frame_t *f) noexcept nogil
cdef int frame_append(frame_t *f, const record_t *record, const void *payload) noexcept nogil
cdef int frame_part(frame_t *f, uint64_t size) noexcept nogil
cdef int frame_seal(frame_t *f, uint32_t run_id) noexcept nogil
cdef int cursor_open(cursor_t *c, const void *data, uint64_t size) noexcept nogil
cdef int cursor_check_parts(cursor_t *c) noexcept nogil
cdef uint64_t cursor_part_size(cursor_t *c, uint32_t part) noexcept nogil
cdef int cursor_next(cursor_t *c, record_t *record, const uint8_t **payload) noexcept nogil


cdef inline uint64_t timing_pack(int64_t run_ns, int64_t after_ns) noexcept nogil:
    """Return the field `extra` of a job that ran for `run_ns`.

    It began `after_ns` after the end of the job before it in the frame, or after the time of the
    frame. More than MOST_AFTER_NS would be cut off.
    """
    cdef uint64_t run = <uint64_t>run_ns
    cdef uint64_t units = <uint64_t>after_ns // START_UNIT_NS
    if run >> RUN_TIME_BITS:
        run = (<uint64_t>1 << RUN_TIME_BITS) - 1
    if units > 0xFFFF:
        units = 0xFFFF
    return run | units << RUN_TIME_BITS


cdef inline int64_t timing_run_ns(uint64_t extra) noexcept nogil:
    return <int64_t>(extra & ((<uint64_t>1 << RUN_TIME_BITS) - 1))


cdef inline int64_t timing_after_ns(uint64_t extra) noexcept nogil:
    return <int64_t>(extra >> RUN_TIME_BITS) * START_UNIT_NS
