"""Keys of jobs: the same in each process, and different for different jobs."""

import collections
import dataclasses
import functools
import importlib.util
import json
import os
import subprocess
import sys
import threading
import types

import pytest

import api.journal_cases as cases
from bsbpool import PoolExecutor, create_job_pool
from bsbpool.journal import register_key, stable_digest
from bsbpool.journal.digests import DEEPEST, Digests, make_keys
from bsbpool.journal.functions import Descriptions
from helpers.launch import TESTS

PACKAGES = [name for name in ("numpy", "pandas") if importlib.util.find_spec(name)]


@pytest.fixture(scope="module", autouse=True)
def packages():
    for name in PACKAGES:
        importlib.import_module(name)


def test_digests_are_the_same_in_another_process():
    """With another seed of hashes, in which sets have another order."""
    here = cases.digests()
    for seed in ("1", "2"):
        path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [sys.executable, "-m", "api.journal_cases", *PACKAGES],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            cwd=TESTS, capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        there = json.loads(done.stdout)
        assert {name for name in here if here[name] != there[name]} == set()


def test_different_values_have_different_digests():
    names = collections.defaultdict(list)
    for name, digest in cases.digests().items():
        names[digest].append(name)
    assert [same for same in names.values() if len(same) > 1] == []


def siphash(data: bytes) -> bytes:
    """SipHash-2-4 as its authors describe it, with the key of their test vectors."""
    mask = (1 << 64) - 1
    key = bytes(range(16))
    k = [int.from_bytes(key[i : i + 8], "little") for i in (0, 8)]
    v = [
        k[0] ^ 0x736F6D6570736575, k[1] ^ 0x646F72616E646F6D ^ 0xEE,
        k[0] ^ 0x6C7967656E657261, k[1] ^ 0x7465646279746573,
    ]  # fmt: skip

    def mix(a: int, b: int, bits: int, turned: int) -> None:
        v[a] = (v[a] + v[b]) & mask
        v[b] = (v[b] << bits | v[b] >> 64 - bits) & mask ^ v[a]
        if turned:
            v[a] = (v[a] << 32 | v[a] >> 32) & mask

    def rounds(n: int) -> None:
        for _ in range(n):
            mix(0, 1, 13, 32), mix(2, 3, 16, 0), mix(0, 3, 21, 0), mix(2, 1, 17, 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) % 256])
    for i in range(0, len(padded), 8):
        word = int.from_bytes(padded[i : i + 8], "little")
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    found = b""
    for place, number in ((2, 0xEE), (1, 0xDD)):
        v[place] ^= number
        rounds(4)
        found += (v[0] ^ v[1] ^ v[2] ^ v[3]).to_bytes(8, "little")
    return found


def test_digests_are_those_of_siphash():
    """b"b", the size and the data stand for bytes."""
    assert siphash(b"").hex() == "a3817f04ba25a8e66df67214c7550293"  # of the authors
    assert siphash(b"\0").hex() == "da87c1d86b99af44347659119b22fc45"
    keys = make_keys()
    for size in [*range(600), 5000]:
        data = os.urandom(size)
        encoded = b"b" + size.to_bytes(8, "little") + data
        assert keys.digest(data) == siphash(encoded)


def test_the_order_of_dicts_and_sets_does_not_matter():
    forwards = {word: i for i, word in enumerate(cases.WORDS)}
    backwards = dict(reversed(forwards.items()))
    assert stable_digest(forwards) == stable_digest(backwards)
    assert stable_digest([1, 2]) != stable_digest([2, 1])


SOURCE = '''
def f(owner, x, flag=None):
    """Text."""
    values = [y + 1 for y in range(x)]
    return values, (lambda z: z * 2)(x)
'''


def compiled(source, name="f", module="m"):
    namespace = {"__name__": module}
    exec(compile(source, "somewhere", "exec"), namespace)
    return namespace[name]


def test_a_function_that_moves_is_the_same():
    moved = compile("\n\n\n\n" + SOURCE, "elsewhere", "exec")
    namespace = {"__name__": "m"}
    exec(moved, namespace)
    assert stable_digest(namespace["f"]) == stable_digest(compiled(SOURCE))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("y + 1", "y + 2"), ("y + 1", "y - 1"), ("z * 2", "z * 3"), ("range", "list"),
        ("flag=None", "flag=1"), ("flag=None", "flag=()"), ("(x)", "(owner)"), ("x,", "*x,"),
    ],
)  # fmt: skip
def test_a_changed_function_is_another(old, new):
    assert stable_digest(compiled(SOURCE.replace(old, new))) != stable_digest(compiled(SOURCE))


