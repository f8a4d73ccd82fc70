from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    WIRE_MAGIC = 0x6270
    WIRE_VERSION = 1
    WIRE_NO_MEMORY = -1
    WIRE_MALFORMED = -2

cdef enum:
    # A frame of at least this many bytes is sent. With one more short record it stays below 4 KiB,
    # the smallest eager limit of all supported MPIs (Open MPI within a node).
    EAGER_FRAME = 3_500

cpdef enum RecordKind:
    # From main to a worker. In parentheses: the fields of the record, besides those of its payload.
    JOB = 1  # run a job (id: job, aux: function, flags: RecordFlag, payload: arguments)
    FUNCTION = 2  # a function for later jobs (aux: its number, flags: its mode, payload: pickle)
    FORGET = 3  # drop a function (aux: its number)
    NEEDED = 4  # cache items that became needed (payload: tokens of 8 bytes each)
    UNNEEDED = 5  # cache items that became unneeded (payload: tokens)
    SKIP = 6  # do not run a job (id: job)
    STOP = 7  # the run is over (id: stop code, flags: STOP_ABORTED or 0)
    STEAL_REQUEST = 10  # give back the jobs that have not begun
    # From a worker to main.
    DONE = 8  # a job has ended (id: job, flags: ReplyFlag, extra: run time in ns, aux: KiB of
    # arguments, payload: result or error)
    LEAVE = 9  # the worker has left the run (payload: the reason, as text)
    STEAL_RESPONSE = 11  # a job that is given back (id: job)
    RANK_FAILED = 12  # the process of another rank has ended (id: rank)

cdef enum:
    STOP_ABORTED = 1  # the run has ended before all jobs have

cpdef enum ReplyFlag:
    # How a job ended, in the lowest two bits; `reply_reader.OUTCOMES` has the statuses.
    FAILED_REPLY = 0
    OK_REPLY = 1
    SKIPPED_REPLY = 2  # the job did not run, since main has cancelled it
    OUTCOME_BITS = 3  # the mask; the value 3 is not in use
    NO_RESULT = 4  # the result is None

cpdef enum RecordFlag:
    SCALARS = 0x08  # `scalar_codec` reads the payload
    ONLY_ARGS = 0x10  # the payload has positional arguments only
    PAYLOAD_OUT = 0x80  # the payload is the first part, not inline

# The header of a frame.
ctypedef struct header_t:
    uint16_t magic
    uint8_t version
    uint8_t reserved
    uint32_t run_id
    uint32_t n_records
    uint32_t n_parts
    uint64_t size

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
