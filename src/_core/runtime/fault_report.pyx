"""Reports on stderr in which job a worker was when a fault killed it.

Where MPI does not survive the failure of a rank, the launcher kills all other ranks at once, and no
rank is left that could report what happened. So the failing rank reports it itself, in a signal
handler, which allocates no memory, takes no locks and calls no Python. Then the previous handler
(of faulthandler or MPI, which may print a stack) ends the process as it would have done otherwise.

Signal handlers belong to the process, so only one worker of a process can be armed at a time.
"""
from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    """
    #include <signal.h>
    #include <stdlib.h>
    #include <string.h>
    #include <time.h>
    #include <unistd.h>

    static const int fault_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    static const char *const fault_names[] = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT"};
    #define FAULT_SIGNALS ((int)(sizeof fault_signals / sizeof fault_signals[0]))
    #define FAULT_STACK 65536

    static struct sigaction fault_previous[sizeof fault_signals / sizeof fault_signals[0]];
    static const volatile uint64_t *fault_begun;
    static volatile uint32_t *fault_signal_slot;
    static const char *volatile fault_function;
    static int fault_rank = -1;
    static pid_t fault_process;
    static void *fault_stack;

    static char *fault_put_text(char *to, char *end, const char *text) {
        while (to < end && *text) *to++ = *text++;
        return to;
    }
    static char *fault_put_number(char *to, char *end, uint64_t n) {
        char digits[21], *d = digits + 20;
        *d = 0;
        do *--d = (char)('0' + n % 10); while (n /= 10);
        return fault_put_text(to, end, d);
    }
    static volatile int fault_stderr = 2;
    static void fault_print(int signal, const char *name) {
        const struct timespec delay = {0, 100000000};
        char line[512], *end = line + sizeof line - 1, *at = line;
        const char *function = fault_function;
        uint64_t begun = *fault_begun & 0xFFFFFFFFu;
        *fault_signal_slot = (uint32_t)signal;
        /* While the output of a job is captured, nobody would read it. */
        if (fault_stderr != 2) dup2(fault_stderr, 2);
        at = fault_put_text(at, end, "\\nbsbpool: rank ");
        at = fault_put_number(at, end, (uint64_t)fault_rank);
        at = fault_put_text(at, end, " died of ");
        at = fault_put_text(at, end, name);
        if (begun) {
            at = fault_put_text(at, end, "; the last job that it started is job ");
            at = fault_put_number(at, end, begun - 1);
            if (function) {
                at = fault_put_text(at, end, " '");
                at = fault_put_text(at, end, function);
                at = fault_put_text(at, end, "'");
            }
        }
        *at++ = '\\n';
        if (write(2, line, (size_t)(at - line)) < 0) return;
        nanosleep(&delay, NULL);  /* launchers drop output that they have not forwarded yet */
    }
    static void fault_handle(int signal, siginfo_t *info, void *context) {
        int i;
        (void)context;
        for (i = 0; i < FAULT_SIGNALS; i++)
            if (fault_signals[i] == signal) {
                if (getpid() == fault_process)  /* not a forked child */
                    fault_print(signal, fault_names[i]);
                sigaction(signal, &fault_previous[i], NULL);
            }
        /* After a fault the instruction runs again, and the previous handler sees where it was.
           A signal that was sent must be raised again; it stays blocked until this returns. */
        if (info->si_code <= 0) raise(signal);
    }
    /* After a stack overflow a handler needs a stack of its own. */
    static void fault_make_stack(void) {
        stack_t current, ours;
        if (sigaltstack(NULL, &current) || !(current.ss_flags & SS_DISABLE)) return;
        if (!fault_stack) fault_stack = malloc(FAULT_STACK);
        if (!fault_stack) return;
        memset(&ours, 0, sizeof ours);
        ours.ss_sp = fault_stack;
        ours.ss_size = FAULT_STACK;
        sigaltstack(&ours, NULL);
    }
    static int fault_report_install(int rank, const uint64_t *begun, uint32_t *signal_slot) {
        struct sigaction action;
        int i;
        if (fault_rank >= 0) return 0;
        fault_process = getpid();
        fault_rank = rank;
        fault_begun = begun;
        fault_signal_slot = signal_slot;
        fault_function = NULL;
        fault_make_stack();
        memset(&action, 0, sizeof action);
        action.sa_sigaction = fault_handle;
        action.sa_flags = SA_ONSTACK | SA_SIGINFO;
        for (i = 0; i < FAULT_SIGNALS; i++)
            sigaction(fault_signals[i], &action, &fault_previous[i]);
        return 1;
    }
    /* A handler that was installed later stays. */
    static void fault_report_remove(void) {
        struct sigaction current;
        int i;
        if (fault_rank < 0) return;
        for (i = 0; i < FAULT_SIGNALS; i++)
            if (!sigaction(fault_signals[i], NULL, &current)
                && current.sa_sigaction == fault_handle)
                sigaction(fault_signals[i], &fault_previous[i], NULL);
        fault_rank = -1;
        fault_function = NULL;
    }
    static void fault_report_set_stderr(int fd) { fault_stderr = fd; }
    static void fault_report_set_function(const char *function) { fault_function = function; }
    """
    bint fault_report_install(int, const uint64_t *, uint32_t *) nogil
    void fault_report_remove() nogil
    void fault_report_set_function(const char *) nogil
    void fault_report_set_stderr(int) nogil


cdef bint fault_report_arm(int rank, const uint64_t *begun, uint32_t *signal) noexcept nogil:
    """Report a fault of this process until `fault_report_disarm`; False if it is armed already.

    The lower half of `begun` is the number + 1 of the job that was begun last. The handler writes
    the number of the signal to `signal`.
    """
    return fault_report_install(rank, begun, signal)


cdef void fault_report_name(const char *function) noexcept nogil:
    """Set the name of the function that the job calls; the text must stay alive."""
    fault_report_set_function(function)


def set_stderr(int fd):
    """Report faults on this file descriptor: stderr is captured."""
    fault_report_set_stderr(fd)


cdef void fault_report_disarm() noexcept nogil:
    """Restore the previous signal handlers."""
    fault_report_remove()
