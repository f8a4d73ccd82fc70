"""Ctrl-C while a map sends its items."""

import signal

import pytest

from bsbpool.futures import PoolExecutor


class Interrupted:
    """Raises SIGINT while it is pickled."""

    def __reduce__(self):
        signal.raise_signal(signal.SIGINT)
        return str, ()


@pytest.mark.parametrize("buffersize", [None, 2])
def test_an_executor_ends_after_ctrl_c_in_the_last_item_of_a_map(buffersize):
    with PoolExecutor() as executor:
        with pytest.raises(KeyboardInterrupt):
            list(executor.map(str, [Interrupted()], buffersize=buffersize))
        assert executor.submit(abs, -1).result() == 1
