"""Between `install` and `uninstall`, bsb's and bsbpool's names of an error are one class."""

from __future__ import annotations

import pytest

from .launch import INSTALL, evaluate

pytestmark = pytest.mark.interop

EARLY = """
import bsbpool.services.pool
from bsbpool import exceptions as own, JobPoolError as Before, JobCancelledError as CancelledBefore
from bsbpool.exceptions import DependencyError as MissingBefore
class Mine(Before):
    pass
"""
NAMES = """
import bsb, bsb.exceptions as theirs, bsb.services.pool as pool, bsbpool
NAMES = sorted(name for name in set(vars(own)) & set(vars(theirs))
               if isinstance(vars(own)[name], type) and issubclass(vars(own)[name], Exception))
def caught(call, kind):
    try:
        call()
    except kind as error:
        return error
"""


def test_the_error_of_a_cancelled_job_is_exactly_bsbs() -> None:
    """For errors of a job, its pool, an executor and a service."""
    reported = evaluate(f"""{EARLY}
from bsb.exceptions import JobCancelledError as Exact
{INSTALL}{NAMES}
from bsbpool.futures import PoolExecutor
outside = caught(bsbpool.JobPool(1, None).execute, Before)
with bsbpool.JobPool(2, None) as opened:
    job, failed = opened.queue(print), opened.queue(divmod, (0,))
    dependent = opened.queue(print, deps=[failed])
    job.cancel("enough")
    unavailable = caught(lambda: job.result, Before)
    workflow = caught(opened.execute, bsbpool.WorkflowError)
with PoolExecutor() as executor:
    call = executor.submit(divmod, 1, 0)
    late = executor.options(deps=[call]).submit(abs, 1).exception()
missing = caught(lambda: bsb.services.Kitchen.sink, MissingBefore)
import pickle
copy = pickle.loads(pickle.dumps(job.error))
report([
    type(job.error) is type(dependent.error) is type(copy) is type(late) is Exact,
    type(outside) is theirs.JobPoolContextError,
    type(unavailable) is theirs.JobPoolError,
    type(missing) is theirs.DependencyError,
    str(job.error) == str(copy) == "enough" and job.error.args == ("enough",),
])
""")
    assert reported == [True] * 5


def test_both_names_are_one_class_until_uninstall() -> None:
    before, installed, after, again = evaluate(f"""{EARLY}{INSTALL}{NAMES}
def state():
    homes = (theirs, own, bsbpool, pool, bsbpool.services.pool)
    classes = [{{getattr(home, name) for home in homes if name in dir(home)}} for name in NAMES]
    return [[kind.__module__ for kind in kinds] for kinds in classes]
def bases():
    return [str(kind.__mro__) for home in (own, theirs) for kind in vars(home).values()
            if isinstance(kind, type)] + [str(Mine.__mro__)]
installed = state()
adapter.uninstall()
pool = bsbpool.services.pool
after, plain = [len(kinds) for kinds in state()], bases()
adapter.install()
again = state()
adapter.uninstall()
report([NAMES, installed, [after, plain == bases(), plain[-1].count("bsb.exceptions")], again])
""")
    assert before == [
        "DependencyError",
        "JobCancelledError",
        "JobPoolContextError",
        "JobPoolError",
        "JobSchedulingError",
    ]
    assert installed == again == [["bsb.exceptions"]] * 5
    assert after == [[2] * 5, True, 0]


def test_subclasses_of_bsbpools_errors_are_caught_by_both_names() -> None:
    reported = evaluate(f"""{EARLY}
from bsbpool.exceptions import JobPoolTimeoutError as LateBefore
{INSTALL}{NAMES}
import pickle
late, lost = own.JobPoolTimeoutError("late", {{1: 2}}), own.WorkerLostError("100% gone", 3, None, 9)
kinds = (theirs.JobPoolError, own.JobPoolError, Before)
def thrower(error):
    def throw():
        raise error
    return throw
errors = late, lost, Mine("x")
found = [caught(thrower(error), kind) is error for kind in kinds for error in errors]
copy = pickle.loads(pickle.dumps(lost))
inside = [isinstance(late, TimeoutError), type(late) is LateBefore, late.results == {{1: 2}},
          str(late) == "late", (str(lost), lost.rank, lost.signal) == (str(copy), 3, 9)]
adapter.uninstall()
outside = [isinstance(late, Before), not isinstance(lost, theirs.JobPoolError),
           caught(thrower(Mine("y")), own.JobPoolError) is not None]
report([found, inside, outside])
""")
    assert reported == [[True] * 9, [True] * 5, [True] * 3]
