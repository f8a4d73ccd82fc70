"""Messages between the main rank and a worker in the same process.

If the main rank runs jobs, too, one thread of its process is main and another one a worker. Both
use the loops and the protocol that ranks use. A `LocalLink` passes their messages through queues in
memory. For main, the worker has the number after the last rank. Other ranks know only rank 0, and
send data for the worker there, which the link passes on.

The worker's thread never calls MPI: what it sends to other ranks waits until main polls.
"""
from bsbpool._core.comm.channel cimport Channel
from bsbpool._core.comm.demux cimport is_data, pthread_mutex_t, run_id_of
from bsbpool._core.comm.transport cimport TRANSPORT_NO_MEMORY, Transport, transport_t
from bsbpool._core.comm.wakeup cimport Wakeup, wakeup_slot_t
from bsbpool._core.protocol.message cimport message_free, message_new, message_t, part_alloc
from bsbpool._core.protocol.message_queue cimport queue_pop, queue_push, queue_t
from cpython.ref cimport Py_DECREF
from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memset

import weakref

cdef extern from "<pthread.h>" nogil:
    int pthread_mutex_init(pthread_mutex_t *, void *)
    int pthread_mutex_lock(pthread_mutex_t *)
    int pthread_mutex_unlock(pthread_mutex_t *)
    int pthread_mutex_destroy(pthread_mutex_t *)

cdef enum:
    MAIN = 0  # the rank of the main rank
    RUN_CLOSED = -104  # an error code of the worker's transport


# ------------------------------------------------------------------ queues

cdef message_t *take(link_t *link, queue_t *q) noexcept nogil:
    """Remove the oldest message of a queue, under the mutex; return it or NULL."""
    cdef message_t *m
    pthread_mutex_lock(&link.mutex)
    m = queue_pop(q)
    pthread_mutex_unlock(&link.mutex)
    return m


cdef void put_locked(link_t *link, queue_t *q, message_t *m) noexcept nogil:
    pthread_mutex_lock(&link.mutex)
    queue_push(q, m)
    pthread_mutex_unlock(&link.mutex)


cdef void put_of_run(
    link_t *link, queue_t *q, message_t *m, uint32_t run_id, queue_t *rest
) noexcept nogil:
    """Append a message to `q` if it belongs to the worker's run, else to `rest`."""
    pthread_mutex_lock(&link.mutex)
    queue_push(q if link.run_id == run_id else rest, m)
    pthread_mutex_unlock(&link.mutex)


cdef message_t *own_copy(message_t *m) noexcept nogil:
    """Return a message with the frame of `m` and copies of its parts; NULL: no memory."""
    cdef message_t *copy = message_new(m.peer, m.n_parts)
    cdef uint32_t i
    if copy == NULL:
        return NULL
    for i in range(m.n_parts):
        copy.parts[i].size = m.parts[i].size
        copy.parts[i].data = part_alloc(m.parts[i].size)
        if copy.parts[i].data == NULL:
            message_free(copy)
            return NULL
        memcpy(copy.parts[i].data, m.parts[i].data, m.parts[i].size)
    copy.frame = m.frame
    copy.frame_size = m.frame_size
    m.frame = NULL
    return copy


cdef int deliver(
    link_t *link, message_t *m, queue_t *q, uint32_t run_id, int sender, queue_t *sent
) noexcept nogil:
    """Pass a message to the other thread, with copies of the parts that the sender owns."""
    cdef message_t *copy = m
    if m.pinned != NULL:
        copy = own_copy(m)
        put_locked(link, sent, m)
        if copy == NULL:
            return TRANSPORT_NO_MEMORY
    copy.peer = sender
    put_of_run(link, q, copy, run_id, sent)
    return 0


# ------------------------------------------------------------------ the table of main

cdef int main_send(transport_t *t, message_t *m) noexcept nogil:
    cdef link_t *link = <link_t *>t.self
    cdef int code
    if m.peer != link.peer:
        return link.network.send(link.network, m)
    if is_data(m):
        link.n_data[0] += 1
    code = deliver(link, m, &link.to_worker, run_id_of(m), MAIN, &link.sent_by_main)
    if link.worker_wakeup != NULL:
        (<Wakeup>link.worker_wakeup).notify_self()
    return code


