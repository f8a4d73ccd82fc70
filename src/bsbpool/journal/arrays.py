"""What stands for the objects of NumPy and pandas in keys, if the program has imported these."""

from __future__ import annotations

import sys
from typing import Any


def of_numpy(value: Any) -> Any:
    """Describe an object of NumPy; None if no rule does."""
    numpy = sys.modules["numpy"]
    if type(value) is numpy.ma.MaskedArray:
        return numpy.asarray(value.data), numpy.asarray(value.mask), value.fill_value
    if type(value) in (numpy.ndarray, numpy.memmap):
        return _of_array(value)
    if isinstance(value, numpy.generic):
        return None if value.dtype.hasobject else (_of_dtype(value.dtype), value.tobytes())
    if isinstance(value, numpy.dtype):
        return _of_dtype(value)
    if isinstance(value, numpy.random.Generator):
        return value.bit_generator.state
    if isinstance(value, numpy.random.RandomState):
        return value.get_state(legacy=False)
    if isinstance(value, numpy.random.SeedSequence):
        return value.entropy, tuple(value.spawn_key), value.pool_size, value.n_children_spawned
    if isinstance(value, numpy.ufunc):
        return _of_ufunc(value)
    return None


def _of_array(value: Any) -> Any:
    numpy = sys.modules["numpy"]
    if value.dtype.hasobject or value.dtype.kind == "T":  # "T": the array refers to its texts
        if value.dtype.names is not None:
            return None
        return "objects", _of_dtype(value.dtype), value.shape, value.ravel().tolist()
    return _of_dtype(value.dtype), value.shape, numpy.ascontiguousarray(value).tobytes()


def _of_dtype(dtype: Any) -> Any:
    return dtype.str if dtype.names is None and dtype.subdtype is None else repr(dtype)


def _of_ufunc(value: Any) -> Any:
    """Return where a ufunc is defined; None for one that `frompyfunc` made of any function."""
    name: str = value.__name__
    for module in ("numpy", "scipy.special"):
        if getattr(sys.modules.get(module), name, None) is value:
            return module, name
    return None


def of_pandas(value: Any) -> Any:
    """Describe an object of pandas; None if no rule does."""
    pandas = sys.modules["pandas"]
    if isinstance(value, pandas.DataFrame):
        columns = [_of_values(value.iloc[:, i]) for i in range(value.shape[1])]
        return _of_index(value.columns), _of_index(value.index), columns, value.attrs
    if isinstance(value, pandas.Series):
        return value.name, _of_index(value.index), _of_values(value), value.attrs
    if isinstance(value, pandas.Index):
        return _of_index(value)
    if value is pandas.NaT or value is pandas.NA:
        return str(value)
    if isinstance(value, (pandas.Timestamp, pandas.Timedelta)):
        return value.isoformat(), value.unit, str(getattr(value, "tz", None))
    if isinstance(value, pandas.Interval):
        return value.left, value.right, value.closed
    if isinstance(value, pandas.Period):
        return value.freqstr, value.ordinal
    return None


def _of_index(index: Any) -> Any:
    pandas = sys.modules["pandas"]
    if isinstance(index, pandas.MultiIndex):
        levels = [index.get_level_values(i) for i in range(index.nlevels)]
        return "levels", [(level.name, _of_values(level)) for level in levels]
    if isinstance(index, pandas.RangeIndex):
        return "range", index.name, index.start, index.stop, index.step
    return "index", index.name, getattr(index, "freqstr", None), _of_values(index)


def _of_values(values: Any) -> Any:
    """Describe a column or a level of an index: its type, and its items one by one."""
    numpy, pandas = sys.modules["numpy"], sys.modules["pandas"]
    dtype = values.dtype
    if isinstance(dtype, pandas.CategoricalDtype):
        codes = numpy.asarray(pandas.Categorical(values).codes)
        return "categories", dtype.ordered, _of_index(dtype.categories), codes
    if isinstance(dtype, numpy.dtype) and not dtype.hasobject:
        return values.to_numpy()
    # Texts, time zones and the like; those that are missing are not alike.
    return str(dtype), values.astype(object).tolist()


PACKAGES = {"numpy": of_numpy, "pandas": of_pandas}
"""What describes the objects of a package."""