def test_the_name_of_a_function_counts():
    renamed = compiled(SOURCE.replace("def f", "def g"), "g")
    assert stable_digest(renamed) != stable_digest(compiled(SOURCE))
    assert stable_digest(compiled(SOURCE, module="n")) != stable_digest(compiled(SOURCE))


# ------------------------------------------------------------------ what has no digest

class Plain:
    pass


def with_attribute(value, attribute=None):
    value.attribute = Plain() if attribute is None else attribute
    return value


@dataclasses.dataclass
class Base:
    x: int


class Derived(Base):
    pass


@dataclasses.dataclass
class Table(dict):
    name: str


CYCLE = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    "value",
    [
        object(), Plain(), Derived(1), threading.Lock(), (i for i in ()), [Plain()], {1: Plain()},
        {"a": {Plain()}}, Base(Plain()), CYCLE, types.SimpleNamespace(a=object()), Plain().__eq__,
        cases.adder(Plain()), Table("name"), with_attribute(Base(1)),
    ],
)  # fmt: skip
def test_other_objects_have_none(value):
    with pytest.raises(TypeError, match=r"no stable digest|contains itself|refers to itself"):
        stable_digest(value)


@pytest.mark.skipif("numpy" not in PACKAGES, reason="needs NumPy")
def test_ufuncs_of_other_functions_have_none():
    numpy = sys.modules["numpy"]
    with pytest.raises(TypeError, match="no stable digest"):
        stable_digest(numpy.frompyfunc(lambda x: x, 1, 1))


def test_attributes_besides_the_fields_count():
    for make in (Base, cases.Triple):
        values = [make(1), with_attribute(make(1), "a"), with_attribute(make(1), "b")]
        assert len(set(map(stable_digest, values))) == 3


class Slots:
    __slots__ = ("weight",)


@dataclasses.dataclass
class WithSlot(Slots):
    x: int
    y: int = dataclasses.field(init=False)


def test_attributes_in_slots_count_and_a_field_can_be_missing():
    first, second, none = WithSlot(1), WithSlot(1), WithSlot(1)
    first.weight, second.weight = 1, 2
    assert len({stable_digest(value) for value in (first, second, none)}) == 3
    none.weight = 1
    assert stable_digest(none) == stable_digest(first)
    none.y = 2
    assert stable_digest(none) != stable_digest(first)


def test_values_of_properties_that_are_kept_do_not_count():
    point = cases.Point(1)
    digest = stable_digest(point)
    assert point.double == 2
    assert "double" in vars(point)
    assert stable_digest(point) == digest


def test_a_closure_that_contains_itself_in_a_list_has_none():
    functions = []
    functions.append(cases.adder(functions))
    with pytest.raises(TypeError, match="refers to itself"):
        stable_digest(functions[0])


def test_classes_can_be_registered():
    class Model:
        def __init__(self, name):
            self.name = name

    class Special(Model):
        pass

    register_key(Model, lambda model: model.name)
    assert stable_digest(Model("a")) == stable_digest(Model("a"))
    made = {stable_digest(kind(name)) for kind in (Model, Special) for name in "ab"}
    assert len(made) == 4
    with pytest.raises(TypeError, match="cls must be a class"):
        register_key("Model", len)
    with pytest.raises(TypeError, match="function must be"):
        register_key(Model, None)


def f(owner, *args, **kwargs):
    """Do nothing."""


@pytest.mark.parametrize(
    ("args", "kwargs", "culprit"),
    [
        ((1, Plain()), {}, "argument 2: .*Plain"),
        ((), {"model": [Plain()]}, "argument model: .*Plain"),
    ],
)
def test_the_error_names_the_argument_and_the_remedies(tmp_path, args, kwargs, culprit):
    with create_job_pool(quiet=True, journal=tmp_path / "j") as pool:
        with pytest.raises(TypeError, match=rf"job 'f\(.*' has no key .*: {culprit}") as caught:
            pool.queue(f, args, kwargs)
        for remedy in ("key='...'", "__bsbpool_key__", "register_key"):
            assert remedy in str(caught.value)
        assert pool.jobs == []
        pool.options(key="mine").queue(f, args, kwargs)
        assert len(pool.jobs) == 1
        pool.execute()


