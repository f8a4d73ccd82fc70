"""The last words of a rank: which job it was in when a fault killed it.

Where MPI does not outlive a rank, the launcher kills all others at once, and nobody is left
to say what happened. So the dying rank says it itself, on stderr, by what a signal handler
may do: no memory, no locks, no Python. Then it dies as it would have, by the handler that
was there before (faulthandler's, or that of MPI, prints where it was).

The handlers are those of the process, so one worker at a time can be armed.
"""
from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    """
    #include <signal.h>
    #include <stdlib.h>
    #include <string.h>
    #include <time.h>
    #include <unistd.h>

    static const int crash_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    static const char *const crash_names[] = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT"};
    #define CRASH_SIGNALS ((int)(sizeof crash_signals / sizeof crash_signals[0]))
    #define CRASH_STACK 65536

    static struct sigaction crash_before[sizeof crash_signals / sizeof crash_signals[0]];
    static const volatile uint64_t *crash_begun;
    static volatile uint32_t *crash_place;
    static const char *volatile crash_function;
    static int crash_rank = -1;
    static pid_t crash_process;
    static void *crash_stack;

    static char *crash_text(char *to, char *end, const char *text) {
        while (to < end && *text) *to++ = *text++;
        return to;
    }
    static char *crash_number(char *to, char *end, uint64_t n) {
        char digits[21], *d = digits + 20;
        *d = 0;
        do *--d = (char)('0' + n % 10); while (n /= 10);
        return crash_text(to, end, d);
    }
    static void crash_speak(int signal, const char *name) {
        const struct timespec moment = {0, 100000000};
        char line[512], *end = line + sizeof line - 1, *at = line;
        const char *function = crash_function;
        uint64_t begun = *crash_begun & 0xFFFFFFFFu;
        *crash_place = (uint32_t)signal;
        at = crash_text(at, end, "\\nbsbpool: rank ");
        at = crash_number(at, end, (uint64_t)crash_rank);
        at = crash_text(at, end, " died of ");
        at = crash_text(at, end, name);
        if (begun) {
            at = crash_text(at, end, "; the last job that it started is job ");
            at = crash_number(at, end, begun - 1);
            if (function) {
                at = crash_text(at, end, " '");
                at = crash_text(at, end, function);
                at = crash_text(at, end, "'");
            }
        }
        *at++ = '\\n';
        if (write(2, line, (size_t)(at - line)) < 0) return;
        nanosleep(&moment, NULL);  /* launchers drop what they have not passed on yet */
    }
    static void crash_handle(int signal, siginfo_t *info, void *context) {
        int i;
        (void)context;
        for (i = 0; i < CRASH_SIGNALS; i++)
            if (crash_signals[i] == signal) {
                if (getpid() == crash_process)  /* a fork of it dies for itself */
                    crash_speak(signal, crash_names[i]);
                sigaction(signal, &crash_before[i], NULL);
            }
        /* The instruction of a fault is tried again, and tells who was there before where it
           happened. A signal that was sent has to be sent again; it is blocked until then. */
        if (info->si_code <= 0) raise(signal);
    }
    /* A stack that has overflown leaves no room for a handler. */
    static void crash_make_stack(void) {
        stack_t now, own;
        if (sigaltstack(NULL, &now) || !(now.ss_flags & SS_DISABLE)) return;
        if (!crash_stack) crash_stack = malloc(CRASH_STACK);
        if (!crash_stack) return;
        memset(&own, 0, sizeof own);
        own.ss_sp = crash_stack;
        own.ss_size = CRASH_STACK;
        sigaltstack(&own, NULL);
    }
    static int fault_report_install(int rank, const uint64_t *begun, uint32_t *place) {
        struct sigaction action;
        int i;
        if (crash_rank >= 0) return 0;
        crash_process = getpid();
        crash_rank = rank;
        crash_begun = begun;
        crash_place = place;
        crash_function = NULL;
        crash_make_stack();
        memset(&action, 0, sizeof action);
        action.sa_sigaction = crash_handle;
        action.sa_flags = SA_ONSTACK | SA_SIGINFO;
        for (i = 0; i < CRASH_SIGNALS; i++)
            sigaction(crash_signals[i], &action, &crash_before[i]);
        return 1;
    }
    /* Whatever was installed meanwhile stays. */
    static void fault_report_remove(void) {
        struct sigaction now;
        int i;
        if (crash_rank < 0) return;
        for (i = 0; i < CRASH_SIGNALS; i++)
            if (!sigaction(crash_signals[i], NULL, &now) && now.sa_sigaction == crash_handle)
                sigaction(crash_signals[i], &crash_before[i], NULL);
        crash_rank = -1;
        crash_function = NULL;
    }
    static void fault_report_set_function(const char *function) { crash_function = function; }
    """
    bint fault_report_install(int, const uint64_t *, uint32_t *) nogil
    void fault_report_remove() nogil
    void fault_report_set_function(const char *) nogil


cdef bint fault_report_arm(int rank, const uint64_t *begun, uint32_t *signal) noexcept nogil:
    """Speak when this process dies of a fault, until `fault_report_disarm`; False if another does.

    `begun` is where the number + 1 of the job stands that was begun last, in the lower half;
    at `signal` the number of the signal is left.
    """
    return fault_report_install(rank, begun, signal)


cdef void fault_report_name(const char *function) noexcept nogil:
    """Say what the job calls; the text must live on."""
    fault_report_set_function(function)


cdef void fault_report_disarm() noexcept nogil:
    fault_report_remove()
