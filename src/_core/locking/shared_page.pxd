# The state of a reader-writer lock in memory that the processes of a node share.
#
# Every process has a slot, which only changes while the mutex of the page is held. The counters in
# the head can be computed from the slots, so a process that dies inside of a critical section
# leaves nothing that cannot be repaired.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <time.h>
    typedef struct {
        uint32_t mutex;            /* slot + 1 of its owner, and MUTEX_CONTENDED */
        uint32_t writer;           /* slot + 1 of the process with exclusive access */
        uint32_t n_readers;
        uint32_t waiting_writers;
        uint32_t waiting_readers;
        uint32_t writes_in_a_row;  /* granted while readers waited */
        uint32_t two_level;        /* other nodes compete: a node needs the global lock as well */
        uint32_t global_mode;      /* the access that this node has: IDLE, READING or WRITING */
        uint32_t handovers;        /* grants within the node since it got the global lock */
        uint32_t stage;            /* how far the node is in the global queue; see below */
        uint64_t next_ticket;
        int64_t place;             /* the node's place in the global queue */
        int64_t before;            /* the place before it */
    } lock_head_t;
    typedef struct {
        uint32_t state;
        int32_t pid;
        uint64_t ticket;
        int64_t since_ns;          /* when it got its present state, CLOCK_MONOTONIC */
        char rest[40];
    } lock_slot_t;

    #ifdef __linux__
    #include <linux/futex.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    #define HAVE_LOCK_FUTEX 1
    static void lock_wait(uint32_t *word, uint32_t value, int64_t ns) {
        struct timespec t = {ns / 1000000000, ns % 1000000000};
        syscall(SYS_futex, word, FUTEX_WAIT, value, &t, (void *)0, 0);
    }
    static void lock_wake(uint32_t *word) {
        syscall(SYS_futex, word, FUTEX_WAKE, 1, (void *)0, (void *)0, 0);
    }
    #if defined(__x86_64__) || defined(__i386__)
    #define lock_pause() __builtin_ia32_pause()
    #else
    #define lock_pause() __asm__ __volatile__("" ::: "memory")
    #endif
    #else
    #define HAVE_LOCK_FUTEX 0
    #define lock_pause()
    static void lock_wait(uint32_t *word, uint32_t value, int64_t ns) {
        (void)word; (void)value; (void)ns;
    }
    static void lock_wake(uint32_t *word) { (void)word; }
    #endif
    static uint32_t lock_load(uint32_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
    static void lock_store(uint32_t *word, uint32_t value) {
        __atomic_store_n(word, value, __ATOMIC_RELEASE);
    }
    static uint32_t lock_exchange(uint32_t *word, uint32_t value) {
        return __atomic_exchange_n(word, value, __ATOMIC_ACQ_REL);
    }
    static int lock_replace(uint32_t *word, uint32_t expected, uint32_t value) {
        return __atomic_compare_exchange_n(word, &expected, value, 0, __ATOMIC_ACQ_REL,
                                           __ATOMIC_ACQUIRE);
    }
    """
    ctypedef struct lock_head_t:
        uint32_t mutex
        uint32_t writer
        uint32_t n_readers
        uint32_t waiting_writers
        uint32_t waiting_readers
        uint32_t writes_in_a_row
        uint32_t two_level
        uint32_t global_mode
        uint32_t handovers
        uint32_t stage
        uint64_t next_ticket
        int64_t place
        int64_t before
    ctypedef struct lock_slot_t:
        uint32_t state
        int32_t pid
        uint64_t ticket
        int64_t since_ns
    bint HAVE_LOCK_FUTEX
    void lock_wait(uint32_t *, uint32_t, int64_t) nogil
    void lock_wake(uint32_t *) nogil
    void lock_pause() nogil
    uint32_t lock_load(uint32_t *) nogil
    void lock_store(uint32_t *, uint32_t) nogil
    uint32_t lock_exchange(uint32_t *, uint32_t) nogil
    bint lock_replace(uint32_t *, uint32_t, uint32_t) nogil

cdef enum:
    # The states of a slot.
    IDLE = 0
    WAITING_TO_READ = 1
    WAITING_TO_WRITE = 2
    READING = 3
    WRITING = 4
    TAKING_READ = 5  # has exclusive access until the node may read
    GIVING_BACK = 6  # has exclusive access until the node has given the global lock back

    # The stages of a node in the global queue. The process with exclusive access to the node
    # changes them, so that another process can continue if that one dies.
    OUTSIDE = 0
    ENTERING = 1  # tries to become the last in the queue
    QUEUED = 2  # waits for its turn
    COUNTING = 3  # has its turn and enters the number of readers
    PASSING = 4  # is counted as a reader and lets the next node have its turn
    INSIDE = 5  # has the lock, as global_mode says
    GIVING_READ = 6  # gives the lock back
    GIVING_WRITE = 7

    MUTEX_CONTENDED = 0x80000000
    MUTEX_CHECK_NS = 20_000_000  # how long to wait before looking whether the owner still runs
    WRITES_IN_A_ROW = 8  # while readers wait
    HANDOVERS = 64  # within a node, while other nodes wait


ctypedef struct page_t:
    lock_head_t *head
    lock_slot_t *slots
    int n_slots
    int own