def test_the_error_names_the_function(tmp_path):
    with (
        create_job_pool(quiet=True, journal=tmp_path / "j") as pool,
        pytest.raises(TypeError, match=r"its function, or a value bound to it: .*Plain"),
    ):
        pool.submit(cases.adder(Plain()), 1)


# ------------------------------------------------------------------ classes that jobs call

CLASS = """
class Root:
    def __init__(self, owner, x):
        self.x = x * self.RATE

class C(Root):
    RATE = 1
    TABLE = {"a": [1]}
    _lock = LOCK

    def method(self):
        return 1

    @property
    def double(self):
        return 2 * self.x

    @functools.cached_property
    def triple(self):
        return 3 * self.x

    @staticmethod
    def static():
        return 4

    @classmethod
    def make(cls):
        return 5
"""


def digest_of_callee(source, made=lambda cls: cls):
    namespace = {"__name__": "m", "functools": functools, "LOCK": threading.Lock()}
    exec(compile(source, "somewhere", "exec"), namespace)
    return Digests().digest_function(made(namespace["C"]))[0]


@pytest.mark.parametrize(
    "made",
    [lambda cls: cls, lambda cls: functools.partial(cls, x=2), lambda cls: cls.make],
    ids=["class", "partial", "class method"],
)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("RATE = 1", "RATE = 2"), ("[1]", "[2]"), ("x * self", "x + self"),
        ("return 1", "return 6"), ("2 * self", "7 * self"), ("3 * self", "7 * self"),
        ("return 4", "return 6"), ("return 5", "return 6"), ("(Root)", "(dict)"),
        ("@staticmethod", "@classmethod"),
    ],
)  # fmt: skip
def test_a_changed_class_makes_other_jobs(old, new, made):
    assert old in CLASS
    assert digest_of_callee(CLASS, made) == digest_of_callee(CLASS, made)
    assert digest_of_callee(CLASS.replace(old, new), made) != digest_of_callee(CLASS, made)


def test_a_method_of_a_builtin_object_can_change(tmp_path):
    """The same bound method, `table.get`, makes another call when the table has changed."""
    for value in ("first", "second"):
        table = {1: "old"}
        get = table.get
        with PoolExecutor(journal=tmp_path / "j") as executor:
            executor.submit(get, 0).result()
            table[1] = value
            assert executor.submit(get, 1).result() == value


# ------------------------------------------------------------------ threads

class Gate:
    """An object whose key is made while another thread makes the key of `other`."""

    def __init__(self, digests, other):
        self.digests, self.other, self.found = digests, other, None

    def __bsbpool_key__(self):
        if self.found is None:
            thread = threading.Thread(target=self._digest)
            thread.start()
            thread.join(60)
        return "gate"

    def _digest(self):
        self.found = self.digests.digest_function(self.other)


class Interrupted(Descriptions):
    """Describes the inner function of a closure in another thread, too, at the same time."""

    def __init__(self, function):
        super().__init__(stable_digest)
        self.function, self.found = function, None

    def _of_code(self, code):
        if code is cases.adder(1).__code__ and threading.current_thread() is MAIN:
            thread = threading.Thread(target=self._describe)
            thread.start()
            thread.join(60)
        return super()._of_code(code)

    def _describe(self):
        self.found = self.of_callee(self.function)


MAIN = threading.main_thread()


def test_threads_do_not_see_which_functions_others_describe():
    """The other thread would find its function to be in progress, and call it a recursion."""
    function = cases.adder(cases.adder(1))
    descriptions = Interrupted(function)
    assert descriptions.found is None
    assert descriptions.of_callee(function) == descriptions.found


def test_threads_do_not_count_how_deep_others_are():
    digests = Digests()
    gate = Gate(digests, None)
    value = gate
    for _ in range(DEEPEST - 1):
        value = cases.Point(value)
    gate.other = cases.adder(cases.Point(cases.Point(1)))
    digests.keys.digest(value)
    assert gate.found == digests.digest_function(gate.other)
