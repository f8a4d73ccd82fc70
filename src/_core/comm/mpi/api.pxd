# The part of MPI's C API that the transport uses; only this file includes mpi.h. It also hides what
# differs between MPIs: error codes for the failure of ranks (ULFM), and an MPI_Finalize that cannot
# block forever after such a failure.
from libc.stdint cimport uint8_t

cdef extern from "mpi.h" nogil:
    ctypedef int MPI_Fint
    ctypedef struct MPI_Comm:
        pass
    ctypedef struct MPI_Datatype:
        pass
    ctypedef struct MPI_Request:
        pass
    ctypedef struct MPI_Errhandler:
        pass
    ctypedef struct MPI_Status:
        int MPI_SOURCE
    MPI_Comm MPI_COMM_NULL
    MPI_Datatype MPI_BYTE
    MPI_Request MPI_REQUEST_NULL
    MPI_Errhandler MPI_ERRORS_RETURN
    int MPI_ANY_SOURCE, MPI_SUCCESS
    MPI_Comm MPI_Comm_f2c(MPI_Fint)
    int MPI_Comm_dup(MPI_Comm, MPI_Comm *)
    int MPI_Comm_free(MPI_Comm *)
    int MPI_Comm_rank(MPI_Comm, int *)
    int MPI_Comm_size(MPI_Comm, int *)
    int MPI_Comm_set_errhandler(MPI_Comm, MPI_Errhandler)
    int MPI_Error_string(int, char *, int *)
    int MPI_Isend(const void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Irecv(void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Iprobe(int, int, MPI_Comm, int *, MPI_Status *)
    int MPI_Test(MPI_Request *, int *, MPI_Status *)
    int MPI_Query_thread(int *)
    int MPI_THREAD_SERIALIZED
    int MPI_Get_count(const MPI_Status *, MPI_Datatype, int *)
    enum: MPI_MAX_ERROR_STRING

cdef extern from *:
    """
    #if defined(OPEN_MPI)
    #include <mpi-ext.h>
    #endif
    #if defined(OMPI_HAVE_MPI_EXT_FTMPI)
    /* Weak, because a module that was built with Open MPI 5 must load with Open MPI 4, which has
     * the same ABI without these functions. */
    #pragma weak MPIX_Comm_get_failed
    #pragma weak MPIX_Comm_ack_failed
    static int is_rank_failure(int code) {
        int kind = 0;
        if (code == MPI_SUCCESS || !MPIX_Comm_get_failed) return 0;
        MPI_Error_class(code, &kind);
        return kind == MPIX_ERR_PROC_FAILED || kind == MPIX_ERR_PROC_FAILED_PENDING;
    }
    /* Write 1 for each rank that has failed, and allow receives from any source without them. */
    static void get_failed(MPI_Comm comm, unsigned char *failed) {
        MPI_Group failed_group, all;
        int i, n = 0, acknowledged = 0;
        if (!MPIX_Comm_get_failed || !MPIX_Comm_ack_failed) return;
        if (MPIX_Comm_get_failed(comm, &failed_group) != MPI_SUCCESS) return;
        MPI_Group_size(failed_group, &n);
        MPI_Comm_group(comm, &all);
        for (i = 0; i < n; i++) {
            int rank = MPI_UNDEFINED;
            MPI_Group_translate_ranks(failed_group, 1, &i, all, &rank);
            if (rank != MPI_UNDEFINED) failed[rank] = 1;
        }
        MPI_Group_free(&failed_group);
        MPI_Group_free(&all);
        MPIX_Comm_ack_failed(comm, n, &acknowledged);
    }
    #else  /* MPI does not report failures, or not reliably (MPICH 5) */
    static int is_rank_failure(int code) { (void)code; return 0; }
    static void get_failed(MPI_Comm comm, unsigned char *failed) { (void)comm; (void)failed; }
    #endif
    """
    bint is_rank_failure(int) nogil
    void get_failed(MPI_Comm, uint8_t *) nogil

cdef extern from *:
    """
    #include <pthread.h>
    #include <time.h>
    static volatile int finalize_done;
    static void *finalize_run(void *unused) {
        (void)unused;
        MPI_Finalize();
        finalize_done = 1;
        return NULL;
    }
    static int finalize_within(long ms) {
        struct timespec t = {0, 1000000};
        pthread_t thread;
        if (pthread_create(&thread, NULL, finalize_run, NULL)) return 0;
        pthread_detach(thread);
        while (!finalize_done && ms-- > 0) nanosleep(&t, NULL);
        return finalize_done;
    }
    """
    bint finalize_within(long) nogil

cdef inline int error_of(int code) noexcept nogil:
    """Return an MPI error code as a negative number, 0 for success."""
    if code == MPI_SUCCESS:
        return 0
    return -code if code > 0 else code
