"""The globals of a script and their copies on a worker, both in this process."""

from __future__ import annotations

import math
import pickle
import random
import sys
import threading
import types
import weakref

import pytest

from bsbpool.naming import call_text
from bsbpool.script import namespace as receiving
from bsbpool.script.components import components
from bsbpool.script.names import global_names
from bsbpool.script.namespace import Namespace, ReceivedCall
from bsbpool.script.tracking import ScriptGlobals
from bsbpool.script.unchanged import are_unchanged, nodes_of


class Pair:
    """A script and a worker that runs its calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.patch = monkeypatch
        self.script, self.worker = types.ModuleType("__main__"), types.ModuleType("__main__")
        self.globals, self.namespace = ScriptGlobals(), Namespace()
        self.patch.setattr(receiving, "namespace", self.namespace)
        self.known: dict[int, object] = {}
        self.be(self.script)

    def be(self, module: types.ModuleType) -> None:
        self.patch.setitem(sys.modules, "__main__", module)

    def run(self, source: str) -> None:
        """Execute code of the script."""
        exec(source, vars(self.script))

    def submit(self, source: str, *args: object) -> object:
        """Return the data that is sent for a call."""
        f = eval(source, vars(self.script))
        call = self.globals.bind(f, args, {})
        return call, call.snapshot.dumps(args)

    def perform(self, submitted: object) -> object:
        """Return the pickled result of a call on the worker."""
        call, (payload, buffers) = submitted
        self.be(self.worker)
        try:
            for unit in call.snapshot.units:
                if unit.number not in self.known:
                    self.known[unit.number] = self.namespace.receive(*unit.parcel())
            received = ReceivedCall(*call.parcel())
            received.enter()
            return received(*pickle.loads(payload, buffers=buffers))
        except Exception as error:
            self.namespace.explain(error)
            raise
        finally:
            self.be(self.script)

    def call(self, source: str, *args: object) -> object:
        return self.perform(self.submit(source, *args))

    def sent(self) -> int:
        return len(self.known)


@pytest.fixture
def pair(monkeypatch):
    return Pair(monkeypatch)


@pytest.mark.parametrize(
    ("start", "change", "call"),
    [
        ("x = 1", "x = 2", "lambda: x"),
        ("x = [1]", "x.append(2)", "lambda: x"),
        ("x = {'a': [1]}", "x['a'].append(2)", "lambda: x"),
        ("x = bytearray(b'a')", "x[0] = 98", "lambda: x"),
        ("x = 1\ndef h(): return x", "x = 2", "lambda: h()"),
        ("def h(): return 1", "def h(): return 2", "lambda: h()"),
        ("def h(y=1): return y", "h.__defaults__ = (2,)", "lambda: h()"),
        ("def h(y=[]): return y", "h.__defaults__[0].append(2)", "lambda: h()"),
        ("def h(*, y=1): return y", "h.__kwdefaults__['y'] = 2", "h"),
        ("def h(): return h.tag\nh.tag = 1", "h.tag = 2", "h"),
        ("def h(): return 1", "h.__code__ = (lambda: 2).__code__", "h"),
        ("class C:\n    a = 1", "C.a = 2", "lambda: C.a"),
        ("class C:\n    a = [1]", "C.a.append(2)", "lambda: C.a"),
        ("class C:\n    a = 1", "del C.a", "lambda: hasattr(C, 'a')"),
        ("class C:\n    def m(self): return 1", "C.m = lambda self: 2", "lambda: C().m()"),
        ("class C:\n    def m(self): return x\nx = 1", "x = 2", "C().m"),
        ("class C:\n    @staticmethod\n    def s(): return x\nx = 1", "x = 2", "C.s"),
        ("class C:\n    @property\n    def p(self): return x\nx = 1", "x = 2", "lambda: C().p"),
        ("class B:\n    a = 1\nclass C(B): pass", "B.a = 2", "lambda: C.a"),
        ("class C:\n    class D:\n        a = 1", "C.D.a = 2", "lambda: C.D.a"),
        ("class C: pass\no = C()\no.x = 1", "o.x = 2", "lambda: o.x"),
        ("class C:\n    a = 1\nl = [C()]", "C.a = 2", "lambda: l[0].a"),
        ("def d(f): return lambda: (f(), x)\n@d\ndef h(): return 1\nx = 1", "x = 2", "h"),
        ("def m(y): return lambda: (y, x)\nx = 1", "x = 2", "m(3)"),
        ("import functools\ndef h(y): return x\nx = 1", "x = 2", "functools.partial(h, 1)"),
        ("from functools import *\n@cache\ndef h(): return x\nx = 1", "x = 2", "h.__wrapped__"),
        ("def h():\n    class D:\n        a = x\n    return D.a\nx = 1", "x = 2", "h"),
        ("a = [1]\nb = a", "b.append(2)", "lambda: (a, b, a is b)"),
        ("a = [1]\nb = a", "a = [1]", "lambda: (a, b, a is b)"),
        ("M = object()\ndef h(y=M): return y is M", "M = object()", "h"),
        ("x = 1", "import math as x", "lambda: getattr(x, '__name__', x)"),
        ("x = 3", "del x", "lambda: 'x' in globals() and x"),
    ],
)
def test_a_call_sees_each_kind_of_change_in_both_directions(pair, start, change, call):
    pair.run(start)
    early = pair.submit(call)
    first = eval(call, vars(pair.script))()
    first = pickle.loads(pickle.dumps(first))
    pair.run(change)
    second = eval(call, vars(pair.script))()
    assert first != second
    late = pair.submit(call)
    for submitted, expected in ((late, second), (early, first), (late, second), (early, first)):
        assert pair.perform(submitted) == expected


def test_a_value_that_is_put_back_is_seen(pair):
    """Classes and sentinels that other globals refer to become globals again."""
    pair.run("class C: pass\nclass D(C): pass\nM = object()\ndef h(y=M): return y is M")
    pair.run("kept = C, M\ndef both(): return issubclass(D, C), h()")
    assert pair.call("both") == (True, True)
    pair.run("class C: pass\nM = object()")
    assert pair.call("both") == (False, False)
    pair.run("C, M = kept")
    assert pair.call("both") == (True, True)


def test_all_references_to_a_class_are_to_the_same_class(pair):
    pair.run("class C: pass\nclass D(C): pass\nl = [C(), D()]\nreg = {'c': C}\nx = 1")
    pair.run("def h(o): return isinstance(D(), C), type(l[0]) is reg['c'] is C, type(o) is C, x")
    early = pair.submit("h", pair.script.C())
    assert pair.perform(early) == (True, True, True, 1)
    pair.run("C.a = 2\nx = 2")
    late = pair.submit("h", pair.script.C())
    for _ in range(2):
        assert pair.perform(late) == (True, True, True, 2)
        assert pair.perform(early) == (True, True, True, 1)


def test_globals_that_refer_to_each_other(pair):
    pair.run("class B:\n    known = []\n    def __init_subclass__(cls): B.known.append(cls)")
    pair.run("class C(B): pass\nclass D(B): pass")
    pair.run("def h(): return [k.__name__ for k in B.known], D.up")
    pair.run("B.up = 1\nC.other, D.other = D, C")
    assert pair.call("h") == (["C", "D"], 1)
    assert pair.call("lambda: C.other is D and D.other is C and B.known == [C, D]")
    pair.run("C.m = lambda self: x\nB.m = C.m\nx = 5")
    assert pair.call("lambda: (B().m(), D().m())") == (5, 5)


def test_02_a_global_that_a_worker_set_is_kept_until_the_script_changes_it(pair):
    pair.run("n, table, data, other = 0, {}, None, 1")
    pair.run("def count():\n    global n\n    n += 1; table[n] = other\n    return n, dict(table)")
    pair.run("def load():\n    global data, unset\n    data = unset = 7")
    pair.run("def read(): return data, unset")
    pair.call("load")
    assert [pair.call("count")[0] for _ in range(3)] == [1, 2, 3]
    assert pair.call("read") == (7, 7)
    pair.run("other = 2")
    assert pair.call("count") == (4, {1: 1, 2: 1, 3: 1, 4: 2})
    pair.run("n = 0")  # the value is the one of the script, so the script changed nothing
    assert pair.call("count")[0] == 5
    pair.run("n = 10; table['a'] = 0; unset = 3")
    assert pair.call("count") == (11, {"a": 0, 11: 2})
    assert pair.call("read") == (7, 3)
    pair.run("del unset")
    with pytest.raises(NameError):
        pair.call("read")


def test_an_undefined_global_may_be_set_by_the_worker(pair):
    pair.run("def make():\n    global atlas\n    atlas = 4\ndef read(): return atlas")
    pair.call("make")
    assert pair.call("read") == 4


def test_11_a_global_that_cannot_be_pickled_is_named_with_the_reason_and_the_remedy(pair):
    pair.run("import threading\nlock = threading.Lock()\nx = 1")
    pair.run("def h(): return lock\ndef g(): return h()")
    pair.run("class C:\n    def m(self): return x\n    def never_called(self): return lock")
    for call in ("h", "g", "lambda: lock", "C().never_called"):
        with pytest.raises(NameError) as caught:
            pair.call(call)
        assert "'lock'" in str(caught.value) and "cannot pickle '_thread.lock'" in str(caught.value)
        assert "initializer" in str(caught.value) and "argument" in str(caught.value)
    assert pair.call("C().m") == 1  # it does not use the lock
    pair.run("def begin():\n    global lock\n    lock = 5")
    pair.call("begin")  # each worker may create its own
    assert pair.call("h") == 5
    pair.run("lock = 6")
    assert pair.call("g") == 6


def test_the_reason_is_given_wherever_the_name_error_occurs(pair):
    pair.run("lock = __import__('threading').Lock()")
    pair.run("def h():\n    try: lock\n    except NameError as e: raise ValueError('no') from e")
    with pytest.raises(ValueError, match="no") as caught:
        pair.call("h")
    assert "cannot pickle" in str(caught.value.__cause__)


def test_a_builtin_does_not_replace_a_global_that_cannot_be_pickled(pair):
    pair.run("input = __import__('threading').Lock()\ndef h(): return input")
    with pytest.raises(NameError, match="cannot pickle"):
        pair.call("h")


def test_a_global_that_cannot_be_unpickled_is_named_with_the_reason(pair):
    pair.run("class Bad:\n    def __reduce__(self): return int, ('no number',)\nbad = Bad()")
    with pytest.raises(NameError, match=r"cannot be unpickled on the worker.*no number"):
        pair.call("lambda: bad")


def test_large_globals_are_sent_once(pair):
    pair.run("big = list(range(300_000))\nn = 0\ndef h(): return len(big), n")
    for n in range(5):
        pair.run(f"n = {n}")
        assert pair.call("h") == (300_000, n)
    assert pair.sent() == 1 + 1 + 5  # the function, the list, the values of n


def test_unchanged_globals_are_not_sent_again(pair):
    pair.run("x, l, d = 1, [1], {'a': 2}\nclass C:\n    a = 1\no = C()\nimport threading")
    pair.run("lock = threading.Lock()\ndef h(): return x, l, d, o.a, C, lock")
    first, _ = pair.submit("h")
    pair.run("x, l, d = 1, [1], {'a': 2}\nl.append(2); l.pop()")
    assert pair.submit("h")[0] is first
    pair.run("l.append(2)")
    second, _ = pair.submit("h")
    assert second is not first
    assert len(set(second.snapshot.units) - set(first.snapshot.units)) == 1


def test_stateful_callables_have_the_submitted_state_in_each_call(pair):
    pair.run("class C:\n    n = 0\n    def m(self):\n        self.n += 1\n        return self.n, x")
    pair.run("o, x = C(), 1")
    early = pair.submit("o.m")
    pair.run("o.n = 10; x = 2")
    late = pair.submit("o.m")
    assert [pair.perform(each) for each in (late, early, late)] == [(11, 2), (1, 1), (11, 2)]


def test_calls_without_globals_are_sent_unchanged(pair):
    pair.run("x = 1")
    calls = ((abs, (-1,)), (pickle.dumps, ({"a": [1]},)), (math.sqrt, (4,)), (random.Random, ()))
    for f, args in calls:
        assert pair.globals.bind(f, args, {}) is f


def test_01_02_callables_of_other_modules_have_the_state_at_submission(pair):
    pair.run("from functools import partial\nd = {'a': 1}")
    early = [pair.submit("d.get", "a"), pair.submit("partial(dict.get, d)", "a")]
    pair.run("d['a'] = 2")
    late = [pair.submit("d.get", "a"), pair.submit("partial(dict.get, d)", "a")]
    assert [pair.perform(each) for each in (*late, *early)] == [2, 2, 1, 1]


def test_28_messages_name_a_call_by_its_function(pair):
    pair.run("x = 1\ndef f(n): return n + x\nclass C:\n    def m(self): return x")
    labels = {"f": "f(2)", "C().m": "C.m(2)", "lambda n: x": "<lambda>(2)"}
    for source, label in labels.items():
        call, _ = pair.submit(source, 2)
        assert call_text(call, (2,)) == label


def test_the_global_names_in_code():
    def h():
        class D:
            here = some_global  # noqa: F821

        return [other for _ in D.x] + (lambda: third)()  # noqa: F821

    assert global_names(h.__code__) == {"some_global", "other", "third", "__name__"}


def test_components_follow_those_that_they_refer_to():
    for seed in range(200):
        draw = random.Random(seed)
        nodes = [str(n) for n in range(draw.randrange(1, 9))]
        graph = {node: draw.sample(nodes, draw.randrange(min(3, len(nodes)) + 1)) for node in nodes}
        leads = {node: _reached(graph, node) for node in nodes}
        found = components(graph)
        assert sorted(node for each in found for node in each) == nodes
        for at, group in enumerate(found):
            for node in group:
                mutual = {other for other in nodes if other in leads[node] and node in leads[other]}
                assert set(group) == mutual | {node}
                before = {other for each in found[: at + 1] for other in each}
                assert set(graph[node]) <= before


def _reached(graph, node):
    seen, waiting = set(), list(graph[node])
    while waiting:
        other = waiting.pop()
        if other not in seen:
            seen.add(other)
            waiting += graph[other]
    return seen


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ([1, [2]], lambda v: v[1].append(3)),
        ([[1], 2], lambda v: (v[0].append(2), v.pop())),
        ({"a": {"b": 1}}, lambda v: v["a"].update(b=2)),
        ({"a": 1, "b": 2}, lambda v: v.update(a=v.pop("a"))),
        (({1}, 2), lambda v: v[0].add(2)),
    ],
)
def test_changes_inside_of_containers_are_noticed(value, change):
    nodes = nodes_of(value)
    assert are_unchanged(nodes)
    change(value)
    assert not are_unchanged(nodes)


def test_changes_that_only_the_pickle_shows_are_noticed():
    cell = [1]
    cell.append(cell)
    assert nodes_of(cell) is not None  # it ends
    assert nodes_of(list(range(5))) is not None
    for value in (object, random.Random(1).random, threading.Lock(), [threading.Lock()]):
        assert (nodes_of(value) is None) == (value is not object)
    assert nodes_of([[n] for n in range(10_000)]) is None


def test_28_messages_name_the_function_of_a_call(monkeypatch):
    pair = Pair(monkeypatch)
    pair.run("n = 1\ndef area(a): return a * n")
    call, _ = pair.submit("area", 2)
    assert call_text(call, (2,)) == "area(2)"


def test_a_callable_with_a_state_is_released_with_its_call(pair):
    pair.run("class Large:\n    def area(self): return 1")
    large = pair.script.Large()
    released = weakref.ref(large)
    call = pair.globals.bind(large.area, (), {})
    del large
    assert released() is not None
    del call
    assert released() is None
