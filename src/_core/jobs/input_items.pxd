# Counting the jobs that have a result among their arguments, so that workers keep it for them.
from bsbpool._core.jobs.handle cimport (
    MAX_DEPTH,
    DataRef,
    Handle,
    StoredResult,
    find_inputs,
    has_outcome,
    is_scalar,
    search,
)
from bsbpool._core.scheduling.cache_refs cimport cache_add_data, cache_add_set, cache_t, item_set_t
from bsbpool._core.scheduling.data_items cimport STAYS_THERE, data_item_of
from bsbpool._core.scheduling.dispatcher_tables cimport dispatcher_t
from bsbpool._core.vector cimport ints_free, ints_push, ints_t
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcmp


cdef inline int32_t with_input_items(
    object pool, dispatcher_t *d, Handle job, int32_t cache_set
) except -2:
    """Return the set of the items in `cache_set` and the data items of the arguments of a job."""
    cdef ints_t items = ints_t(NULL, 0, 0)
    cdef item_set_t *given
    cdef Handle source
    cdef int64_t i
    cdef int32_t found
    cdef bint has_refs = False
    inputs = find_inputs(job.arguments, job.keywords)
    if inputs is None:
        return cache_set
    if cache_set >= 0:
        given = &d.cache.sets[cache_set]
        for i in range(given.start, given.start + given.size):
            push_item(&items, d.cache.members.data[i])
    for item in inputs if len(inputs) == 1 else dict.fromkeys(inputs):
        if not isinstance(item, Handle):
            item = getattr(item, "pool_job", None)  # of a future, while its call is in the pool
        if isinstance(item, DataRef):
            has_refs = has_refs or (<DataRef>item).target is not None
            push_item(&items, item_of_ref(pool, d, <DataRef>item))
            continue
        if item is None or (<Handle>item).pool is not pool or (<Handle>item).number < 0:
            continue
        source = <Handle>item
        if source.data_item < 0:
            source.data_item = data_item_of(d, source.number)
            if source.data_item < 0:
                raise MemoryError()
        push_item(&items, source.data_item)
    if has_refs:
        replace_refs(job)
    if items.size == 0:
        return cache_set
    found = find_or_add_set(&d.cache, &items)
    ints_free(&items)
    if found < 0:
        raise MemoryError()
    return found


cdef inline int32_t item_of_ref(object pool, dispatcher_t *d, DataRef ref) except -1:
    """Return the data item of a broadcast object. The user's reference counts as a job."""
    cdef DataRef data = ref if ref.target is None else ref.target
    if data.pool is not pool:
        data.pool = pool
        data.data_item = cache_add_data(&d.cache, data.id)
        if data.data_item < 0:
            raise MemoryError()
        if ref is not data:
            d.cache.items[data.data_item].ref_count += 1
    return data.data_item


cdef inline int replace_refs(Handle job) except -1:
    """Put the data in place of the user's references to them."""
    from bsbpool._core.jobs.inputs import substitute  # rarely used

    given = {} if job.keywords is None else job.keywords
    args, kwargs = substitute(
        job.arguments, given,
        lambda item: (item.target or item) if isinstance(item, DataRef) else item,
    )
    job.arguments = args
    job.keywords = kwargs or None
    return 0


cdef inline int push_item(ints_t *items, int32_t item) except -1:
    if ints_push(items, item) < 0:
        ints_free(items)
        raise MemoryError()
    return 0


cdef inline int32_t find_or_add_set(cache_t *c, ints_t *items) noexcept nogil:
    """Return a set with these items. Many jobs in sequence may have the same arguments."""
    cdef item_set_t *last
    if c.n_sets:
        last = &c.sets[c.n_sets - 1]
        if last.size == items.size and memcmp(
            c.members.data + last.start, items.data, <size_t>items.size * sizeof(int32_t)
        ) == 0:
            return <int32_t>(c.n_sets - 1)
    return cache_add_set(c, items.data, items.size)


cdef inline int set_data_flags(dispatcher_t *d, Handle job) except -1:
    """Note the option `keep` of a job that was just added."""
    if job.options is not None and job.options.keep == "worker" and job.number >= 0:
        d.jobs[job.number].flags |= STAYS_THERE
    return 0


cdef inline object with_dependencies(object pool, Handle job, object deps, object with_inputs):
    """Return the dependencies of a job together with the jobs among its arguments.

    `with_inputs` does the same, for any arguments, or raises.
    """
    if not job.has_inputs:
        return deps
    inputs = find_inputs(job.arguments, job.keywords)
    if inputs is None:
        return with_inputs(job, deps)
    for item in inputs:
        if (
            not isinstance(item, Handle) or isinstance(item, DataRef)
            or (<Handle>item).pool is not pool or (<Handle>item).number < 0
        ):
            return with_inputs(job, deps)
    if len(inputs) > 1:
        inputs = dict.fromkeys(inputs)
    return tuple(inputs) if deps is None else (*deps, *inputs)


cdef inline tuple resolved_arguments(Handle job):
    """Return the positional arguments of a call with results in place of jobs.

    None if jobs are elsewhere than among these, or a result is not in memory as an object.
    """
    cdef list resolved = []
    if job.keywords is not None and find_inputs((), job.keywords) is not None:
        return None
    for item in <tuple>job.arguments:
        if isinstance(item, Handle):
            outcome = (<Handle>item).outcome
            if isinstance(item, DataRef) or not has_outcome(<Handle>item):
                return None
            if isinstance(outcome, StoredResult):
                return None
            item = outcome
        elif not is_scalar(item) and search(item, MAX_DEPTH, None, None) is not None:
            return None
        resolved.append(item)
    return tuple(resolved)
