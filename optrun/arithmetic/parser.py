"""Arithmetic in a config or an argument: numbers, names, operators and the words of a grammar.

An expression is read as Python's syntax tree, checked against its grammar, and computed node by node. Nothing is
executed.
"""

import ast
import re
import sys
import threading
import warnings
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np

from optrun.arithmetic.words import CONSTANTS, INSTEAD, SIGNS, Grammar
from optrun.errors import ConfigError, did_you_mean
from optrun.forks import renew_after_fork

MAX_DEPTH = 100

_SHOWN = 60
"""Characters of an expression that a message shows around a mistake."""

_LINE_ENDS = re.compile(r"[\r\n\f\v]")

_COMMENT = re.compile(r"""(?:'[^']*'|"[^"]*"|[^#'"])*#""")

_parsing = threading.Lock()
"""What is ignored of warnings counts for all threads, and two of them would undo it in the wrong order."""
renew_after_fork(globals(), "_parsing")


class Arithmetic:
    """An expression in some names, checked: numbers, operators, comparisons (1 or 0), ``a if c else b`` and words.

    Raises ConfigError, with the column and what stands there, for anything else.
    """

    def __init__(self, text: str, grammar: Grammar, names: Collection[str] = (), *, shown: str = "") -> None:
        self.text, self.grammar = text, grammar
        self._shown = shown or text
        """The text as messages show it, of the same length."""
        self._names = [*names, *CONSTANTS]
        self.tree = self._parsed()
        self._check()

    def value(self, values: Mapping[str, Any]) -> Any:
        """Return the value at those of the names, with numbers in float64."""
        with np.errstate(all="ignore"):
            return self._value(self.tree, {**CONSTANTS, **values})

    def refuse(self, node: ast.expr, problem: str) -> NoReturn:
        """Raise ConfigError with the place of a node."""
        while (
            isinstance(node, ast.BinOp)
            and isinstance(node.left, ast.BinOp)
            and self._is_refused(node.left.op)
        ):
            node = node.left  # of several operators the first one
        first, end = self._index(node.col_offset), self._index(node.end_col_offset or 0)
        if isinstance(node, ast.BinOp) and self._is_refused(node.op):
            between = self._index(node.left.end_col_offset or 0), self._index(node.right.col_offset)
            operator = self.text[slice(*between)].strip(" ()")
            first = self.text.index(operator, between[0])
            end = first + len(operator)
        raise self._error(first, end - first, problem)

    def _is_refused(self, operator: ast.operator) -> bool:
        return type(operator) not in self.grammar.operators

    def _index(self, offset: int) -> int:
        """Return the index in the text of an offset of the syntax tree: in bytes, after the leading blanks."""
        after = self.text.lstrip()
        return len(self.text) - len(after) + len(after.encode()[:offset].decode())

    def _error(self, at: int, length: int, problem: str) -> ConfigError:
        """Return the error at an index of the text."""
        return ConfigError(f"column {at + 1}: {problem}\n  {marked(self._shown, at, length)}")

    def _parsed(self) -> ast.expr:
        text, grammar = self.text, self.grammar
        if len(text) > grammar.longest:
            raise ConfigError(f"an expression has at most {grammar.longest:,} characters (got {len(text):,})")
        if not text.strip():
            raise ConfigError(f"{grammar.what} is empty: write one such as {grammar.example!r}")
        if comment := _COMMENT.match(text):
            raise self._error(comment.end() - 1, 1, "an expression has no comments")
        start = len(text) - len(text.lstrip())
        try:
            with _parsing, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(_LINE_ENDS.sub(" ", text.strip()), mode="eval").body
        except SyntaxError as error:
            at = min((error.offset or len(text) - start + 1) + start, len(text) + 1) - 1
            raise self._error(at, 1, self._syntax(error.msg, text[at : at + 2])) from None
        except (ValueError, MemoryError, RecursionError) as error:
            raise ConfigError(f"this is no expression: {str(error) or 'nested too deeply'}") from None

    def _syntax(self, message: str, signs: str) -> str:
        """Return what is wrong where no expression can be read, and what to write instead."""
        sign = signs if signs == "if" else signs[:1]
        if sign in SIGNS:
            return f"{sign} is written {SIGNS[sign]}"
        return f"{message}; a product is written 2 * x" if message.startswith("invalid decimal") else message

    def _check(self) -> None:
        self._check_value(self.tree, 0)

    def _check_value(self, node: ast.expr, depth: int) -> None:
        if depth > MAX_DEPTH:
            self.refuse(node, f"nested deeper than {MAX_DEPTH} levels")
        for each in self._below(node):
            self._check_value(each, depth + 1)

    def _below(self, node: ast.expr) -> Sequence[ast.expr]:
        """Return the operands of a node; raise ConfigError if it is not arithmetic."""
        operators = self.grammar.operators
        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                if abs(number) > sys.float_info.max:
                    self.refuse(node, "a number that is too large")
                return ()
            case ast.Name():
                self._check_name(node)
                return ()
            case ast.BinOp(left, op, right) if type(op) in operators:
                return (left, right)
            case ast.UnaryOp(op, operand) if type(op) in operators:
                return (operand,)
            case ast.Compare(left, ops, comparators) if all(type(op) in operators for op in ops):
                return (left, *comparators)
            case ast.IfExp(test, body, orelse):
                return (test, body, orelse)
            case ast.Call(ast.Name() as called, args, []):
                self._check_call(node, called, args)
                return args
        return self.refuse(node, self._advice(node))

    def _check_name(self, node: ast.Name) -> None:
        if (name := self._name(node)) in self._names:
            return
        if name in self.grammar.words:
            self.refuse(node, f"{name!r} is a function")
        self.refuse(node, f"unknown name {name!r}.{_hint(name, self._names)}")

    def _check_call(self, node: ast.expr, called: ast.Name, args: Sequence[ast.expr]) -> None:
        name, words = self._name(called), self.grammar.words
        if name in self._names:
            self.refuse(called, f"{name!r} is no function; a product is written *")
        if name not in words:
            instead = f" It is written {INSTEAD[name]}." if name in INSTEAD else _hint(name, words)
            self.refuse(called, f"unknown function {name!r}.{instead}")
        word = words[name]
        if len(args) < word.least or len(args) > (word.most or len(args)):
            self.refuse(node, f"{name} takes {word.takes} (got {len(args)})")

    def _name(self, node: ast.Name) -> str:
        """Return the name that a node stands for."""
        return node.id

    def _advice(self, node: ast.expr) -> str:
        """Return why a node is not arithmetic, and how to write it instead."""
        advice = ""
        match node:
            case ast.BinOp(op=ast.BitXor()):
                advice = ": a power is written **"
            case ast.BoolOp():
                advice = ": comparisons are chained, as in 2 < t < 5"
            case ast.Lambda():
                advice = ": leave out 'lambda …:'"
            case ast.Call(ast.Attribute(attr=name)) | ast.Attribute(attr=name) if (
                name in self.grammar.words or name in CONSTANTS
            ):
                advice = f": write {name} alone"
            case ast.Call(ast.Constant() | ast.BinOp()):
                advice = ": a product is written *"
        return f"only numbers, operators and functions of them are arithmetic{advice}"

    def _value(self, node: ast.expr, values: Mapping[str, Any]) -> Any:
        """Return the value of a checked node."""
        operators = self.grammar.operators
        match node:
            case ast.Constant(value):
                return np.float64(value)  # type: ignore[arg-type]
            case ast.Name():
                return values[self._name(node)]
            case ast.BinOp(left, op, right):
                return operators[type(op)](self._value(left, values), self._value(right, values))
            case ast.UnaryOp(op, operand):
                return operators[type(op)](self._value(operand, values))
            case ast.Compare(left, ops, comparators):
                sides = [self._value(each, values) for each in (left, *comparators)]
                holds = [operators[type(op)](*pair) for op, pair in zip(ops, pairwise(sides), strict=True)]
                return self._all(holds)
            case ast.IfExp(test, body, orelse):
                return self._where(*(self._value(each, values) for each in (test, body, orelse)))
            case ast.Call(ast.Name() as called, args):
                word = self.grammar.words[self._name(called)]
                return word.compute(*(self._value(each, values) for each in args))
        raise AssertionError(node)  # pragma: no cover

    def _all(self, holds: Sequence[Any]) -> Any:
        """Return 1 where all comparisons hold, otherwise 0."""
        return np.asarray(np.logical_and.reduce(np.broadcast_arrays(*holds)), np.float64)

    def _where(self, condition: Any, value: Any, otherwise: Any) -> Any:
        return np.where(condition != 0, value, otherwise)


def _hint(name: str, known: Collection[str]) -> str:
    return did_you_mean(name, known) or f" There are: {', '.join(known)}."


def marked(text: str, at: int, length: int = 1) -> str:
    """Return two lines: a text, or as much of it as a line holds, and a mark under the characters from an index on."""
    shown = "".join(each if each.isprintable() else " " for each in text)
    first = max(0, min(at - _SHOWN // 2, len(text) - _SHOWN))
    before, after = "…" * (first > 0), "…" * (first + _SHOWN < len(text))
    width = max(1, min(length, first + _SHOWN - at))
    line = f"{before}{shown[first : first + _SHOWN]}{after}"
    return f"  {line}\n    {' ' * (len(before) + at - first)}^{'~' * (width - 1)}"
