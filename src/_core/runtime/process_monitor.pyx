"""The processes of other ranks on this node, and which of them are gone.

Not every MPI tells of every death: Open MPI 5.0 does not when a process ends itself with an exit
code. Main may be on another node, so the ranks beside the dead one look as well, and tell it.
"""
from libc.stdint cimport uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

cdef extern from *:
    """
    #include <errno.h>
    #include <fcntl.h>
    #include <signal.h>
    #include <stdio.h>
    #include <string.h>
    #include <unistd.h>
    /* Also when nobody has asked for its exit code yet: launchers take their time. What cannot
       be found out (no /proc, no descriptor left) counts as living. */
    static int process_is_gone(int pid) {
        char text[512], *name_end;
        ssize_t n;
        int file;
        if (kill(pid, 0) != 0 && errno == ESRCH) return 1;
        snprintf(text, sizeof text, "/proc/%d/stat", pid);
        file = open(text, O_RDONLY | O_CLOEXEC);
        if (file < 0) return 0;
        n = read(file, text, sizeof text - 1);
        close(file);
        if (n <= 0) return 0;
        text[n] = 0;
        name_end = strrchr(text, ')');
        return name_end && (name_end[2] == 'Z' || name_end[2] == 'X');
    }
    """
    bint process_is_gone(int) nogil


cdef class ProcessMonitor:
    """Looks after some processes.

    Parameters
    ----------
    pids : mapping of int to int
        The number of each rank's process, without the own one.
    """

    def __init__(self, pids):
        cdef int i
        if self.pids != NULL:
            raise RuntimeError("process monitor are met once")
        # In another PID namespace (a container) a number says nothing.
        there = {rank: pid for rank, pid in pids.items() if not process_is_gone(pid)}
        self.n = len(there)
        self.ranks = <int *>malloc((self.n + 1) * sizeof(int))
        self.pids = <int *>malloc((self.n + 1) * sizeof(int))
        self.told = <uint8_t *>calloc(self.n + 1, 1)
        if self.ranks == NULL or self.pids == NULL or self.told == NULL:
            raise MemoryError()
        for i, (rank, pid) in enumerate(there.items()):
            self.ranks[i] = rank
            self.pids[i] = pid

    def __dealloc__(self):
        free(self.ranks)
        free(self.pids)
        free(self.told)

    def dead(self):
        """Return the ranks whose processes are gone."""
        return [self.ranks[i] for i in range(self.n) if process_is_gone(self.pids[i])]

    def newly_dead(self):
        """Return the ranks whose processes went away since the last call."""
        cdef int rank = self.next_dead()
        found = []
        while rank >= 0:
            found.append(rank)
            rank = self.next_dead()
        return found

    cdef void forget(self) noexcept nogil:
        """Tell of all deaths once more."""
        memset(self.told, 0, <size_t>self.n)

    cdef int next_dead(self) noexcept nogil:
        """Return a rank whose process is gone, each once; -1 when there is none."""
        cdef int i
        for i in range(self.n):
            if not self.told[i] and process_is_gone(self.pids[i]):
                self.told[i] = True
                return self.ranks[i]
        return -1
