"""Sphinx's configuration: ``python -m sphinx -W docs docs/_build``."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments.lexers.shell import BashLexer
from pygments.token import Name, Text, Token

import verytmp

project = "verytmp"
author = "the verytmp authors"
copyright = "2026, the verytmp authors"  # noqa: A001  # Sphinx's name
version = release = verytmp.__version__

# sphinx_copybutton: Sphinx and furo have no copy buttons, and commands are there to be copied.
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
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
maximum_signature_line_length = 60  # longer ones have a line for each argument
copybutton_selector = "div:not(.highlight-text) > div.highlight > pre"  # nobody copies what is printed


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
    """A method's signature, as type checkers read it; of overloads the last, which allows all that the others do. A
    class's is the code's own, which tells the defaults."""
    if name == "verytmp.VeryTmpPath":  # nobody calls it
        return "", ""
    if name == "verytmp.VeryTmpFactory":
        return str(inspect.signature(verytmp.VeryTmpRoot)).replace("'", "").partition(" -> ")[0], ""
    if what != "method" or name not in SIGNATURES:
        return None
    arguments, _, returns = SIGNATURES[name][-1].rpartition(" -> ")
    return arguments, returns


class CommandLexer(BashLexer):
    """Commands without a prompt, so that they can be copied: programs and options are coloured."""

    name = "Commands"

    def get_tokens_unprocessed(self, text: str, stack: tuple[str, ...] = ("root",)) -> Iterator[tuple[int, Any, str]]:
        first = True
        for index, token, value in super().get_tokens_unprocessed(text, stack):
            if token is Text and value.strip():
                kind = Name.Function if first else Name.Attribute if value.startswith("-") else token
                yield index, kind, value
                first = False
            else:
                yield index, token, value
                first = "\n" in value or value in ("|", "&", "&&", ";") or (first and token in Token.Text)


DARK = re.compile(r"@media \(prefers-color-scheme: dark\) \{(.*?)\n    \}", re.DOTALL)


def inline(image: nodes.image, file: Path) -> None:
    """Put a picture with colours for the dark theme into the page itself: the theme button reaches no other."""
    svg = file.read_text()
    dark = DARK.search(svg)
    if not dark:
        return
    name = f"picture-{file.stem}"
    svg = svg.replace('"title"', f'"{name}-title"').replace('"tip"', f'"{name}-tip"').replace("#tip", f"#{name}-tip")
    light = svg.partition("<style>")[2].partition("@media")[0]
    style = f"#{name} {{{light}}} body[data-theme=dark] #{name} {{{dark[1]}}}"
    style += f" @media (prefers-color-scheme: dark) {{ body:not([data-theme=light]) #{name} {{{dark[1]}}} }}"
    svg = re.sub(r"<style>.*</style>", lambda _: f"<style>{style}</style>", svg, flags=re.DOTALL)
    width = "wide" if int(svg.partition('viewBox="0 0 ')[2].split()[0]) > 480 else "narrow"
    svg = svg.replace("<svg ", f'<svg id="{name}" class="{width}" ', 1)
    image.replace_self(nodes.raw("", f'<div class="picture">{svg}</div>', format="html"))


NUMBER = re.compile(r"[≤~<]?\s?\d[\d.,]*\s?(%|[µmn]?s|[KMG]i?B|h|min)?( ±\d+%)?")
UNIT = re.compile(r"(?<=\d) (?=(?:[µmn]?s|[KMG]i?B|±\d+%|%)(?!\w))")


def legible(app: Any, doctree: nodes.document) -> None:
    """Numbers are never broken, neither in cells nor before their units; and pictures follow the theme."""
    for image in list(doctree.findall(nodes.image)):
        if image["uri"].endswith(".svg") and app.builder.format == "html":
            file = Path(app.env.doc2path(app.env.docname)).parent / image["uri"]
            app.env.note_dependency(str(file))
            inline(image, file)
    for entry in doctree.findall(nodes.entry):
        if NUMBER.fullmatch(entry.astext().strip()):
            entry["classes"].append("number")
    for text in list(doctree.findall(nodes.Text)):
        if not isinstance(text.parent, nodes.literal | nodes.FixedTextElement | nodes.raw) and UNIT.search(text):
            text.parent.replace(text, nodes.Text(UNIT.sub("\N{NO-BREAK SPACE}", text)))


def described(app: Any, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """A page's first paragraph is what search engines show of it."""
    paragraph = next(doctree.findall(nodes.paragraph), None) if doctree else None
    if paragraph is not None:
        words = " ".join(paragraph.astext().split())
        context["metatags"] += f'<meta name="description" content="{escape(words[:300])}" />'


def setup(app: Any) -> None:
    app.add_lexer("console", CommandLexer)
    app.connect("autodoc-process-signature", from_the_stubs)
    app.connect("doctree-read", legible, priority=400)  # before the pictures are collected
    app.connect("html-page-context", described)
