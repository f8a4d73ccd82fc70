"""One rank's transport, driven message by message by a test."""
from bsbpool._core.comm.transport cimport Transport
from bsbpool._core.protocol.frames cimport FrameReader, FrameWriter
from bsbpool._core.protocol.message cimport message_free, message_t
from bsbpool._core.protocol.wire cimport JOB
from cpython.ref cimport Py_DECREF


cdef class Endpoint:
    """Sends and receives numbers over a transport.

    Parameters
    ----------
    transport : Transport
        The transport; this object is its only user.
    """

    cdef Transport transport
    cdef int error

    def __init__(self, Transport transport not None):
        self.transport = transport

    def send(self, int peer, number, part=None):
        """Send a number to a rank, and bytes outside of the frame."""
        cdef FrameWriter writer = FrameWriter()
        writer.add(JOB, number, buffers=() if part is None else (memoryview(part),))
        code = self.transport.table.send(&self.transport.table, writer.seal(peer, 1))
        if code < 0:
            raise OSError(code)

    def send_records(self, int peer, int run_id, records):
        """Send a message of a run; each record is the arguments of `FrameWriter.add`."""
        cdef FrameWriter writer = FrameWriter()
        for record in records:
            writer.add(**record)
        code = self.transport.table.send(&self.transport.table, writer.seal(peer, run_id))
        if code < 0:
            raise OSError(code)

    def poll_records(self):
        """Return the next message; None if none has arrived.

        Returns
        -------
        time_ns : int
            The time in the header.
        records : list of tuple
            Kind, id, flags and extra of each record.
        """
        cdef FrameReader reader = self.receive()
        if reader is None:
            return None
        records = []
        while reader.next():
            record = reader.record
            records.append((record.kind, record.id, record.flags, record.extra))
        return reader.cursor.header.time_ns, records

    def poll(self):
        """Return (peer, number) of the next message; None if none has arrived."""
        cdef FrameReader reader = self.receive()
        if reader is None:
            return None
        assert reader.next()
        return reader.message.peer, reader.record.id

    cdef FrameReader receive(self):
        """Return a reader of the next message; None if none has arrived."""
        cdef FrameReader reader = FrameReader()
        cdef message_t *m = self.transport.table.poll(&self.transport.table, &self.error)
        self.release()
        if self.error < 0:
            raise OSError(self.error)
        if m == NULL:
            return None
        reader.open(m)
        return reader

    def take_lost(self):
        """Return a rank that was lost; None if none was."""
        peer = self.transport.table.next_lost(&self.transport.table)
        return None if peer < 0 else peer

    cdef int release(self) except -1:
        cdef message_t *m = self.transport.table.sent(&self.transport.table)
        while m != NULL:
            if m.pinned != NULL:
                Py_DECREF(<object>m.pinned)
            message_free(m)
            m = self.transport.table.sent(&self.transport.table)
        return 0
