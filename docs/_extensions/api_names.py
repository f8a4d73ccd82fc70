"""The API reference: it must contain each public name, and short names in docstrings are links."""

from __future__ import annotations

import importlib
from typing import Any

from sphinx.util import logging
from sphinx.util.nodes import make_refnode

logger = logging.getLogger(__name__)

MODULES = ("bsbpool", "bsbpool.futures", "bsbpool.listeners", "bsbpool.services")
"""The modules whose `__all__` the reference must contain."""

ELSEWHERE = {
    "__version__": "a string",
    "ALL_COMPLETED": "a constant of concurrent.futures",
    "FIRST_COMPLETED": "a constant of concurrent.futures",
    "FIRST_EXCEPTION": "a constant of concurrent.futures",
}
"""Public names without an entry, and why."""


def public_names() -> dict[str, Any]:
    """Return the public objects by their full names."""
    found = {}
    for name in MODULES:
        module = importlib.import_module(name)
        for public in getattr(module, "__all__", ()):
            if public not in ELSEWHERE:
                found[f"{name}.{public}"] = getattr(module, public)
    return found


def documented_names(env: Any) -> set[str]:
    """Return the full names in the reference, and those of the objects that they stand for."""
    return set(env.domains.python_domain.objects)


def check(app: Any, env: Any) -> None:
    """Warn of public names that the reference does not contain."""
    documented = documented_names(env)
    for name, value in public_names().items():
        module, own = getattr(value, "__module__", ""), getattr(value, "__qualname__", "")
        if name in documented or f"{module}.{own}" in documented:
            continue
        public = name.rpartition(".")[2]  # it may be documented under its other name
        known = {f"bsbpool.{public}", f"bsbpool.services.{public}"} & documented
        if not known and not str(module).startswith("concurrent."):
            logger.warning("the API reference does not contain %s", name)


def full_name(name: str, known: Any) -> str | None:
    """Return the documented name that a short one stands for, such as `Job.cancel`.

    A name in lower case must have an underscore: others are mostly parameters.
    """
    is_class = name[:1].isupper()
    if f"bsbpool.{name}" in known and (is_class or "_" in name):
        return f"bsbpool.{name}"
    ends = [full for full in known if is_class and full.endswith(f".{name}")]
    return ends[0] if len(ends) == 1 else None


def resolve(app: Any, env: Any, node: Any, text: Any) -> Any:
    """Return a link for a short name that the page's module does not have."""
    if node.get("refdomain") != "py":
        return None
    known = env.domains.python_domain.objects
    full = full_name(node["reftarget"].removesuffix("()"), known)
    if full is None:
        return None
    found = known[full]
    return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, text, full)


def setup(app: Any) -> dict[str, bool]:
    """Run the check when all pages have been read, and find short names."""
    app.connect("env-check-consistency", check)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
