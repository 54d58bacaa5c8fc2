"""Sphinx's configuration: ``python -m sphinx -W docs docs/_build``."""

import verytmp

project = "verytmp"
author = "the verytmp authors"
copyright = "2026, the verytmp authors"  # noqa: A001  # Sphinx's name
version = release = verytmp.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"verytmp {release}"
default_role = "code"
nitpicky = False

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 2
autodoc_typehints = "signature"
autodoc_class_signature = "separated"
autodoc_member_order = "bysource"
