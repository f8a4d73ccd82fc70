cdef class CallDepth:
    cdef public int inside_job

cdef object call(object f, object owner, tuple args, object kwargs)