cdef message_t *main_poll(transport_t *t, int *error) noexcept nogil:
    cdef link_t *link = <link_t *>t.self
    cdef message_t *m = NULL
    cdef int code
    while link.n_to_others:
        m = take(link, &link.to_others)
        if m == NULL:
            break
        pthread_mutex_lock(&link.mutex)
        link.n_to_others -= 1
        pthread_mutex_unlock(&link.mutex)
        code = link.network.send(link.network, m)
        if code < 0:
            error[0] = code
    m = take(link, &link.to_main)
    if m != NULL:
        return m
    while True:
        m = link.network.poll(link.network, error)
        if m == NULL or not is_data(m):
            return m
        link.n_data[0] += 1
        put_of_run(link, &link.to_worker, m, run_id_of(m), &link.sent_by_main)
        if link.worker_wakeup != NULL:
            (<Wakeup>link.worker_wakeup).notify_self()


cdef message_t *main_sent(transport_t *t) noexcept nogil:
    cdef link_t *link = <link_t *>t.self
    cdef message_t *m = take(link, &link.sent_by_main)
    return link.network.sent(link.network) if m == NULL else m


cdef int main_pending(transport_t *t) noexcept nogil:
    cdef link_t *link = <link_t *>t.self
    return link.network.pending(link.network) + link.n_to_others


cdef bint main_is_active(transport_t *t) noexcept nogil:
    cdef link_t *link = <link_t *>t.self
    return link.n_to_others > 0 or link.network.is_active(link.network)


cdef int main_next_lost(transport_t *t) noexcept nogil:
    cdef link_t *link = <link_t *>t.self
    return link.network.next_lost(link.network)


cdef void main_mark_failed(transport_t *t, int peer) noexcept nogil:
    cdef link_t *link = <link_t *>t.self
    if peer != link.peer:
        link.network.mark_failed(link.network, peer)


# ------------------------------------------------------------------ the table of the worker

cdef int worker_send(transport_t *t, message_t *m) noexcept nogil:
    cdef worker_end_t *end = <worker_end_t *>t.self
    cdef link_t *link = end.link
    cdef int code = 0
    if m.peer == MAIN:
        code = deliver(link, m, &link.to_main, end.run_id, link.peer, &link.sent_by_worker)
    else:
        pthread_mutex_lock(&link.mutex)
        if link.run_id == end.run_id:
            queue_push(&link.to_others, m)
            link.n_to_others += 1
        else:
            queue_push(&link.sent_by_worker, m)
        pthread_mutex_unlock(&link.mutex)
    if link.main_wakeup != NULL:
        (<Wakeup>link.main_wakeup).notify_self()
    return code


cdef message_t *worker_poll(transport_t *t, int *error) noexcept nogil:
    cdef worker_end_t *end = <worker_end_t *>t.self
    cdef message_t *m = NULL
    pthread_mutex_lock(&end.link.mutex)
    if end.link.run_id == end.run_id:
        m = queue_pop(&end.link.to_worker)
    else:
        error[0] = RUN_CLOSED  # the worker was not waited for, and must end
    pthread_mutex_unlock(&end.link.mutex)
    return m


cdef message_t *worker_sent(transport_t *t) noexcept nogil:
    cdef worker_end_t *end = <worker_end_t *>t.self
    return take(end.link, &end.link.sent_by_worker)


cdef int none_pending(transport_t *t) noexcept nogil:
    return 0


cdef bint not_active(transport_t *t) noexcept nogil:
    return False


cdef int none_lost(transport_t *t) noexcept nogil:
    return -1


cdef void mark_nothing(transport_t *t, int peer) noexcept nogil:
    pass


# ------------------------------------------------------------------ the Python classes

