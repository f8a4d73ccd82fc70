"""Random statements and calls of the scripts of `differential.scripts`, as source text."""

from __future__ import annotations

import random

DATA = ["g0", "g1", "g2", "g3"]
HELPERS = ["h0", "h1", "h2"]
CLASSES = ["C0", "C1"]
OTHERS = ["a0", "o0", "reg", "deco", "MARK", "saved", "make", "apply_to", "local"]


def literal(draw: random.Random) -> str:
    """Return the source of a literal."""
    n = draw.randrange(4)
    return draw.choice(
        [str(n), repr(f"s{n}"), f"[{n}, 1]", f"{{'k': {n}}}", f"({n}, [{n}])", "None", f"{n}.5",
         f"[{n}] * 9000", f"bytearray(b'{n}')"]
    )  # fmt: skip


def reading(draw: random.Random, below: int) -> str:
    """Return the source of an expression over globals; helpers from `below` on are not called."""
    kinds = [draw.choice(DATA), draw.choice(DATA), "C0.attr", "o0.m(x)", "a0", "reg['g']"]
    kinds += [f"h{n}(x)" for n in range(below)]
    kinds += [f"C{draw.randrange(2)}().m(x)", f"C{draw.randrange(2)}.of(x)", "type(o0) is C0"]
    kinds += ["[" + draw.choice(DATA) + " for _ in range(2)]", f"(lambda: {draw.choice(DATA)})()"]
    return draw.choice(kinds)


def define_helper(draw: random.Random) -> str:
    n = draw.randrange(len(HELPERS))
    first = draw.choice(["", "", "@deco\n"])
    default = draw.choice(["0", "MARK", f"plain({draw.choice(DATA)})", "C0", "o0"])
    shown = {"MARK": "d is MARK", "C0": "d.attr", "o0": "d.value"}.get(default, "d")
    return (
        f"{first}def h{n}(x, d={default}):\n"
        f"    return ('h{n}', x, {shown}, {reading(draw, n)}, {reading(draw, n)})"
    )


def define_class(draw: random.Random) -> str:
    n = draw.randrange(2)
    base = "(C0)" if n else ""
    # Methods call no helpers, since helpers call methods.
    return (
        f"class C{n}{base}:\n"
        f"    attr = plain({draw.choice(DATA)})\n"
        f"    value = {draw.randrange(9)}\n"
        f"    def m(self, x, d={draw.choice(['1', 'MARK'])}):\n"
        f"        return ('C{n}', x, self.attr, self.value, {draw.choice(DATA)}, d is MARK)\n"
        f"    @classmethod\n"
        f"    def of(cls, x):\n"
        f"        return (cls.__name__, cls.attr, {draw.choice(DATA)}, {draw.choice(DATA)})\n"
        f"    @staticmethod\n"
        f"    def st(x):\n"
        f"        return [x, {draw.choice(DATA)}]"
    )


def statement(draw: random.Random) -> str:
    """Return a statement that changes the script."""
    g, other = draw.choice(DATA), draw.choice(DATA)
    name = draw.choice(DATA + HELPERS + ["C0.attr", "a0", "o0.value"])
    return draw.choice(
        [
            f"{g} = {literal(draw)}",
            f"{g} = {literal(draw)}",
            f"{g}.append({draw.randrange(9)})",
            f"{g}.pop()",
            f"{g}['k'] = plain({other})",
            f"del {name}",
            f"{g} = threading.Lock()",
            f"{g} = math",
            f"a0 = {g}",
            "saved = h0, C0, g0",
            "h0, C0, g0 = saved",
            f"C{draw.randrange(2)}.attr = plain({g})",
            "C0.m = C1.m",
            f"o0 = C{draw.randrange(2)}()",
            f"o0.value = plain({g})",
            f"reg = {{'g': plain({g}), 'c': C0, 'h': h0, 'o': o0}}",
            "reg['h'] = h1",
            "MARK = object()",
            f"h0.__defaults__ = ({draw.randrange(9)},)",
            "local = make(h0)",
            f"def deco(f):\n    return lambda *a: ('deco', {g}, f(*a))",
            f"def make(x):\n    def inner(y):\n        return x(y), {g}\n    return inner",
            "def apply_to(f, x):\n    return 'applied', f(x)",
            define_helper(draw),
            define_helper(draw),
            define_class(draw),
        ]
    )


START = """
g0, g1, g2, g3 = 1, [2], {'k': 3}, 'four'
MARK = object()
def deco(f):
    return lambda *a: ('deco', f(*a))
def h0(x): return g0, x
def h1(x): return g1, h0(x)
def h2(x): return g2, h1(x)
class C0:
    attr = value = 1
    def m(self, x): return self.attr, g3
    @classmethod
    def of(cls, x): return cls.attr
    @staticmethod
    def st(x): return x
class C1(C0):
    pass
o0, a0 = C0(), g1
reg = {'g': g2, 'c': C0, 'h': h0, 'o': o0}
def make(x):
    def inner(y):
        return x(y), g0
    return inner
local = make(h0)
def apply_to(f, x):
    return f(x)
saved = h0, C0, g0
"""

CALLS = [
    "h0", "h1", "h2", "lambda x: (h2(x), g0)", "functools.partial(h1)", "o0.m", "C1().m", "C0.of",
    "C1.st", "make(h1)", "local", "functools.partial(apply_to, h2)", "reg['h']",
    "lambda x: reg['o'].m(x)", "lambda x: reg['c'].of(x)",
    "lambda x, o=o0: (o.m(x), type(o) is C0)",
    "lambda x: [g() for g in [lambda: g1]]", "functools.partial(apply_to, lambda x: (g3, h0(x)))",
    "lambda x: isinstance(C1(), C0)", "plain(a0).count", "deco(h0)",
    "lambda x: (type(a0) is list and a0 is g1, a0 == g1)",
]  # fmt: skip
"""Sources of callables that take an item."""
