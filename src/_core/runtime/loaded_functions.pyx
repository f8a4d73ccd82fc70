"""The functions that the main rank has sent to a worker."""
from bsbpool._core.protocol.frames cimport FrameReader
from bsbpool._core.runtime.fault_report cimport fault_report_name
from libc.stdint cimport uint32_t


cdef class Function:
    """A function, and an estimate of how long its jobs take on this rank."""


cdef class LoadedFunctions:
    """The functions of one run, by number.

    Parameters
    ----------
    callbacks : WorkerCallbacks
        Unpickle functions.
    """

    def __init__(self, callbacks):
        self.callbacks = callbacks
        self.functions = {}
        self.last_number = -1

    cdef int load(self, FrameReader reader, bint direct, bint named) except -1:
        """Load the function of the reader's record.

        With `direct`, the callbacks return a pair (function, mode); the loop calls functions of
        mode 0. With `named`, the name of the function is kept for the report of a fault.
        """
        cdef Function function = Function()
        function.loaded = self.callbacks.load_function(
            reader.record.flags & 0x7F, reader.payload(), reader.buffers()
        )
        function.run_ns = LONG_JOB_NS
        function.name = self.callbacks.function_name(function.loaded) if named else b""
        if direct:
            f, mode = function.loaded
            function.f = f if mode == 0 else None
        self.functions[reader.record.aux] = function
        self.last_number = -1
        return 0

    cdef int drop(self, uint32_t number) except -1:
        """Drop a function, if it is loaded."""
        self.functions.pop(number, None)
        self.last_number = -1
        return 0

    cdef Function get(self, uint32_t number, bint report_name):
        """Return a function; with `report_name`, set its name for the report of a fault."""
        if number != self.last_number:
            if report_name:
                fault_report_name((<Function>self.functions[number]).name)
            self.last = self.functions[number]
            self.last_number = number
        return self.last
