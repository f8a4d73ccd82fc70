"""The settings of Sphinx for this folder; `make docs` builds the site in build/docs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))

import stored_inventories  # noqa: E402

import bsbpool  # noqa: E402

project = "bsbpool"
author = "the bsbpool developers"
copyright = "2026, " + author
version = release = bsbpool.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "myst_parser",
    "sphinx_copybutton",
    "api_names",
    "link_checks",
    "status_diagram",
]
exclude_patterns = ["_extensions", "_inventories"]

# ------------------------------------------------------------------ pages

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
# Lists of commands and of output have no language.
highlight_language = "none"
default_role = "py:obj"
copybutton_exclude = ".linenos, .gp, .go"

# ------------------------------------------------------------------ docstrings

autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 88
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = {"optional", "of", "or", "to", "object", "any"}
numpydoc_xref_aliases = {
    "bool": "bool",
    "dict": "dict",
    "float": "float",
    "int": "int",
    "str": "str",
    "iterable": "collections.abc.Iterable",
    "mapping": "collections.abc.Mapping",
    "sequence": "collections.abc.Sequence",
    "list": "list",
    "tuple": "tuple",
    "set": "set",
    "None": "None",
    "callable": "collections.abc.Callable",
}

# Adapters can be imported without the packages that they are for.
autodoc_mock_imports = ["IPython", "joblib", "mpi4py", "scinexus", "threadpoolctl", "traitlets"]

# ------------------------------------------------------------------ links

# The build needs no network: _inventories has the names that are used, as text.
intersphinx_mapping = stored_inventories.mapping(HERE / "_inventories")
intersphinx_disabled_reftypes = ["std:*"]

# ------------------------------------------------------------------ HTML

html_theme = "furo"
html_title = f"bsbpool {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}


def drop_missing_pages(app, name, source):
    """Leave out the lines of a toctree that end with an asterisk and match no page."""

    def kept(line):
        return line.group() if any(HERE.glob(f"{line[1]}*.md")) else ""

    if name == "index":
        source[0] = re.sub(r"^([\w-]+)\*\n", kept, source[0], flags=re.M)


def setup(app):
    """Connect the function to the reading of pages."""
    app.connect("source-read", drop_missing_pages)
