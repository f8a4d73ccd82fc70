cdef class Record:
    cdef public object _pool
    cdef public object _reason
    cdef public object _status
    cdef dict __dict__
    cdef object __weakref__

cdef class JobRecord(Record):
    cdef public object _job
    cdef public object _old_status
