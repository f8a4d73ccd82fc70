"""The tests of ipyparallel that are not meant for engines that are ranks of a program, and why."""

from __future__ import annotations

ADDS = "adds engines: they are the ranks of the program"
FAILS = "is expected to fail: it compares a result with an empty list"
KILLS = "adds an engine and kills it"
PRIVATE = "uses a private method or attribute of the client"
QUERIES = "queries the database of the controller process: the program has its results itself"
RESUBMITS = "sends a message again that the controller process has stored: call the view again"
SIGNALS = "sends signals to engines: running tasks are cancelled instead"
SIX = "needs six engines, and there are four"
SOCKETS = "checks settings of the network connection"
TRACKER = "checks the tracker of a message of zmq"

_REASONS: dict[str, dict[str, str]] = {
    "test_asyncresult.py::TestAsyncResult": {
        "test_wait_for_send": "delays the thread in which the client sends with zmq",
    },
    "test_client.py::TestClient": {
        "test_become_dask": "dask has its own programs: use bsbpool.futures.PoolExecutor with it",
        "test_curve": SOCKETS,
        "test_db_query_default_keys": QUERIES,
        "test_db_query_dt": QUERIES,
        "test_db_query_get_result": QUERIES,
        "test_db_query_in": QUERIES,
        "test_db_query_keys": QUERIES,
        "test_db_query_msg_id": QUERIES,
        "test_hub_history": QUERIES,
        "test_ids": ADDS,
        "test_ids_list": PRIVATE,
        "test_lazy_all_targets": ADDS,
        "test_outstanding": PRIVATE,
        "test_local_ip_true_doesnt_trigger_warning": SOCKETS,
        "test_purge_all_hub_results": QUERIES,
        "test_purge_all_results": QUERIES,
        "test_purge_everything": QUERIES,
        "test_purge_hub_results": QUERIES,
        "test_resubmit": RESUBMITS,
        "test_resubmit_aborted": RESUBMITS,
        "test_resubmit_badkey": RESUBMITS,
        "test_resubmit_chain": RESUBMITS,
        "test_resubmit_header": RESUBMITS,
        "test_resubmit_inflight": RESUBMITS,
        "test_signal_engines": SIGNALS,
        "test_wait_for_engines": ADDS,
        "test_warning_on_hostname_match": SOCKETS,
    },
    "test_lbview.py::TestLoadBalancedView": {
        "test_retries": "expects a task to hang that may run again as often as there are engines",
        "test_z_crash": KILLS,
    },
    "test_magics.py::TestParallelMagics": {
        "test_autopx_nonblocking": "expects that code is dropped that was sent after failing code",
        "test_cellpx_error_no_stream": SIX,
        "test_cellpx_error_stream": SIX,
        "test_cellpx_keyboard_interrupt_SIGINT": SIGNALS,
        "test_cellpx_keyboard_interrupt_SIGKILL": SIGNALS,
        "test_cellpx_keyboard_interrupt_default": SIGNALS,
        "test_cellpx_keyboard_interrupt_signal_0": SIGNALS,
        "test_cellpx_keyboard_interrupt_signal_2": SIGNALS,
        "test_cellpx_keyboard_interrupt_signal_9": SIGNALS,
        "test_cellpx_stream": SIX,
    },
    "test_view.py::TestView": {
        "test_apply_tracked": TRACKER,
        "test_cloudpickle_require": FAILS,
        "test_scatter_tracked": TRACKER,
        "test_z_crash_mux": KILLS,
    },
    "test_view_broadcast.py::TestBroadcastViewCoalescing": {
        "test_apply_tracked": TRACKER,
        "test_cloudpickle_require": FAILS,
        "test_z_crash_mux": KILLS,
    },
}

NOT_MEANT = {
    f"{class_}::{name}": reason
    for class_, reasons in _REASONS.items()
    for name, reason in reasons.items()
}
"""The reason for each test, by its module, class and name."""
