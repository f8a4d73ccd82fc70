"""The keys of jobs: digests that are the same in each run of a program.

The key of a job is the digest of its function, its arguments, the keys of its dependencies and a
number that counts equal jobs. This module digests the arguments that have builtin types; Python
code digests functions and other objects, see `bsbpool.journal.digests`.

An argument is digested as a byte for its type, its size where that varies, and its contents. The
items of sets, and those of dictionaries, are digested one by one and sorted by their digests: two
equal dictionaries have the same digest, in whatever order they were filled.
"""
from bsbpool._core.jobs.handle cimport DataRef, Handle
from bsbpool._core.journal.siphash cimport (
    DIGEST_SIZE, siphash_final, siphash_init, siphash_t, siphash_update,
)
from bsbpool._core.vector cimport grow
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE,
)
from cpython.dict cimport PyDict_CheckExact, PyDict_GetItemWithError
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.list cimport PyList_CheckExact
from cpython.long cimport PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_CheckExact
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

import types

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object value, int *overflow) except? -1
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size)
    void PyErr_Clear()

cdef extern from *:
    void __builtin_prefetch(const void *address) noexcept nogil

cdef enum:
    DEEPEST = 100  # containers inside of each other
    MAX_FUNCTIONS = 4096  # digests that are kept
    SMALLEST_TABLE = 1024

cdef type FUNCTION = types.FunctionType
cdef type BUILTIN = types.BuiltinFunctionType


