"""Choose runs by a condition, such as ``optimizer.lr < 0.01 and status == diverged``.

    condition   comparison | condition and condition | condition or condition | not condition | (condition)
    comparison  value < value, also <= > >= == !=, chained; value in (value, …); value not in (value, …)
    value       a number, a name, 'text', arithmetic, or a function of numbers

It is read as Python's syntax tree and computed node by node: nothing is executed.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from optrun.analysis.run_columns import RunColumns
from optrun.analysis.summaries import STATES
from optrun.arithmetic.parser import MAX_DEPTH, Arithmetic
from optrun.arithmetic.words import COMPARISONS, OPERATORS, WORDS, Grammar
from optrun.errors import ConfigError

EXAMPLE = "optimizer.lr < 0.01 and status == diverged"
GRAMMAR = Grammar("a condition", EXAMPLE, WORDS, OPERATORS)
CONSTANTS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_SYNTAX = {"and", "or", "not", "in", "if", "else", "is"}
"""The words of the grammar, and those whose misuse has a better message than an unknown name."""

_TOKEN = re.compile(r"'[^']*'|\"[^\"]*\"|\d[\w.]*|[^\W\d]\w*(?:\.\w+)*")


def fulfilled(text: str, columns: RunColumns) -> list[int]:
    """Return the indices of the runs that fulfil a condition.

    A value that is missing or not finite is null, which is equal to null only, and neither smaller nor larger than
    anything. Raises ConfigError, with the column, for what is no condition or compares text with numbers.
    """
    try:
        with np.errstate(all="ignore"):
            return _Condition(text, columns).runs()
    except ConfigError as error:
        raise ConfigError(f"--where: {error}") from None


class _Condition(Arithmetic):
    def __init__(self, text: str, columns: RunColumns) -> None:
        self._columns = columns
        self._values: dict[int, list[Any]] = {}
        """The values of a name by the run, by the place of its node."""
        self._alike: dict[ast.expr, bool] = {}
        """Whether some run has had values of one type, by the right side of a comparison."""
        self._masked: dict[int, str] = {}
        """The names by their places."""

        # A path such as optimizer.groups.0.lr is no Python name; a name of the same length keeps the columns.
        def masked(token: re.Match[str]) -> str:
            name = token[0]
            if not name[0].isidentifier() or name in _SYNTAX:
                return name
            self._masked[token.start()] = name
            return "_" * len(name)

        super().__init__(_TOKEN.sub(masked, text), GRAMMAR, shown=text)

    def runs(self) -> list[int]:
        found = [run for run in range(self._columns.size) if self._holds(self.tree, run)]
        for node, alike in self._alike.items():
            if not alike:
                self.refuse(node, "text and numbers are compared; they are never equal, smaller or larger")
        return found

    def _check(self) -> None:
        self._check_condition(self.tree, 0)

    def _check_condition(self, node: ast.expr, depth: int) -> None:
        if depth > MAX_DEPTH:
            self.refuse(node, f"nested deeper than {MAX_DEPTH} levels")
        match node:
            case ast.BoolOp(values=below):
                for each in below:
                    self._check_condition(each, depth + 1)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                self._check_condition(operand, depth + 1)
            case ast.Compare(left, ops, comparators):
                sides = [left, *comparators]
                words = [word for side in sides for word in self._words(side)]
                self._check_value(left, depth + 1, words)
                for op, side in zip(ops, comparators, strict=True):
                    if isinstance(op, (ast.In, ast.NotIn)):
                        self._check_list(side, words, depth + 1)
                    elif type(op) in COMPARISONS:
                        self._check_value(side, depth + 1, words)
                    else:
                        self.refuse(side, "'is' is written ==")
            case ast.Name():
                self._check_value(node, depth + 1)
            case ast.BinOp(op=ast.BitAnd() | ast.BitOr()):
                self.refuse(node, self._advice(node))
            case _:
                self.refuse(node, f"a condition compares values, such as {EXAMPLE}")

    def _check_list(self, node: ast.expr, words: Sequence[str], depth: int) -> None:
        if not isinstance(node, (ast.Tuple, ast.List)):
            self.refuse(node, "after 'in' there is a list, such as (completed, diverged)")
        for each in node.elts:
            self._check_value(each, depth + 1, words)

    def _check_value(self, node: ast.expr, depth: int, words: Sequence[str] = ()) -> None:
        """Check a value, which is a text if it is among ``words``."""
        if isinstance(node, ast.Name):
            self._resolve(node, words)
        else:
            super()._check_value(node, depth)

    def _below(self, node: ast.expr) -> Sequence[ast.expr]:
        match node:
            case ast.Constant(value=str()):
                return ()
            case ast.IfExp():
                self.refuse(node, self._advice(node))
        return super()._below(node)

    def _check_name(self, node: ast.Name) -> None:
        self._resolve(node, ())

    def _advice(self, node: ast.expr) -> str:
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitAnd, ast.BitOr)):
            return "& is written and, | is written or"
        return "only numbers, names, 'text', arithmetic and functions are values"

    def _syntax(self, message: str, signs: str) -> str:
        has_single = re.search(r"(?<![=<>!])=(?!=)", self.text)
        return super()._syntax(message, signs) + ("; is equal to is written ==" if has_single else "")

    def _resolve(self, node: ast.Name, words: Sequence[str]) -> None:
        """Find the values of a name; a word that is no name is a text if it is among ``words``."""
        name = self._name(node)
        if name in CONSTANTS:
            self._values[node.col_offset] = [CONSTANTS[name]] * self._columns.size
        elif (values := self._columns.find(name)) is not None:
            self._values[node.col_offset] = values
        elif name in words:
            self._values[node.col_offset] = [name] * self._columns.size
        else:
            self.refuse(node, self._columns.unknown(name, words))

    def _words(self, node: ast.expr) -> Iterator[str]:
        """Yield the texts that are values of a column."""
        if isinstance(node, ast.Name):
            name = self._name(node)
            if name == "status":
                yield from STATES
            values = self._columns.find(name) or ()
            yield from dict.fromkeys(value for value in values if isinstance(value, str))

    def _holds(self, node: ast.expr, run: int) -> bool:
        match node:
            case ast.BoolOp(op, values):
                each = (self._holds(value, run) for value in values)
                return all(each) if isinstance(op, ast.And) else any(each)
            case ast.UnaryOp(operand=operand):
                return not self._holds(operand, run)
            case ast.Compare(left, ops, comparators):
                pairs = pairwise([left, *comparators])
                return all(self._compares(op, *pair, run) for op, pair in zip(ops, pairs, strict=True))
        value = self._of_run(node, run)
        if value is not None and not isinstance(value, bool):
            self.refuse(node, f"a condition compares values, such as {EXAMPLE}")
        return value is True

    def _compares(self, op: ast.cmpop, left: ast.expr, right: ast.expr, run: int) -> bool:
        if isinstance(right, (ast.Tuple, ast.List)):
            is_in = any(self._compares(ast.Eq(), left, each, run) for each in right.elts)
            return is_in != isinstance(op, ast.NotIn)
        a, b = self._of_run(left, run), self._of_run(right, run)
        is_equality = isinstance(op, (ast.Eq, ast.NotEq))
        if a is None or b is None:
            return is_equality and bool(COMPARISONS[type(op)](a, b))
        is_alike = isinstance(a, str) == isinstance(b, str)
        self._alike[right] = self._alike.get(right, False) or is_alike
        return bool(COMPARISONS[type(op)](a, b)) if is_alike else isinstance(op, ast.NotEq)

    def _of_run(self, node: ast.expr, run: int) -> Any:
        """Return the value of a checked node: a number, a text, a bool or None."""
        match node:
            case ast.Constant(value):
                return value
            case ast.Name():
                return self._values[node.col_offset][run]
            case ast.BinOp(left, op, right):
                function, below = OPERATORS[type(op)], [left, right]
            case ast.UnaryOp(op, operand):
                function, below = OPERATORS[type(op)], [operand]
            case ast.Call(ast.Name() as called, args):
                function, below = self.grammar.words[self._name(called)].compute, args
            case _:
                raise AssertionError(node)  # pragma: no cover
        numbers = []
        for each in below:
            value = self._of_run(each, run)
            if isinstance(value, (str, bool)):
                self.refuse(each, f"arithmetic needs a number, not {value!r}")
            if value is None:
                return None
            numbers.append(np.float64(value))
        return float(function(*numbers))

    def _name(self, node: ast.Name) -> str:
        return self._masked[self._index(node.col_offset)]
