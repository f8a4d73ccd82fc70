"""The compiled core of bsbpool: scheduling, jobs, the wire protocol, communication and the loops.

The modules of all packages are linked into one shared library, `_modules`, so that importing them
opens a single file. Those of `testing` are in `_testing`, which only development builds have.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from types import ModuleType

MODULES = {
    "scheduling": ("engine", "engine_options", "status"),
    "jobs": (
        "change_log", "dependency_sets", "handle", "inputs", "invoke", "job_times",
        "special_submission",
        "submission", "trace_text", "wait_chain",
    ),
    "protocol": ("buffer", "frames", "scalar_codec", "small_arrays", "wire"),
    "comm": (
        "channel", "demux", "local_link", "membership", "process_monitor", "relay", "relay_thread",
        "relaying",
        "transport",
        "waiter", "wakeup",
    ),
    "journal": ("end_recorder", "job_journal", "key_table", "keys", "records"),
    "locking": ("global_queue", "node_lock", "rank_lock", "window_words"),
    "runtime": (
        "cache_notices", "data_directory", "data_receiver", "data_store", "fault_report",
        "gang_messages", "inbox", "job_sender", "loaded_functions", "main_loop", "outbox",
        "progress_thread", "reply_buffer", "reply_reader", "sent_functions", "serial_loop",
        "worker_loop", "worker_receiver",
    ),
    "simulation": ("loopback", "simulator"),
    "testing": (
        "baseline", "deterministic_scheduler", "endpoint", "inprocess_transport", "invariants",
        "manual_engine",
        "simulated_network", "tables",
    ),
}  # fmt: skip
"""The compiled modules of each package."""


def _library(name: str) -> str:
    return f"{__path__[0]}/{name}{EXTENSION_SUFFIXES[0]}"


class _Finder:
    """A meta path finder for the packages and modules of the shared libraries."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a package or module of the core; None for other names."""
        prefix, _, rest = name.partition("bsbpool._core.")
        if prefix or not rest:
            return None
        if rest == "_shared":  # functions of Cython's own that all modules use
            library = _library("_modules")
            return ModuleSpec(name, ExtensionFileLoader(name, library), origin=library)
        package, _, module = rest.partition(".")
        if package not in MODULES:
            return None
        if not module:
            spec = ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [f"{__path__[0]}/{package}"]  # for its Python modules
            return spec
        if module not in MODULES[package]:
            return None
        library = _library("_testing" if package == "testing" else "_modules")
        return ModuleSpec(name, ExtensionFileLoader(name, library), origin=library)


sys.meta_path.insert(0, _Finder)  # before the path finder, which would search the folders
