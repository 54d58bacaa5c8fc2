"""Small mistakes, planted one at a time in a module's source: cosmic-ray's, and statements that are left out."""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

# cosmic-ray has each operator replaced with each other one. These are the neighbours; most others are a TypeError.
OPERATORS = (
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_Add", "Mod_Mul", "FloorDiv_Mul")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("BitOr_BitAnd", "BitAnd_BitOr", "LShift_RShift")),
    *(f"ReplaceUnaryOperator_{pair}" for pair in ("Delete_Not", "Delete_USub", "Delete_Invert")),
    *("AddNot", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak", "ExceptionReplacer", "NumberReplacer"),
    *("RemoveDecorator", "ZeroIterationForLoop"),
)

# Lines about checkers and Pythons, which are not what this is about.
NOT_RUN = ("TYPE_CHECKING", "if TYPE_CHECKING", "if not TYPE_CHECKING", "if sys.version_info")

SIMPLE = (ast.Assign, ast.AugAssign, ast.Break, ast.Continue, ast.Delete, ast.Expr, ast.Raise, ast.Return)


class Mutant(NamedTuple):
    place: str  # the function or class
    before: str
    after: str
    source: str
    number: int = 1  # of those that read the same

    @property
    def key(self) -> str:
        again = f" (no. {self.number})" if self.number > 1 else ""
        return f"{self.place}: {self.before} -> {self.after}{again}"


def mutants(source: str) -> list[Mutant]:
    """All that differ in what this Python runs: not in annotations, docstrings, and what other Pythons run."""
    known = {meaning(source)}
    found: list[Mutant] = []
    for mutated in (*others(source), *omissions(source)):
        try:
            what = meaning(mutated)
        except SyntaxError:
            continue
        mutant = described(source, mutated)
        if what not in known and not mutant.before.startswith(NOT_RUN):
            known.add(what)
            found.append(mutant._replace(number=1 + sum(mutant[:3] == other[:3] for other in found)))
    return found


def others(source: str) -> Iterator[str]:
    for name in OPERATORS:
        for occurrence in count():
            mutated = mutate_code(source, get_operator(f"core/{name}")(), occurrence)
            if mutated is None:
                break
            yield mutated


def omissions(source: str) -> Iterator[str]:
    """Without one statement, ``in`` for ``not in``, and the other way round."""
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, SIMPLE):
            first, last = node.lineno - 1, (node.end_lineno or 0) - 1
            indent, rest = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
            yield "".join([*lines[:first], f"{indent}pass{rest}", *lines[last + 1 :]])
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            line = lines[node.lineno - 1]
            start, end = node.left.end_col_offset or 0, node.comparators[0].col_offset
            if node.left.end_lineno == node.comparators[0].lineno:
                word = " in " if isinstance(node.ops[0], ast.NotIn) else " not in "
                yield "".join([*lines[: node.lineno - 1], line[:start] + word + line[end:], *lines[node.lineno :]])


def described(source: str, mutated: str) -> Mutant:
    old, new = source.splitlines(), mutated.splitlines()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    _, first, last, start, end = next(code for code in matcher.get_opcodes() if code[0] != "equal")
    before, after = (" ".join(line.strip() for line in lines) for lines in (old[first:last], new[start:end]))
    return Mutant(place(ast.parse(source), first + 1), before, after, mutated)


def place(node: ast.AST, line: int, name: str = "") -> str:
    """The name of the innermost function or class that a line is in."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef) and child.lineno <= line <= (child.end_lineno or 0):
            return place(child, line, f"{name}.{child.name}" if name else child.name)
        if isinstance(child, ast.If) and child.lineno <= line <= (child.end_lineno or 0):
            return place(child, line, name)
    return name or "the module"


OPPOSITES: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Eq: ast.NotEq, ast.Lt: ast.GtE, ast.Gt: ast.LtE}
OPPOSITES |= {ast.Is: ast.IsNot, ast.In: ast.NotIn}
OPPOSITES |= {other: one for one, other in OPPOSITES.items()}


class Essence(ast.NodeTransformer):
    """Leaves out what is not run: annotations, docstrings, type checkers' branches, and other Pythons'."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:  # ast's name
        test = ast.unparse(node.test)
        if test in ("TYPE_CHECKING", "not TYPE_CHECKING") or test.startswith("sys.version_info"):
            taken = node.body if eval(test, {"sys": sys, "TYPE_CHECKING": False}) else node.orelse
            return [self.visit(statement) for statement in taken] or [ast.Pass()]
        return self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        """``not a == b`` is ``a != b``."""
        inner = node.operand
        if isinstance(node.op, ast.Not) and isinstance(inner, ast.Compare) and type(inner.ops[0]) in OPPOSITES:
            return self.generic_visit(ast.Compare(inner.left, [OPPOSITES[type(inner.ops[0])]()], inner.comparators))
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return ast.Pass() if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if node.value is None:
            return ast.Pass()
        return self.generic_visit(ast.Assign([node.target], node.value))

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)


def meaning(source: str) -> str:
    return ast.dump(Essence().visit(ast.parse(source)))
