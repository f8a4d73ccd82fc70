/* Counts what a process asks of MPI and gives back: requests and communicators.
 *
 * Preloaded (LD_PRELOAD), it stands between the callers and MPI by the profiling interface, so it
 * sees what bsbpool's compiled transport does as well as mpi4py. Python reads the numbers with
 * `pmpi_count`; at MPI_Finalize each rank prints what is still out.
 *
 * Only the calls that start something which must be completed or freed are here, of those that
 * bsbpool and mpi4py make in the soak. Threads may call MPI at one time, so the numbers are atomic.
 */
#include <mpi.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { REQUESTS, COMMUNICATORS, SENDS, RECEIVES, N_COUNTS };
static const char *const NAMES[N_COUNTS] = {"requests", "communicators", "sends", "receives"};
static atomic_llong counts[N_COUNTS];

/* Requests and communicators that are out; sends and receives since the start. -1: no such name. */
long long pmpi_count(const char *name)
{
    for (int i = 0; i < N_COUNTS; i++)
        if (!strcmp(name, NAMES[i])) return atomic_load(&counts[i]);
    return -1;
}

static int started(int code, MPI_Request *request, int kind)
{
    if (code == MPI_SUCCESS) {
        atomic_fetch_add(&counts[kind], 1);
        if (*request != MPI_REQUEST_NULL) atomic_fetch_add(&counts[REQUESTS], 1);
    }
    return code;
}

static int live(int n, const MPI_Request *requests)
{
    int found = 0;
    for (int i = 0; i < n; i++) found += requests[i] != MPI_REQUEST_NULL;
    return found;
}

/* Requests become null when they complete: how many did in `call`? */
#define COMPLETES(n, requests, call)                                   \
    do {                                                               \
        int before = live(n, requests), code = (call);                 \
        atomic_fetch_sub(&counts[REQUESTS], before - live(n, requests)); \
        return code;                                                   \
    } while (0)

static int made(int code, const MPI_Comm *comm)
{
    if (code == MPI_SUCCESS && *comm != MPI_COMM_NULL) atomic_fetch_add(&counts[COMMUNICATORS], 1);
    return code;
}

static int freed(int code)
{
    if (code == MPI_SUCCESS) atomic_fetch_sub(&counts[COMMUNICATORS], 1);
    return code;
}

/* ---------------------------------------------------------------- requests */

#define SEND(name)                                                                           \
    int MPI_##name(const void *data, int n, MPI_Datatype type, int to, int tag, MPI_Comm comm, \
                   MPI_Request *request)                                                     \
    {                                                                                        \
        return started(PMPI_##name(data, n, type, to, tag, comm, request), request, SENDS);  \
    }

SEND(Isend)
SEND(Ibsend)
SEND(Irsend)
SEND(Issend)

int MPI_Irecv(void *data, int n, MPI_Datatype type, int from, int tag, MPI_Comm comm,
              MPI_Request *request)
{
    return started(PMPI_Irecv(data, n, type, from, tag, comm, request), request, RECEIVES);
}

int MPI_Imrecv(void *data, int n, MPI_Datatype type, MPI_Message *message, MPI_Request *request)
{
    return started(PMPI_Imrecv(data, n, type, message, request), request, RECEIVES);
}

int MPI_Test(MPI_Request *request, int *flag, MPI_Status *status)
{
    COMPLETES(1, request, PMPI_Test(request, flag, status));
}

int MPI_Testall(int n, MPI_Request requests[], int *flag, MPI_Status statuses[])
{
    COMPLETES(n, requests, PMPI_Testall(n, requests, flag, statuses));
}

int MPI_Testany(int n, MPI_Request requests[], int *which, int *flag, MPI_Status *status)
{
    COMPLETES(n, requests, PMPI_Testany(n, requests, which, flag, status));
}

int MPI_Testsome(int n, MPI_Request requests[], int *n_done, int which[], MPI_Status statuses[])
{
    COMPLETES(n, requests, PMPI_Testsome(n, requests, n_done, which, statuses));
}

int MPI_Wait(MPI_Request *request, MPI_Status *status)
{
    COMPLETES(1, request, PMPI_Wait(request, status));
}

int MPI_Waitall(int n, MPI_Request requests[], MPI_Status statuses[])
{
    COMPLETES(n, requests, PMPI_Waitall(n, requests, statuses));
}

int MPI_Waitany(int n, MPI_Request requests[], int *which, MPI_Status *status)
{
    COMPLETES(n, requests, PMPI_Waitany(n, requests, which, status));
}

int MPI_Waitsome(int n, MPI_Request requests[], int *n_done, int which[], MPI_Status statuses[])
{
    COMPLETES(n, requests, PMPI_Waitsome(n, requests, n_done, which, statuses));
}

int MPI_Request_free(MPI_Request *request)
{
    COMPLETES(1, request, PMPI_Request_free(request));
}

/* ---------------------------------------------------------------- communicators */

int MPI_Comm_dup(MPI_Comm comm, MPI_Comm *copy) { return made(PMPI_Comm_dup(comm, copy), copy); }

int MPI_Comm_dup_with_info(MPI_Comm comm, MPI_Info info, MPI_Comm *copy)
{
    return made(PMPI_Comm_dup_with_info(comm, info, copy), copy);
}

int MPI_Comm_split(MPI_Comm comm, int colour, int key, MPI_Comm *part)
{
    return made(PMPI_Comm_split(comm, colour, key, part), part);
}

int MPI_Comm_split_type(MPI_Comm comm, int type, int key, MPI_Info info, MPI_Comm *part)
{
    return made(PMPI_Comm_split_type(comm, type, key, info, part), part);
}

int MPI_Comm_create(MPI_Comm comm, MPI_Group group, MPI_Comm *made_of)
{
    return made(PMPI_Comm_create(comm, group, made_of), made_of);
}

int MPI_Comm_create_group(MPI_Comm comm, MPI_Group group, int tag, MPI_Comm *made_of)
{
    return made(PMPI_Comm_create_group(comm, group, tag, made_of), made_of);
}

int MPI_Comm_free(MPI_Comm *comm) { return freed(PMPI_Comm_free(comm)); }

int MPI_Comm_disconnect(MPI_Comm *comm) { return freed(PMPI_Comm_disconnect(comm)); }

/* ---------------------------------------------------------------- the end */

int MPI_Finalize(void)
{
    int rank = -1, code;
    PMPI_Comm_rank(MPI_COMM_WORLD, &rank);
    code = PMPI_Finalize(); /* it calls back who keeps something with a communicator */
    fprintf(stderr, "pmpi_count: rank %d leaves %lld requests and %lld communicators\n", rank,
            atomic_load(&counts[REQUESTS]), atomic_load(&counts[COMMUNICATORS]));
    return code;
}
