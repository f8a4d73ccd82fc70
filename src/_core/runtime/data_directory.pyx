"""Which workers have the large data of a run, and who sends them to whom.

Data are results that other jobs have as arguments, and broadcast objects. The id of a result is the
number of its job; broadcast objects have negative ids. Before the main rank sends a worker a job
that needs data, it calls `require`: if the worker does not have the data, another one is asked to
send them there. So data go to each worker once, and not through the main rank.

DATA overtakes FORGET_DATA, which takes effect in the order of the jobs. So results that are sent
again after they were dropped have another id in messages, their *key*: the number of the job, and
in the higher bits how often they were dropped.
"""
from bsbpool._core.bits cimport bits_add, bits_free, bits_has, bits_open, bits_remove
from bsbpool._core.protocol.frames cimport FrameWriter
from bsbpool._core.protocol.wire cimport DATA, DATA_LOST, FORGET_DATA, SEND_DATA
from bsbpool._core.runtime.outbox cimport Outbox
from bsbpool._core.scheduling.cache_refs cimport cache_t
from bsbpool._core.scheduling.engine cimport Engine
from libc.stdint cimport int32_t, int64_t


cdef enum:
    NUMBER_SHIFT = 32  # of the number of drops in the key of a result


cdef int64_t NUMBER_BITS = ((<int64_t>1) << NUMBER_SHIFT) - 1


cdef inline int64_t key_of(int64_t id, int64_t n_dropped) noexcept:
    return id | n_dropped << NUMBER_SHIFT if id >= 0 else id


cdef class Location:
    """Where data are."""

    def __cinit__(self):
        self.places = []
        self.coming = {}

    def __dealloc__(self):
        bits_free(&self.workers)


