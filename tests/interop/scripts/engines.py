"""Checks of the interface of ipyparallel that its own tests do not have; prints what passed.

engines.py [cluster N]
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

import bsbpool.integrations.ipyparallel as ipp

CHECKS: list[Callable[[Any], None]] = []
LONG = 30.0


def check(function: Callable[[Any], None]) -> Callable[[Any], None]:
    CHECKS.append(function)
    return function


def refused(kind: type[BaseException], words: str, call: Callable[[], Any]) -> BaseException:
    try:
        call()
    except kind as error:
        assert words in str(error), error
        return error
    raise AssertionError(f"no {kind.__name__}")


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def nap(seconds: float) -> float:
    import time

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.002)
    return seconds


def fail(x: int = 0) -> None:
    raise KeyError(x)


@check
def functions_of_the_script_use_the_namespace_of_the_engine(rc) -> None:
    def remember(x):
        global memory
        memory = [*globals().get("memory", []), x]
        return memory

    one = rc[rc.ids[0]]
    remember.__module__ = "__main__"
    assert one.apply_sync(remember, 1) == [1]
    assert one.apply_sync(remember, 2) == [1, 2]
    assert one["memory"] == [1, 2]
    one.clear(block=True)
    refused(ipp.RemoteError, "memory", lambda: one["memory"])


@check
def errors_have_the_original_as_cause(rc) -> None:
    error = refused(ipp.RemoteError, "KeyError", lambda: rc[rc.ids[0]].apply_sync(fail, 3))
    assert error.ename == "KeyError" and error.evalue == "3"
    assert error.engine_info["engine_id"] == rc.ids[0]
    assert "KeyError: 3" in error.traceback and "in fail" in error.traceback
    assert isinstance(error.__cause__, KeyError) and error.__cause__.args == (3,)
    composite = refused(ipp.CompositeError, "KeyError", lambda: rc[:].apply_sync(fail, 3))
    assert [info["engine_id"] for *_, info in composite.elist] == rc.ids
    assert len(composite.render_traceback()) > len(rc.ids)


@check
def errors_of_the_scheduler_are_both(rc) -> None:
    view = rc.load_balanced_view()
    failed = view.apply_async(fail)
    with view.temp_flags(after=failed):
        result = view.apply_async(abs, -1)
    error = refused(ipp.ImpossibleDependency, "1 of them failed", result.get)
    assert isinstance(error, ipp.RemoteError) and error.ename == "ImpossibleDependency"
    with view.temp_flags(after=view.apply_async(nap, 0.3), timeout=0.05):
        late = view.apply_async(abs, -1)
    error = refused(ipp.DependencyTimeout, "in time", late.get)
    assert error.ename == "DependencyTimeout"


@check
def dependencies_may_fail_or_be_any(rc) -> None:
    view = rc.load_balanced_view()
    failed, good = view.apply_async(fail), view.apply_async(nap, 0.05)
    for dependency, met in (
        (ipp.Dependency([failed], success=False, failure=True), True),
        (ipp.Dependency([failed, good], all=False), True),
        (ipp.Dependency([failed, good], failure=True), True),
        (ipp.Dependency([failed, good]), False),
        (ipp.Dependency([good], success=False, failure=True), False),
    ):
        with view.temp_flags(after=dependency):
            result = view.apply_async(abs, -2)
        if met:
            assert result.get(LONG) == 2
        else:
            refused(ipp.ImpossibleDependency, "", result.get)


@check
def tasks_follow_others(rc) -> None:
    view = rc.load_balanced_view()
    for _ in range(5):
        first = view.apply_async(nap, 0.001)
        with view.temp_flags(follow=first):
            second = view.apply_async(abs, -1)
        assert second.get(LONG) == 1
        assert second.engine_id == first.engine_id
        assert second.started >= first.completed


@check
def unmet_dependencies_are_tried_elsewhere(rc) -> None:
    def is_on(wanted):
        from bsbpool.integrations.ipyparallel._engine import engine

        return engine.id == wanted

    view = rc.load_balanced_view()
    for id in rc.ids:
        task = ipp.depend(is_on, id)(abs)
        assert view.apply_sync(task, -4) == 4
        result = view.apply_async(task, -4)
        result.get(LONG)
        assert result.engine_id == id
    never = ipp.depend(is_on, 99)(abs)
    refused(ipp.ImpossibleDependency, "no engine", lambda: view.apply_sync(never, 1))
    module = ipp.require("no_such_module")(abs)
    refused(ipp.ImpossibleDependency, "", lambda: view.apply_sync(module, 1))


@check
def retries_run_on_other_engines_and_end(rc) -> None:
    view = rc.load_balanced_view()
    with view.temp_flags(retries=3 * len(rc)):
        result = view.apply_async(fail, 5)
        refused(ipp.RemoteError, "KeyError", lambda: result.get(LONG))


@check
def tasks_go_to_the_engine_that_was_idle_longest(rc) -> None:
    view = rc.load_balanced_view()
    n = len(rc)
    results = []
    for _ in range(3 * n):
        results.append(view.apply_async(abs, -1))
        results[-1].get(LONG)
    engines = [result.engine_id for result in results]
    assert all(len(set(engines[i : i + n])) == n for i in range(0, 3 * n, n)), engines


@check
def no_task_waits_behind_a_long_one(rc) -> None:
    if len(rc) < 2:
        return
    view = rc.load_balanced_view()
    view.map_sync(abs, range(50))  # the run times are known to be short
    long = view.apply_async(nap, 2.5)
    quick = [view.apply_async(abs, -1) for _ in range(30)]
    rc.wait(quick, LONG)
    assert not long.ready()
    assert all(result.engine_id != long.engine_id for result in quick)
    long.get(LONG)


@check
def running_tasks_can_be_limited_and_cancelled(rc) -> None:
    view = rc.load_balanced_view()
    with view.temp_flags(time_limit=0.1):
        limited = view.apply_async(nap, LONG)
    error = refused(ipp.TaskTimeout, "timeout of 0.1 s", lambda: limited.get(LONG))
    assert error.ename == "TaskTimeout"
    running = rc[rc.ids[0]].apply_async(nap, LONG)
    until(running.running)
    running.abort()
    assert not running.ready()
    running.abort(running=True)
    refused(ipp.TaskAborted, "", lambda: running.get(LONG))
    assert rc[rc.ids[0]].apply_sync(abs, -3) == 3


@check
def aborted_results_are_not_successful(rc) -> None:
    busy = rc[:].apply_async(nap, 1.0)
    waiting = rc[:].apply_async(abs, -1)
    waiting.abort()
    assert waiting.ready() and not waiting.successful()
    refused(ipp.TaskAborted, "", waiting.get)
    assert waiting.status == ["aborted"] * len(rc)
    busy.get(LONG)


@check
def output_arrives_while_tasks_run(rc) -> None:
    def talk():
        import sys
        import time

        print("begin")
        sys.stderr.write("and this\n")
        time.sleep(1.5)
        print("end")

    result = rc[rc.ids[0]].apply_async(talk)
    until(lambda: "begin" in result.stdout)
    assert not result.ready()
    result.get(LONG)
    assert result.stdout == "begin\nend\n" and result.stderr == "and this\n"


@check
def data_are_published_while_tasks_run(rc) -> None:
    def work():
        import time

        from bsbpool.integrations.ipyparallel import publish_data

        for step in range(3):
            publish_data({"step": step})
            time.sleep(0.4)
        publish_data({"large": "x" * 10_000})

    result = rc[rc.ids[0]].apply_async(work)
    until(lambda: result.data.get("step", 0) >= 1)
    result.get(LONG)
    assert len(result.data["large"]) == 10_000


@check
def arrays_are_writable_and_tracked(rc) -> None:
    array = np.arange(1 << 18, dtype=float)
    one = rc[rc.ids[0]]

    def change(a):
        a[0] = -1
        return a

    with one.temp_flags(track=True):
        result = one.apply_async(change, array)
    result.wait_for_send(LONG)
    assert result.sent
    back = result.get(LONG)
    assert back[0] == -1 and array[0] == 0
    back[:] = 0
    busy = one.apply_async(nap, 1.0)
    with one.temp_flags(track=True):
        later = one.apply_async(change, array)
    assert not later.sent
    refused(TimeoutError, "sent", lambda: later.wait_for_send(0.01))
    busy.get(LONG)
    later.get(LONG)
    assert later.sent


@check
def maps_know_when_items_were_sent(rc) -> None:
    arrays = [np.ones(1 << 18)] * 4
    for view in (rc.load_balanced_view(), rc[:]):
        busy = rc[:].apply_async(nap, 1.0)
        with view.temp_flags(track=True):
            result = view.map_async(np.sum, arrays) if view.targets is None else (
                view.map_async(np.sum, arrays, track=True)
            )  # fmt: skip
        assert not result.sent
        busy.get(LONG)
        assert result.get(LONG) == [1 << 18] * 4 and result.sent


@check
def polling_leaves_nothing_behind(rc) -> None:
    result = rc[rc.ids[0]].apply_async(nap, 0.3)
    for _ in range(20):
        assert not rc.wait(result, timeout=0.001)
    [task] = result.tasks
    assert not isinstance(task.on_end, list) or len(task.on_end) <= 3
    result.get(LONG)


@check
def errors_do_not_keep_variables_of_callers(rc) -> None:
    class Large:
        pass

    def call():
        large = Large()
        try:
            rc[rc.ids[0]].apply_sync(fail)
        except ipp.RemoteError:
            return weakref.ref(large)

    reference = call()
    gc.collect()
    assert reference() is None


@check
def functions_keep_their_attributes(rc) -> None:
    def typed(x: int = 3, *, y: str = "a") -> float:
        return typed.mark

    typed.mark = 4.0
    assert rc[rc.ids[0]].apply_sync(typed) == 4.0
    rc[rc.ids[0]].push({"typed": typed}, block=True)
    found = rc[rc.ids[0]].pull("typed", block=True)
    assert found.__annotations__ == typed.__annotations__
    assert found.__kwdefaults__ == {"y": "a"}


@check
def threads_have_labels_and_pickling_of_their_own(rc) -> None:
    view = rc[:]
    found = []

    def work(n: int) -> None:
        for _ in range(20):
            result = view.map_async(abs, range(4), label=f"label {n}")
            found.append(set(result.label) == {f"label {n}"})

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert found == [True] * 80 and view.label is None
    assert rc.wait(timeout=LONG)


@check
def imports_of_other_threads_stay_here(rc) -> None:
    view = rc[:]
    with view.sync_imports(quiet=True):
        thread = threading.Thread(target=lambda: __import__("colorsys"))
        thread.start()
        thread.join(LONG)
        import bisect  # noqa: F401
    view.pull("bisect.bisect", block=True)
    refused(ipp.RemoteError, "colorsys", lambda: view.pull("colorsys", block=True))


@check
def limits_are_not_collected(rc) -> None:
    view = rc.load_balanced_view()
    for n in range(300):
        view.time_limit = 60 + n
        view.apply_async(abs, -1)
    assert rc.wait(timeout=LONG)
    assert len(rc.engines._specials) <= 256


@check
def maps_return_exceptions_for_each_item(rc) -> None:
    def odd(x):
        if x % 2 == 0:
            raise ValueError(x)
        return x

    for view in (rc.load_balanced_view(), rc[:]):
        found = view.map(odd, range(7), return_exceptions=True, block=True)
        assert found[1::2] == [1, 3, 5]
        assert all(isinstance(each, ipp.RemoteError) for each in found[::2])
        assert found[2].evalue == "2"


@check
def results_can_be_awaited(rc) -> None:
    view = rc.load_balanced_view()

    async def main() -> None:
        first, second = view.apply_async(abs, -1), view.apply_async(abs, -2)
        assert await asyncio.wrap_future(first) == 1
        assert await asyncio.wrap_future(second) == 2
        assert await view.apply_async(abs, -3) == 3

    asyncio.run(main())
    results = [view.apply_async(nap, 0.01 * n) for n in range(4)]
    done, pending = concurrent.futures.wait(results, LONG)
    assert len(done) == 4 and not pending
    assert set(concurrent.futures.as_completed(results)) == set(results)


@check
def clients_and_threads_share_the_engines(rc) -> None:
    found: list[Any] = []

    def work(n: int) -> None:
        with ipp.Client() as client:
            view = client.load_balanced_view()
            found.append(sum(view.map_sync(abs, range(n, n + 50))))
            found.append(client[:].apply_sync(abs, -n) == [n] * len(client))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert sorted(map(int, found)) == [1] * 4 + [sum(range(n, n + 50)) for n in range(4)]


@check
def results_are_found_by_id(rc) -> None:
    view = rc.load_balanced_view()
    result = view.apply_async(abs, -8)
    assert result.get(LONG) == 8
    [id] = result.msg_ids
    assert rc.get_result(id).get(LONG) == 8
    assert ipp.Client().get_result(id).get(LONG) == 8
    many = rc[:].apply_async(abs, -9)
    assert rc.get_result(many).get(LONG) == [9] * len(rc)
    assert rc.result_status(many)["completed"] == many.msg_ids
    refused(KeyError, "No such task", lambda: rc.get_result("nothing"))


@check
def unused_results_are_not_kept(rc) -> None:
    view = rc.load_balanced_view()
    gc.collect()
    for _ in range(3):
        view.map_sync(abs, range(2_000))
    gc.collect()
    assert len(rc.engines.tasks) <= 1024 + 10, len(rc.engines.tasks)
    assert not rc.outstanding and not view.outstanding


@check
def misuse_is_refused(rc) -> None:
    refused(TypeError, "no flag", lambda: rc[:].set_flags(blok=True))
    refused(IndexError, "no engine 99", lambda: rc[99])
    refused(TypeError, "indexed by", lambda: rc["a"])
    refused(ValueError, "dist", lambda: rc[:].scatter("a", [1], dist="x"))
    refused(TimeoutError, "mpiexec", lambda: rc.wait_for_engines(99, timeout=0.1))
    refused(NotImplementedError, "dask", rc.become_dask)
    refused(NotImplementedError, "abort(", lambda: rc.send_signal(2))
    refused(NotImplementedError, "restart", lambda: rc.shutdown(restart=True))
    refused(ValueError, "both be False", lambda: ipp.Dependency([], success=False))
    refused(AttributeError, "nothing", lambda: rc.nothing)
    refused(TypeError, "at least one sequence", lambda: rc[:].map(abs))


@check
def prefetch_is_an_option_of_views(rc) -> None:
    view = rc.load_balanced_view(prefetch=True)
    assert view.map_sync(abs, range(500)) == list(range(500))
    view.prefetch = False
    tasks_go_to_the_engine_that_was_idle_longest(rc)


@check
def retired_engines_get_no_tasks(rc) -> None:
    if len(rc) < 2:
        return
    last = rc.ids[-1]
    rc.shutdown(last)
    assert last not in rc.ids
    view = rc.load_balanced_view()
    engines = [view.apply_async(abs, -1) for _ in range(10)]
    rc.wait(engines, LONG)
    assert last not in {result.engine_id for result in engines}


def main() -> None:
    if sys.argv[1:2] == ["cluster"]:
        n = int(sys.argv[2])
        with ipp.Cluster(n=n or None) as rc:
            if rc is not None:
                run(rc)
                view = rc.load_balanced_view(retries=3)
                late = [view.apply_async(nap, 0.2), view.apply_async(fail)]
                with view.temp_flags(after=late[0]):
                    late.append(view.apply_async(abs, -1))
        if rc is not None:
            assert all(result.ready() for result in late), late
            assert late[2].get(0) == 1
            after = view.apply_async(abs, -1)
            refused(ipp.RemoteError, "after shutdown", lambda: after.get(LONG))
            assert rc.wait(timeout=LONG)
            print("stopped well")
    else:
        run(ipp.Client())


def run(rc: ipp.Client) -> None:
    for function in CHECKS:
        try:
            function(rc)
        except BaseException:
            traceback.print_exc(file=sys.stdout)
            print("failed", function.__name__, flush=True)
        else:
            print("passed", function.__name__, flush=True)


if __name__ == "__main__":
    main()
