"""Changes of one line of optrun each: an operator, a constant or a branch is another one, or a statement is gone."""

import ast
import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FOLDERS = ["optim", "schedulers", "kernels", "training", "sweeps", "config"]
OPERATORS: dict[type[ast.AST], tuple[str, str]] = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"), ast.Add: ("+", "-"), ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.FloorDiv: ("//", "*"), ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"), ast.And: ("and", "or"), ast.Or: ("or", "and"),
}  # fmt: skip


class Mutant(NamedTuple):
    """A part of one line of a file, and what stands there instead."""

    file: str
    line: int
    start: int
    end: int
    text: str

    def applied(self, source: str) -> str:
        lines = source.splitlines(keepends=True)
        line = lines[self.line - 1].encode()
        lines[self.line - 1] = (line[: self.start] + self.text.encode() + line[self.end :]).decode()
        return "".join(lines)


def mutants_of(file: str) -> Iterator[Mutant]:
    """Yield every mutant of a file; nothing of docstrings, annotations and messages."""
    source = (ROOT / file).read_text(encoding="utf-8")
    lines = source.splitlines()

    def between(first: ast.expr, second: ast.expr, operator: ast.AST) -> Iterator[Mutant]:
        old, new = OPERATORS.get(type(operator), ("", ""))
        if old and first.end_lineno == second.lineno:
            gap = lines[second.lineno - 1].encode()[first.end_col_offset : second.col_offset].decode()
            at = first.end_col_offset + gap.find(old)
            if old in gap:
                yield Mutant(file, second.lineno, at, at + len(old), new)

    def instead(node: ast.expr | ast.stmt, text: str) -> Iterator[Mutant]:
        if node.lineno == node.end_lineno and node.end_col_offset is not None:
            yield Mutant(file, node.lineno, node.col_offset, node.end_col_offset, text)

    def visit(node: ast.AST) -> Iterator[Mutant]:
        match node:
            case ast.Raise() | ast.JoinedStr():
                return
            case ast.Compare(left=left, ops=[operator], comparators=[right]):
                yield from between(left, right, operator)
            case ast.BinOp(left=left, op=operator, right=right):
                yield from between(left, right, operator)
            case ast.BoolOp(op=operator, values=[left, right, *_]):
                yield from between(left, right, operator)
            case ast.AugAssign(target=target, op=operator, value=value):
                yield from between(target, value, operator)
                yield from instead(node, "pass")
            case ast.Constant(value=bool() as value):
                yield from instead(node, str(not value))
            case ast.Constant(value=int() | float() as value):
                yield from instead(node, repr(value + 1))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield from instead(node, f"({ast.unparse(operand)})")
            case ast.IfExp(test=test, body=body, orelse=other):
                swapped = ast.IfExp(test=test, body=other, orelse=body)
                yield from instead(node, f"({ast.unparse(swapped)})")
            case ast.If(test=test) | ast.While(test=test):
                yield from instead(test, f"not ({ast.unparse(test)})")
            case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
                yield from instead(node, "return None")
            case ast.Expr(value=ast.Call() | ast.Await()):
                yield from instead(node, "pass")
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                yield from instead(node, "pass")
        for name, field in ast.iter_fields(node):
            if name not in ("annotation", "returns", "decorator_list"):
                for child in field if isinstance(field, list) else [field]:
                    if isinstance(child, ast.AST):
                        yield from visit(child)

    yield from visit(ast.parse(source))


def is_another(mutant: Mutant) -> bool:
    """Return whether a mutant is still Python, and not the same."""
    source = (ROOT / mutant.file).read_text(encoding="utf-8")
    try:
        return ast.dump(ast.parse(mutant.applied(source))) != ast.dump(ast.parse(source))
    except SyntaxError:
        return False


def drawn(seed: int, count: int) -> list[Mutant]:
    files = sorted(
        str(each.relative_to(ROOT)) for folder in FOLDERS for each in (ROOT / "optrun" / folder).rglob("*.py")
    )
    found = [mutant for file in files for mutant in mutants_of(file)]
    random.Random(seed).shuffle(found)
    return list(itertools.islice(filter(is_another, found), count))
