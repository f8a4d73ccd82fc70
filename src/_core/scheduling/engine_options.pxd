from bsbpool._core.scheduling.engine cimport Engine
from bsbpool._core.scheduling.special cimport special_t
from libc.stdint cimport int32_t


cdef class EngineOptions:
    cdef readonly Engine engine

    cdef special_t *entry_of(self, object job) except? NULL


cdef class JobSpec:
    cdef special_t entry
    cdef readonly list joins
    cdef readonly list follow
    cdef Engine engine

    cdef special_t *prepared(self) except NULL
