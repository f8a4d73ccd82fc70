"""Read the sources: which module imports which, and where circles of imports are."""

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGE, CORE = REPOSITORY / "src" / "bsbpool", REPOSITORY / "src" / "_core"


def module_name(path, folder):
    parts = path.relative_to(folder).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


FILES = {module_name(path, PACKAGE): path for path in sorted(PACKAGE.rglob("*.py"))}
"""The Python modules, named without `bsbpool.`; the package itself has the empty name."""


def imported_names(path):
    """Yield what a file imports of bsbpool: at once, in functions, and for type checkers."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name[len("bsbpool.") :] for name in names if name.startswith("bsbpool."))


def longest_prefix(name, names):
    """Return the longest leading part of a dotted name that is one of names, else None."""
    parts = name.split(".")
    prefixes = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in names), None)


def python_imports():
    """Return {module: modules of the package that it imports}."""
    found = {}
    for module, path in FILES.items():
        imported = {longest_prefix(name, FILES) for name in imported_names(path)}
        found[module] = imported - {None, module}
    return found


CORE_FILES = {}
"""The files of each module of the core, named without `bsbpool._core.`, with its stub."""
for _path in sorted(CORE.rglob("*.p*")):
    if _path.suffix in (".pyx", ".pxd", ".pyi", ".py") and _path.stem != "__init__":
        CORE_FILES.setdefault(module_name(_path, CORE), []).append(_path)


def core_text(module, suffixes=(".pyx", ".pxd")):
    return "".join(path.read_text() for path in CORE_FILES[module] if path.suffix in suffixes)


def core_imports(module, suffixes=(".pyx", ".pxd", ".pyi", ".py")):
    """Return the modules that a module of the core imports, for C or for Python, but itself."""
    text = core_text(module, suffixes)
    pairs = re.findall(r"^ *from (\S+) c?import \(?\s*(\w+)", text, re.MULTILINE)
    pairs += [(name, "") for name in re.findall(r"^ *c?import (\S+)", text, re.MULTILINE)]
    core = {f"bsbpool._core.{other}" for other in CORE_FILES}
    found = {longest_prefix(f"{package}.{name}", core) or package for package, name in pairs}
    return found - {f"bsbpool._core.{module}"}


def circles(graph):
    """Return the sets of two or more nodes that reach each other (Tarjan's algorithm)."""
    numbers, lowest, stack, found = {}, {}, [], []

    def visit(node):
        numbers[node] = lowest[node] = len(numbers)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in numbers:
                visit(other)
            if other in stack:
                lowest[node] = min(lowest[node], lowest[other])
        if lowest[node] == numbers[node]:
            place = stack.index(node)
            found.append(set(stack[place:]))
            del stack[place:]

    for node in graph:
        if node not in numbers:
            visit(node)
    return [component for component in found if len(component) > 1]


def private_accesses(path):
    """Yield (line, expression) where a file uses a private name that another file defines.

    `x._name` is such a use unless x is `self` or `cls`, or this file defines `_name` itself: as a
    function, a class, a variable, an attribute of `self`, or in a string such as one of
    `__slots__`. `from x import _name` is one too, unless `_name` is a module. Special methods are
    public.
    """
    tree = ast.parse(path.read_text())
    defined = set(_defined_names(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not own and node.attr not in defined:
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module}.{alias.name}".removeprefix("bsbpool.")
                if _is_private(alias.name) and name not in (*FILES, "_core"):
                    yield node.lineno, f"{node.module}.{alias.name}"


def _is_private(name):
    return name.startswith("_") and not name.startswith("__")


def _defined_names(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
