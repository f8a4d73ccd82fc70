from bsbpool._core.runtime.worker_receiver cimport WorkerReceiver

cdef class DataReceiver(WorkerReceiver):
    cdef int wait_inside_job(self) except -1
    cdef int learn_of_deaths(self) except -1
    cdef int receive_failures(self) except -1