cdef class JobKeys:
    """Makes the keys of the jobs of a pool, or of the pools of an executor.

    Parameters
    ----------
    digest_function : callable
        ``digest_function(f)`` returns the digest of a function, as 16 bytes, and whether it can
        change.
    digest_other : callable
        ``digest_other(value)`` returns the digest of an object of another type; TypeError if it has
        none.
    """

    def __cinit__(self, digest_function, digest_other):
        self.made_capacity = SMALLEST_TABLE
        self.made = <uint64_t *>calloc(SMALLEST_TABLE, sizeof(uint64_t))
        if self.made == NULL:
            raise MemoryError()
        self.repeats = {}
        self.functions = {}
        self.digest_function = digest_function
        self.digest_other = digest_other

    def __dealloc__(self):
        free(self.jobs)
        free(self.made)

    def open_pool(self, pool):
        """Count the jobs of another pool from now on. Numbers of equal jobs go on."""
        self.pool = pool
        self.n = 0
        self.last_deps = None

    def digest(self, value):
        """Return the digest of an object.

        Raises
        ------
        TypeError
            If it has none.
        """
        cdef siphash_t s
        cdef uint8_t[DIGEST_SIZE] out
        siphash_init(&s)
        self.encode(&s, value, 0)
        siphash_final(&s, out)
        return PyBytes_FromStringAndSize(<const char *>out, DIGEST_SIZE)

    def key_of(self, int64_t number):
        """Return the key of a job; None if it has none."""
        if not 0 <= number < self.n or not self.jobs[number].has_key:
            return None
        return PyBytes_FromStringAndSize(<const char *>self.jobs[number].key, DIGEST_SIZE)

    cdef job_key_t *entry(self, int64_t number) except NULL:
        """Return the entry of a job, which is added with all before it if it is new."""
        if number >= self.n:
            if grow(<void **>&self.jobs, &self.capacity, number + 1, sizeof(job_key_t)) < 0:
                raise MemoryError()
            memset(self.jobs + self.n, 0, <size_t>(number + 1 - self.n) * sizeof(job_key_t))
            self.n = number + 1
        return self.jobs + number

    cdef int make(self, Handle job, object deps, object version, uint8_t *key) except -1:
        """Digest the call of a job; `deps` are its dependencies. `complete` makes the key of it.

        `key` gets 32 bytes: the digest, which is that of all equal jobs, twice.
        """
        cdef siphash_t s
        siphash_init(&s)
        self.encode_function(&s, job)
        self.encode(&s, job.arguments, 0)
        if job.keywords is None:
            tag(&s, b"-")
        else:
            self.encode(&s, job.keywords, 0)
        self.encode_dependencies(&s, deps)
        if version is not None:
            self.encode(&s, version, 0)
        siphash_final(&s, key)
        memcpy(key + DIGEST_SIZE, key, DIGEST_SIZE)
        __builtin_prefetch(self.made + (hash_of(key) & <uint64_t>(self.made_capacity - 1)))
        return 0

    cdef int complete(self, uint8_t *key) except -1:
        """Make the key of a job from a digest by `make`: that of an equal job has a number in it.

        A caller that has other work to do does it between the two, while the processor loads the
        slot of the table. If the job is refused later, `forget` must be called.
        """
        cdef siphash_t s
        cdef uint32_t occurrence = self.count(key)
        if occurrence:
            siphash_init(&s)
            siphash_update(&s, key, DIGEST_SIZE)
            number(&s, b"#", occurrence)
            siphash_final(&s, key)
        return 0

    cdef int make_named(self, str name, uint8_t *key) except -1:
        """Make a key from the text that the user gave, see `make`."""
        digest_name(name, key)
        memcpy(key + DIGEST_SIZE, key, DIGEST_SIZE)
        if self.count(key):
            raise ValueError(
                f"key {name!r} was given to a job before; give each job a key of its own, or leave "
                "it out"
            )
        return 0

    cdef uint32_t count(self, const uint8_t *key) except? 0xFFFFFFFF:
        """Note that a key was made; return how often it was before."""
        cdef uint64_t first = hash_of(key)
        cdef uint64_t at = first & <uint64_t>(self.made_capacity - 1)
        while self.made[at]:
            if self.made[at] == first:
                repeat = self.repeats.get(first, 0) + 1
                self.repeats[first] = repeat
                return repeat
            at = (at + 1) & <uint64_t>(self.made_capacity - 1)
        self.made[at] = first
        self.n_made += 1
        if self.n_made * 3 >= self.made_capacity * 2:
            self.resize()
        return 0

    cdef int forget(self, const uint8_t *key) except -1:
        """Take back that a key was made, since its job was refused; see `make`."""
        cdef uint64_t first = hash_of(key + DIGEST_SIZE)
        self.repeats[first] = self.repeats.get(first, 0) - 1
        return 0

    cdef int resize(self) except -1:
        cdef uint64_t *old = self.made
        cdef int64_t n = self.made_capacity
        cdef int64_t i
        cdef uint64_t at
        self.made = <uint64_t *>calloc(<size_t>(2 * n), sizeof(uint64_t))
        if self.made == NULL:
            self.made = old
            raise MemoryError()
        self.made_capacity = 2 * n
        for i in range(n):
            if old[i]:
                at = old[i] & <uint64_t>(2 * n - 1)
                while self.made[at]:
                    at = (at + 1) & <uint64_t>(2 * n - 1)
                self.made[at] = old[i]
        free(old)
        return 0

    cdef int encode_dependencies(self, siphash_t *s, object deps) except -1:
        """Digest the keys of dependencies, in any order."""
        cdef siphash_t of_deps
        if not deps:
            tag(s, b"0")
            return 0
        if deps is not self.last_deps:  # often the same tuple for thousands of jobs
            siphash_init(&of_deps)
            for key in sorted([self.key_of_dependency(dep) for dep in deps]):
                siphash_update(&of_deps, <const uint8_t *>PyBytes_AS_STRING(key), DIGEST_SIZE)
            siphash_final(&of_deps, self.last_deps_digest)
            self.last_deps = deps if PyTuple_CheckExact(deps) else None
        tag(s, b"1")
        siphash_update(s, self.last_deps_digest, DIGEST_SIZE)
        return 0

    def key_of_dependency(self, dep):
        """Return what stands for a dependency in keys: its key, or zeros if it has none."""
        key = None
        if isinstance(dep, Handle) and (<Handle>dep).pool is self.pool:
            key = self.key_of((<Handle>dep).number)
        return bytes(DIGEST_SIZE) if key is None else key

    cdef int encode_function(self, siphash_t *s, Handle job) except -1:
        cdef PyObject *found
        f = type(job) if job.f is None else job.f
        if f is self.last_function:
            digest = self.last_function_digest
        elif type(f) is not FUNCTION and type(f) is not BUILTIN:  # it may have a hash of its own
            digest = self.digest_function(f)[0]
        else:
            found = PyDict_GetItemWithError(self.functions, f)
            if found != NULL:
                digest = <object>found
                self.last_function, self.last_function_digest = f, digest
            else:
                digest, can_change = self.digest_function(f)
                if not can_change:
                    if len(self.functions) >= MAX_FUNCTIONS:
                        self.functions.clear()
                    self.functions[f] = digest
        siphash_update(s, <const uint8_t *>PyBytes_AS_STRING(digest), DIGEST_SIZE)
        return 0

    cdef int encode(self, siphash_t *s, object value, int depth) except -1:
        """Digest an object."""
        cdef int overflow = 0
        cdef int64_t small
        cdef double real
        if PyLong_CheckExact(value):
            small = PyLong_AsLongLongAndOverflow(value, &overflow)
            if not overflow:
                number(s, b"i", small)
                return 0
            large = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            encode_bytes(s, b"I", PyBytes_AS_STRING(large), len(large))
        elif PyFloat_CheckExact(value):
            real = PyFloat_AS_DOUBLE(value)
            memcpy(&small, &real, sizeof(double))
            number(s, b"f", small)
        elif PyUnicode_CheckExact(value):
            encode_text(s, value)
        elif value is None:
            tag(s, b"n")
        elif value is True or value is False:
            tag(s, b"y" if value else b"x")
        elif PyBytes_CheckExact(value):
            encode_bytes(s, b"b", PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
        elif depth >= DEEPEST:
            raise TypeError(
                f"containers are more than {DEEPEST} deep inside each other, or one contains itself"
            )
        elif PyTuple_CheckExact(value):
            number(s, b"t", len(<tuple>value))
            self.encode_items(s, value, depth)
        elif PyList_CheckExact(value):
            number(s, b"l", len(<list>value))
            self.encode_items(s, value, depth)
        elif PyDict_CheckExact(value):
            number(s, b"d", len(<dict>value))
            self.encode_unordered(s, (<dict>value).items(), depth)
        elif type(value) is set or type(value) is frozenset:
            number(s, b"e" if type(value) is set else b"z", len(value))
            self.encode_unordered(s, value, depth)
        elif isinstance(value, Handle) and not isinstance(value, DataRef):
            self.encode_job(s, value)
        else:
            digest = self.digest_other(value)
            tag(s, b"o")
            siphash_update(s, <const uint8_t *>PyBytes_AS_STRING(digest), DIGEST_SIZE)
        return 0

    cdef int encode_items(self, siphash_t *s, object items, int depth) except -1:
        for item in items:
            self.encode(s, item, depth + 1)
        return 0

    cdef int encode_unordered(self, siphash_t *s, object items, int depth) except -1:
        """Digest items whose order does not matter."""
        cdef siphash_t of_item
        cdef uint8_t[DIGEST_SIZE] out
        digests = []
        for item in items:
            siphash_init(&of_item)
            self.encode(&of_item, item, depth + 1)
            siphash_final(&of_item, out)
            digests.append(PyBytes_FromStringAndSize(<const char *>out, DIGEST_SIZE))
        digests.sort()
        for digest in digests:
            siphash_update(s, <const uint8_t *>PyBytes_AS_STRING(digest), DIGEST_SIZE)
        return 0

    cdef int encode_job(self, siphash_t *s, Handle job) except -1:
        """Digest a job, which stands for its result."""
        key = self.key_of(job.number) if job.pool is self.pool else None
        if key is None:
            raise TypeError(
                f"{getattr(job, 'label', 'a job')}, which is an argument, has no key: it belongs "
                "to another pool, or is not journaled"
            )
        if self.jobs[job.number].is_not_journaled:
            self.n_not_journaled += 1
        tag(s, b"j")
        siphash_update(s, <const uint8_t *>PyBytes_AS_STRING(key), DIGEST_SIZE)
        return 0


def digest_of_name(str name not None):
    """Return the key that the user gives a job with a text, as 16 bytes."""
    cdef uint8_t[DIGEST_SIZE] key
    digest_name(name, key)
    return PyBytes_FromStringAndSize(<const char *>key, DIGEST_SIZE)


cdef int digest_name(str name, uint8_t *key) except -1:
    cdef siphash_t s
    siphash_init(&s)
    tag(&s, b"k")
    encode_text(&s, name)
    siphash_final(&s, key)
    return 0


cdef inline uint64_t hash_of(const uint8_t *key) noexcept:
    """Return what stands for a key in `made`: keys are digests, so any of their bits are a hash."""
    cdef uint64_t first
    memcpy(&first, key, 8)
    return first or 1


cdef inline void tag(siphash_t *s, const char *of_type) noexcept:
    siphash_update(s, <const uint8_t *>of_type, 1)


cdef inline void number(siphash_t *s, const char *of_type, int64_t value) noexcept:
    cdef uint8_t[9] data
    data[0] = <uint8_t>of_type[0]
    memcpy(data + 1, &value, 8)
    siphash_update(s, data, 9)


cdef inline void encode_bytes(
    siphash_t *s, const char *of_type, const char *data, Py_ssize_t size
) noexcept:
    number(s, of_type, size)
    siphash_update(s, <const uint8_t *>data, <size_t>size)


cdef int encode_text(siphash_t *s, str text) except -1:
    cdef Py_ssize_t size
    cdef const char *data = PyUnicode_AsUTF8AndSize(text, &size)
    if data == NULL:  # it has lone surrogates
        PyErr_Clear()
        coded = text.encode("utf-8", "surrogatepass")
        data, size = PyBytes_AS_STRING(coded), PyBytes_GET_SIZE(coded)
    encode_bytes(s, b"s", data, size)
    return 0
