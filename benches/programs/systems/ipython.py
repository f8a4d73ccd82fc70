"""ipyparallel: one engine, balanced view."""

from __future__ import annotations

import logging
import tempfile

from ipyparallel import Cluster

from benches.programs.common import task
from benches.programs.systems.support import Script, by_futures


def session(script: Script) -> None:
    # A temporary folder, so that nothing stays in the user's.
    with (
        tempfile.TemporaryDirectory() as folder,
        Cluster(n=1, ipython_dir=folder, log_level=logging.ERROR) as client,
    ):
        client.wait_for_engines(1, timeout=60)
        view = client.load_balanced_view()
        script(lambda workload: by_futures(view.apply_async, task, workload))
