from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.comm.demux cimport pthread_mutex_t
from bsbpool._core.comm.transport cimport Transport, transport_t
from bsbpool._core.comm.wakeup cimport Wakeup
from bsbpool._core.protocol.message_queue cimport queue_t
from libc.stdint cimport int64_t, uint32_t

ctypedef struct link_t:
    transport_t *network  # between this rank and the others
    pthread_mutex_t mutex  # guards the fields that follow
    uint32_t run_id  # the run of the worker; messages of others are dropped
    queue_t to_main
    queue_t to_worker
    queue_t to_others  # data for other ranks, which main sends
    int n_to_others
    queue_t sent_by_main  # messages that were copied, to be released
    queue_t sent_by_worker
    int peer  # the rank that main uses for the worker: the one after the last
    int64_t *n_data  # of the demux of main, which counts the data for both
    void *main_wakeup  # a Wakeup or NULL
    void *worker_wakeup

ctypedef struct worker_end_t:
    link_t *link
    uint32_t run_id

cdef class LocalLink:
    cdef link_t link
    cdef transport_t table  # replaces that of the network
    cdef object channel  # a weak reference: the channel refers to its link
    cdef Channel worker_channel
    cdef Wakeup worker_wakeup
    cdef Wakeup main_wakeup

    cdef void drop_messages(self)

cdef class LocalTransport(Transport):
    cdef worker_end_t end
    cdef LocalLink owner

cdef class LocalWakeup(Wakeup):
    pass
