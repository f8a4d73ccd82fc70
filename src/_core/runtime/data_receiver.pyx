"""Waiting inside of a job for data that it has as arguments.

The job's thread acts as the worker's thread meanwhile: it takes the mutex of `ProgressThread`,
receives messages and answers requests, also those of ranks that wait for data of this one. So two
workers can wait for each other's data.
"""
from bsbpool._core.comm.backoff cimport SIGNALS_NS
from bsbpool._core.protocol.message cimport message_t
from bsbpool._core.runtime.worker_receiver cimport MAIN, WorkerReceiver
from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t


cdef class DataReceiver(WorkerReceiver):
    """The receiving side of a worker, with the data of its jobs."""

    def take_data(self, int64_t id, bint copy=True):
        """Return data that the running job has as an argument; wait until they are here.

        Called in the thread of the job.

        Parameters
        ----------
        id : int
            The data.
        copy : bool
            Whether to return copies of the buffers, which the job may change.

        Returns
        -------
        payload : bytes-like
            The pickle.
        buffers : list of bytes-like
            Its out-of-band buffers.

        Raises
        ------
        LookupError
            If the data are lost; the argument is the rank that had them.
        RuntimeError
            If the run ends before the data are here.
        """
        self.end_busy()
        try:
            self.data.update()
            while not self.data.has(id):
                if self.data.lost_with(id) >= 0:
                    raise LookupError(self.data.lost_with(id))
                if self.stopped or MAIN in self.channel.membership.lost:
                    raise RuntimeError("the run has ended")
                self.wait_inside_job()
        finally:
            self.begin_busy(self.channel.now())
        return self.data.copy_of(id) if copy else self.data.values[id]

    def keep_data(self, int64_t id, payload, list buffers not None):
        """Keep data that this rank has made, in place of any with the same id.

        Called in the thread of the job. The buffers must not change any more.
        """
        self.end_busy()
        try:
            if self.data.has(id):
                self.data.forget(id)
            self.data.keep(id, payload, buffers)
            self.data.update()
        finally:
            self.begin_busy(self.channel.now())

    cdef int wait_inside_job(self) except -1:
        """Wait for a message while a job waits for data, not longer than signals may wait."""
        cdef message_t *m
        cdef bint has_memory = True
        cdef int64_t until = self.channel.now() + SIGNALS_NS
        if self.replies.frame.n_records:
            self.channel.post(self.replies.seal(MAIN, self.run_id))
        with nogil:
            m = self.channel.wait(self.run_id, until)
            if m != NULL:
                has_memory = self.accept(m, True) and self.receive_all(True)
            has_memory = has_memory and self.check_processes()
        if not has_memory:
            raise MemoryError()
        self.receive_failures()
        PyErr_CheckSignals()
        return 0

    cdef int learn_of_deaths(self) except -1:
        """Look at all processes: MPI_Finalize would wait for ranks that have died unnoticed."""
        for rank in self.channel.process_monitor.newly_dead():
            self.channel.mark_failed(rank)
            self.has_dead = True
        if not self.receive_all(False):
            raise MemoryError()
        return self.receive_failures()

    cdef int receive_failures(self) except -1:
        """Take note of ranks that have failed."""
        self.channel.check()
        self.channel.release_sent()
        if self.data.has_work():
            self.data.update()
        if not self.stopped:
            self.channel.fail_terminated()
        while self.channel.take_lost() >= 0:
            pass
        return 0
