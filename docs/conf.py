"""Sphinx's configuration: ``python -m sphinx -W docs docs/_build``."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import verytmp

project = "verytmp"
author = "the verytmp authors"
copyright = "2026, the verytmp authors"  # noqa: A001  # Sphinx's name
version = release = verytmp.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
pygments_dark_style = "github-dark"
html_use_index = False  # the reference has all names, and the search finds them
html_title = f"verytmp {release}"
default_role = "code"
nitpicky = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_typehints = "signature"
autodoc_preserve_defaults = True  # 0o700, and not 448
autodoc_class_signature = "mixed"
autodoc_member_order = "bysource"


def declarations(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, str]]:
    """The functions of a stub: each name, and a signature of it."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.If):
            yield from declarations(node.body, f"{prefix}{node.name}." if isinstance(node, ast.ClassDef) else prefix)
        elif isinstance(node, ast.FunctionDef):
            static = any(ast.unparse(decorator) == "staticmethod" for decorator in node.decorator_list)
            arguments = node.args.posonlyargs or node.args.args
            if not static and arguments:
                del arguments[0]
            yield prefix + node.name, f"({ast.unparse(node.args)}) -> {ast.unparse(node.returns or ast.Constant(None))}"


SIGNATURES: dict[str, list[str]] = {}
for file in sorted((Path(__file__).parent.parent / "stubs").rglob("*.pyi")):
    for declared, text in declarations(ast.parse(file.read_text()).body, "verytmp."):
        SIGNATURES.setdefault(declared, []).append(text)


def from_the_stubs(app: object, what: str, name: str, *_: object) -> tuple[str, str] | None:
    """A method's signatures, as type checkers read them. A class's is the code's own, which tells the defaults."""
    if name == "verytmp.VeryTmpPath":  # nobody calls it
        return "", ""
    if what != "method" or name not in SIGNATURES:
        return None
    arguments, _, returns = "\n".join(SIGNATURES[name]).rpartition(" -> ")
    return arguments, returns


def setup(app: Any) -> None:
    app.connect("autodoc-process-signature", from_the_stubs)