cdef class DataDirectory:
    """The data of one run, on the main rank.

    Parameters
    ----------
    engine : Engine
        The pool's tables.
    outbox : Outbox
        The messages to the workers.
    callbacks : LoopCallbacks
        Give the data that the main rank has.

    Attributes
    ----------
    lost : dict of int to int
        By the id of data that were lost: the rank that had them.
    """

    def __init__(self, Engine engine not None, Outbox outbox not None, callbacks):
        self.engine = engine
        self.outbox = outbox
        self.callbacks = callbacks
        self.locations = {}
        self.leaving = {}
        self.lost = {}
        self.dropped = {}

    def __contains__(self, id):
        return id in self.locations

    def add_own(self, int64_t id, bint is_tree=False):
        """Add data that the main rank has and that it may send itself.

        Parameters
        ----------
        id : int
            The data.
        is_tree : bool
            Whether a worker is asked to pass them on before it has received them, so that several
            workers share the work of sending.
        """
        cdef Location location = self.new_location(id)
        location.places.append(MAIN_PLACE)
        location.is_tree = is_tree

    def add_lost(self, int64_t id):
        """Note that no rank has data, whether they were lost or dropped."""
        self.lost.setdefault(id, 0)

    def add_at(self, int64_t id, int worker):
        """Add data that a worker makes."""
        self.add_place(self.new_location(id), worker)

    def workers_with(self, int64_t id):
        """Return the workers that have data, or to which they are being sent."""
        cdef Location location = self.locations.get(id)
        return [] if location is None else [w for w in location.places if w != MAIN_PLACE]

    def key_of(self, int64_t id):
        """Return the id of data in messages."""
        cdef Location location = self.locations.get(id)
        if location is not None:
            return location.key
        return key_of(id, self.dropped.get(id, 0))

    def require(self, int64_t id, int worker):
        """Let a worker get data, unless it has them or will get them."""
        cdef Location location = self.locations.get(id)
        cdef int source
        if location is None:
            self.put(worker, DATA_LOST, self.key_of(id), self.lost[id])
        elif location.workers.words == NULL or not bits_has(&location.workers, worker):
            source = self.source_of(location)
            self.add_place(location, worker)
            self.send(id, location, source, worker)

    def drop(self, int64_t id):
        """Let all workers drop data."""
        if id in self.locations:
            self.forget(id)

    # Events

    cdef int add_result(self, int worker, int64_t job, bint is_used) except -1:
        """Note that a worker keeps the result of a job that it has run."""
        cdef Location location = self.new_location(job)
        location.key = job  # as the worker calls it
        self.add_place(location, worker)
        self.lost.pop(job, None)
        if not is_used:  # all jobs that have it as an argument were cancelled meanwhile
            self.forget(job)
        return 0

    cdef int confirm(self, int worker, int64_t key) except -1:
        """Note that a worker has received data."""
        cdef Location location = self.locations.get(key if key < 0 else key & NUMBER_BITS)
        if location is None or location.key != key:
            location = self.leaving.get(key)
        if location is not None:
            location.coming.pop(worker, None)
            if not location.coming:
                self.leaving.pop(key, None)
        return 0

    cdef int free_unused(self) except -1:
        """Let workers drop the data whose last user has ended."""
        cdef cache_t *c = &self.engine.d.cache
        cdef int32_t item
        cdef int64_t id
        while c.unused.size:
            c.unused.size -= 1
            item = c.unused.data[c.unused.size]
            id = <int64_t>c.items[item].token
            if c.items[item].ref_count:
                continue
            if id in self.locations:
                self.forget(id)
            if id < 0:
                self.callbacks.data_unused(id)
        return 0

    cdef int forget(self, int64_t id) except -1:
        cdef Location location = self.locations.pop(id)
        cdef int worker
        for place in location.places:
            worker = place
            if worker != MAIN_PLACE:
                self.put(worker, FORGET_DATA, location.key, 0)
        if location.coming:
            self.leaving[location.key] = location
        return self.note_dropped(id)

    cdef Location new_location(self, int64_t id):
        cdef Location location = Location()
        location.key = key_of(id, self.dropped.get(id, 0))
        self.locations[id] = location
        return location

    cdef int add_place(self, Location location, int worker) except -1:
        """Note that a worker has data, or will."""
        if location.workers.words == NULL and bits_open(
            &location.workers, self.outbox.n_workers
        ) < 0:
            raise MemoryError()
        bits_add(&location.workers, worker)
        location.places.append(worker)
        return 0

    cdef int note_dropped(self, int64_t id) except -1:
        if id >= 0:
            self.dropped[id] = self.dropped.get(id, 0) + 1
        return 0

    cdef int discard_worker(self, int worker) except -1:
        """Forget a worker, which has failed; what it was to send is sent by others."""
        cdef Location location
        for id in list(self.locations):
            location = self.locations[id]
            if location.workers.words != NULL and bits_has(&location.workers, worker):
                bits_remove(&location.workers, worker)
                location.places.remove(worker)
                location.coming.pop(worker, None)
                self.replace_sources(id, location, worker)
        for key in list(self.leaving):
            location = self.leaving[key]
            location.coming.pop(worker, None)
            self.report_lost(location, worker)
            if not location.coming:
                del self.leaving[key]
        return 0

    cdef int report_lost(self, Location location, int lost) except -1:
        """Tell the workers that do not get dropped data that these are lost.

        A worker may still wait for them inside a job that was cancelled.
        """
        cdef int worker
        sources = [lost]
        while sources:
            source = sources.pop()
            for place in [place for place in location.coming if location.coming[place] == source]:
                worker = place
                del location.coming[worker]
                self.put(worker, DATA_LOST, location.key, lost + 1)
                sources.append(worker)  # in a tree, it was to send them, too
        return 0

    cdef int replace_sources(self, int64_t id, Location location, int lost) except -1:
        """Send data again to the workers that were to get them from a worker that was lost."""
        cdef int source
        cdef int worker
        with_data = [place for place in location.places if place not in location.coming]
        if not with_data and self.callbacks.data_parcel(id) is not None:
            location.places.insert(0, MAIN_PLACE)
            with_data = [MAIN_PLACE]
        for place in list(location.coming):
            worker = place
            # In a tree, the sender may itself wait for the worker that was lost.
            if location.coming[worker] not in with_data or not with_data:
                if with_data:
                    source = with_data[0]
                    self.send(id, location, source, worker)
                else:
                    self.put(worker, DATA_LOST, location.key, lost + 1)
        if not with_data:
            self.lost[id] = lost + 1
            del self.locations[id]
            self.note_dropped(id)
        return 0

    # Sending

    cdef int source_of(self, Location location) except -2:
        """Return which place sends the data to the next worker.

        Place n gets them from the place whose number is n without its highest bit: a binomial tree.
        """
        cdef int n = <int>len(location.places)
        cdef int highest = 1
        while n:
            while highest > n or highest * 2 <= n:
                highest = highest // 2 if highest > n else highest * 2
            n -= highest
            if location.is_tree or location.places[n] not in location.coming:
                return location.places[n]
        # The first place has received them from one that was lost since.
        return next(place for place in location.places if place not in location.coming)

    cdef int send(self, int64_t id, Location location, int source, int worker) except -1:
        cdef FrameWriter writer
        location.coming[worker] = source
        self.outbox.workers[worker].n_due += 1
        self.outbox.n_due += 1
        if source != MAIN_PLACE:
            # The worker of the main rank gets them as rank 0.
            return self.put(
                source, SEND_DATA, location.key, (worker + 1) % self.outbox.channel.table.n_ranks
            )
        payload, buffers = self.callbacks.data_parcel(id)
        self.outbox.flush(worker)  # the worker may still be told there to drop the same data
        writer = FrameWriter()
        writer.put(DATA, location.key, 0, 0, 0, payload, buffers)
        self.outbox.channel.post(writer.seal(worker + 1, self.outbox.run_id))
        return 0

    cdef int put(self, int worker, int kind, int64_t id, int rank) except -1:
        if self.outbox.writer(worker).put_scalars(kind, id, rank, 0, 0, NULL, 0) < 0:
            raise MemoryError()
        return 0
