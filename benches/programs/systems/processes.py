"""concurrent.futures with one worker process."""

from concurrent.futures import ProcessPoolExecutor

from benches.programs.common import task
from benches.programs.systems.support import Script, by_futures


def session(script: Script) -> None:
    with ProcessPoolExecutor(1) as executor:
        script(lambda workload: by_futures(executor.submit, task, workload))