cdef class LocalLink:
    """Connects the main rank with a worker in the same process, one run after the other.

    It stays part of the channel; pools without such a worker can use the channel as before.

    Parameters
    ----------
    channel : Channel
        The channel of the main rank.
    """

    def __cinit__(self, Channel channel not None):
        memset(&self.link, 0, sizeof(link_t))
        pthread_mutex_init(&self.link.mutex, NULL)

    def __init__(self, Channel channel not None):
        if channel.local_link is not None:
            raise RuntimeError("a channel can have one LocalLink only; use channel.local_link")
        if channel.table.now != NULL or channel.table.sleep != NULL:
            raise ValueError("channel must use the clock of the machine")
        self.channel = weakref.ref(channel)
        self.link.network = channel.table
        self.link.peer = channel.table.n_ranks
        self.link.n_data = &channel.demux.n_data
        self.main_wakeup = channel.wakeup
        if channel.wakeup is not None:
            self.link.main_wakeup = <void *>channel.wakeup
        self.table = channel.table[0]
        self.table.self = &self.link
        self.table.send = main_send
        self.table.poll = main_poll
        self.table.sent = main_sent
        self.table.pending = main_pending
        self.table.is_active = main_is_active
        self.table.next_lost = main_next_lost
        self.table.mark_failed = main_mark_failed
        channel.table = channel.demux.table = &self.table
        channel.local_link = self

    def __dealloc__(self):
        self.drop_messages()
        release(&self.link.sent_by_main)
        release(&self.link.sent_by_worker)
        pthread_mutex_destroy(&self.link.mutex)

    def open(self, uint32_t run_id):
        """Return the channel of the worker, for one run of the main rank.

        Raises
        ------
        RuntimeError
            While another pool of the communicator executes.
        """
        cdef Channel channel = self.channel()
        if channel.in_use or self.link.run_id:
            channel.raise_in_use()
        self.drop_messages()
        self.worker_wakeup = LocalWakeup(bytearray(sizeof(wakeup_slot_t)), [0], 0, 1)
        self.worker_channel = Channel(
            LocalTransport(self, run_id), channel.waiter.backoff.spins == 0, self.worker_wakeup
        )
        self.worker_channel.demux.next_run_id = run_id
        self.worker_channel.hosts = channel.hosts
        pthread_mutex_lock(&self.link.mutex)
        self.link.worker_wakeup = <void *>self.worker_wakeup
        self.link.run_id = run_id
        pthread_mutex_unlock(&self.link.mutex)
        return self.worker_channel

    def close(self):
        """End the run of the worker. No other thread may use the channel of main meanwhile."""
        cdef Channel channel = self.channel()
        cdef queue_t others
        cdef message_t *m
        pthread_mutex_lock(&self.link.mutex)
        others = self.link.to_others
        memset(&self.link.to_others, 0, sizeof(queue_t))
        self.link.n_to_others = 0
        self.link.run_id = 0  # nothing is added for this run from now on
        pthread_mutex_unlock(&self.link.mutex)
        m = take(&self.link, &others)
        while m != NULL:  # other ranks wait for them: STOP says how many data they get
            channel.demux.send(m)
            m = take(&self.link, &others)
        channel.n_data_due += self.worker_channel.n_data_due
        self.drop_messages()
        channel.release_sent()

    cdef void drop_messages(self):
        cdef int i
        cdef queue_t[3] queues
        pthread_mutex_lock(&self.link.mutex)  # the thread of the worker may still poll
        queues[0] = self.link.to_main
        queues[1] = self.link.to_worker
        queues[2] = self.link.to_others
        memset(&self.link.to_main, 0, sizeof(queue_t))
        memset(&self.link.to_worker, 0, sizeof(queue_t))
        memset(&self.link.to_others, 0, sizeof(queue_t))
        pthread_mutex_unlock(&self.link.mutex)
        for i in range(3):
            release(&queues[i])


cdef void release(queue_t *q):
    """Free the messages of a queue, and release what they pin."""
    cdef message_t *m = queue_pop(q)
    while m != NULL:
        if m.pinned != NULL:
            Py_DECREF(<object>m.pinned)
        message_free(m)
        m = queue_pop(q)


cdef class LocalTransport(Transport):
    """The network of the worker in the process of the main rank."""

    def __cinit__(self, LocalLink link not None, uint32_t run_id):
        self.owner = link
        self.end.link = &link.link
        self.end.run_id = run_id
        self.table.threads = True  # the progress thread of the worker does not call MPI
        self.table.self = &self.end
        self.table.n_ranks = link.link.peer
        self.table.send = worker_send
        self.table.poll = worker_poll
        self.table.sent = worker_sent
        self.table.pending = none_pending
        self.table.is_active = not_active
        self.table.next_lost = none_lost
        self.table.mark_failed = mark_nothing


cdef class LocalWakeup(Wakeup):
    """Wakes the worker; `LocalLink` wakes main."""

    cdef void notify(self, int rank) noexcept nogil:
        pass
