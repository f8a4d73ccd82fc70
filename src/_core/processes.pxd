# The state of other processes of this machine.
cdef extern from *:
    """
    #include <errno.h>
    #include <fcntl.h>
    #include <signal.h>
    #include <stdio.h>
    #include <string.h>
    #include <unistd.h>
    /* Also true for a process that has ended but whose exit code was not collected yet: launchers
       collect late. A process whose state cannot be read (no /proc, no file descriptor left) counts
       as running. */
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
