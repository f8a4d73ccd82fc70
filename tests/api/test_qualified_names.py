"""Classes that are pickled by value keep their qualified names in a new process."""

import subprocess
import sys

from bsbpool.serialization import dumps

SHOW = "import pickle, sys; print(pickle.load(sys.stdin.buffer).__qualname__)"


def test_a_local_class_keeps_its_qualified_name():
    class Local:
        class Inside:
            __slots__ = ("x",)

    for kind in (Local, Local.Inside):
        payload, _ = dumps(kind)
        done = subprocess.run([sys.executable, "-c", SHOW], input=payload, capture_output=True)
        assert done.stdout.decode().strip() == kind.__qualname__, done.stderr
