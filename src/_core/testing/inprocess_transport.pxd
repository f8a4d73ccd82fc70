from bsbpool._core.protocol.message cimport message_t

cdef void append(message_t **head, message_t *m) noexcept nogil
cdef message_t *pop(message_t **head) noexcept nogil
cdef message_t *take_copy(message_t *m) noexcept nogil
cdef void release(message_t *m)
