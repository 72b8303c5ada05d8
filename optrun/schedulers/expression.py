"""Functions of the step, given as arithmetic expressions or Python functions."""

import ast
import math
import sys
import threading
import warnings
from array import array
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from optrun.arrays import Array, power
from optrun.errors import ConfigError, brief, did_you_mean
from optrun.forks import renew_after_fork

MAX_LENGTH = 500
MAX_DEPTH = 100

_CONSTANTS = {"pi": math.pi, "e": math.e}
UNARY: dict[str, Callable[..., Any]] = {
    "sqrt": np.sqrt,
    "exp": np.exp,
    "log": np.log,
    "sin": np.sin,
    "cos": np.cos,
    "abs": np.abs,
    "floor": np.floor,
    "ceil": np.ceil,
}
EXTREMES: dict[str, Callable[..., Any]] = {"min": np.minimum, "max": np.maximum}
_multiplying = threading.Lock()
"""Guards the cached products of an expression, which runs in several threads may share."""
renew_after_fork(globals(), "_multiplying")

_parsing = threading.Lock()
"""What is ignored of warnings counts for all threads, and two of them would undo it in the wrong order."""
renew_after_fork(globals(), "_parsing")

KNOWN = frozenset((*_CONSTANTS, *UNARY, "min", "max"))
OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.remainder,
    ast.Pow: power,
    ast.USub: np.negative,
    ast.UAdd: np.positive,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}


class Expression(str):
    """A function of the step ``t``: arithmetic such as ``0.5 ** (t // 30)``, or a Python function.

    Arithmetic allows numbers, ``t``, ``pi`` and ``e``, the operators + - * / // % **, comparisons (1 or 0),
    ``a if c else b`` and the functions sqrt exp log sin cos abs floor ceil min max, computed in float64. A Python
    function is called for one step at a time, and never in advance.

    Raises ConfigError, with the column, for anything else.
    """

    function: Callable[[int], float] | None
    """The Python function; None for an arithmetic expression."""

    def __new__(cls, source: "str | Callable[[int], float]") -> "Expression":
        if isinstance(source, Expression):
            return source
        if not isinstance(source, str) and not callable(source):
            raise ConfigError(f"must be an expression in t, such as '0.95 ** t' (got {brief(source)})")
        text = source if isinstance(source, str) else getattr(source, "__name__", repr(source))
        made = super().__new__(cls, text)
        made.function = None if isinstance(source, str) else source
        made._tree = _arithmetic(text) if isinstance(source, str) else ast.Constant(0.0)
        made._products = array("d", [1.0])
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return Expression, (str(self) if self.function is None else self.function,)

    _tree: ast.expr
    _products: "array[float]"

    def __call__(self, t: Any) -> Array:
        """Return the values at the steps ``t``, as float64 of the same shape."""
        steps = np.ascontiguousarray(t, np.float64)
        if self.function is not None:
            values = [float(self.function(int(step))) for step in steps.flat]
            return np.array(values).reshape(steps.shape)
        with np.errstate(all="ignore"):
            return np.array(np.broadcast_to(_value(self._tree, steps), steps.shape))

    def product(self, t: Array) -> Array:
        """Return the product of the values at the steps 1 … t, multiplied in this order; the empty product is 1."""
        products, last = self._products, int(t.max())
        with _multiplying:
            if last >= len(products):
                values = self(np.arange(len(products), last + 1, dtype=np.float64))
                products.extend(np.multiply.accumulate(np.append(products[-1], values))[1:].tolist())
            return np.frombuffer(products)[t.astype(np.int64)]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls, json_schema_input_schema=core_schema.str_schema(min_length=1)
        )


def _arithmetic(text: str) -> ast.expr:
    tree = parsed(text, "an expression in t", "0.95 ** t")
    _check(tree, len(text) - len(text.lstrip()), 0)
    return tree


def parsed(text: str, what: str, example: str) -> ast.expr:
    """Return the syntax tree of an expression, unchecked; its columns count from where the leading blanks end.

    Raises ConfigError for what is no expression, is empty, or is longer than 500 characters; ``what`` and ``example``
    are for the messages.
    """
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"an expression has at most {MAX_LENGTH} characters (got {len(text)})")
    if not text.strip():
        raise ConfigError(f"{what} is empty: write one such as {example!r}")
    start = len(text) - len(text.lstrip())
    try:
        with _parsing, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise ConfigError(f"column {(error.offset or len(text) - start + 1) + start}: {error.msg}") from None
    except (ValueError, MemoryError, RecursionError) as error:
        raise ConfigError(f"this is no expression: {error or type(error).__name__}") from None
    return tree


def _check(node: ast.expr, start: int, depth: int) -> None:
    """Raise ConfigError if a node is not arithmetic."""
    if depth > MAX_DEPTH:
        _refuse(node, start, f"nested deeper than {MAX_DEPTH} levels")
    match node:
        case ast.Constant(value=bool() | complex()):
            _refuse(node, start, "only numbers, operators and functions of them are arithmetic")
        case ast.Constant(value=int() | float() as number):
            if abs(number) > sys.float_info.max:
                _refuse(node, start, "a number that is too large")
            below: list[ast.expr] = []
        case ast.Name(id=name):
            _check_known(node, start, name, ["t", *_CONSTANTS], "name", [*UNARY, *EXTREMES])
            below = []
        case ast.BinOp(left, op, right) if type(op) in OPERATORS:
            below = [left, right]
        case ast.UnaryOp(op, operand) if type(op) in OPERATORS:
            below = [operand]
        case ast.Compare(left, ops, comparators) if all(type(op) in OPERATORS for op in ops):
            below = [left, *comparators]
        case ast.IfExp(test, body, orelse):
            below = [test, body, orelse]
        case ast.Call(ast.Name(id=name) as called, args, []):
            _check_known(called, start, name, [*UNARY, *EXTREMES], "function", ["t", *_CONSTANTS])
            if name in UNARY and len(args) != 1:
                _refuse(node, start, f"{name} takes one number (got {len(args)})")
            if name in EXTREMES and len(args) < 2:
                _refuse(node, start, f"{name} takes at least two numbers (got {len(args)})")
            below = args
        case _:
            _refuse(node, start, _advice(node))
    for each in below:
        _check(each, start, depth + 1)


def _advice(node: ast.expr) -> str:
    """Return why an expression is not arithmetic, and how to write it instead."""
    advice = ""
    match node:
        case ast.BinOp(op=ast.BitXor()):
            advice = ": a power is written **"
        case ast.BoolOp():
            advice = ": comparisons are chained, as in 2 < t < 5"
        case ast.Lambda():
            advice = ": leave out 'lambda t:'"
        case ast.Call(ast.Attribute(attr=name)) | ast.Attribute(attr=name) if name in KNOWN:
            advice = f": write {name} alone"
    return f"only numbers, operators and functions of them are arithmetic{advice}"


def _check_known(
    node: ast.expr, start: int, name: str, known: list[str], kind: str, others: list[str]
) -> None:
    if name in known:
        return
    if name in others:
        _refuse(node, start, f"{name!r} is {'a function' if kind == 'name' else 'no function'}")
    hint = did_you_mean(name, known) or f" There are: {', '.join(known)}."
    _refuse(node, start, f"unknown {kind} {name!r}.{hint}")


def _refuse(node: ast.expr, start: int, problem: str) -> NoReturn:
    raise ConfigError(f"column {node.col_offset + 1 + start}: {problem}")


def _value(node: ast.expr, t: Array) -> Any:
    """Return the value of a checked node: `[T, 1]` or a scalar."""
    match node:
        case ast.Constant(value):
            return np.float64(value)  # type: ignore[arg-type]
        case ast.Name(id=name):
            return t if name == "t" else np.float64(_CONSTANTS[name])
        case ast.BinOp(left, op, right):
            return OPERATORS[type(op)](_value(left, t), _value(right, t))
        case ast.UnaryOp(op, operand):
            return OPERATORS[type(op)](_value(operand, t))
        case ast.Compare(left, ops, comparators):
            values = [_value(each, t) for each in (left, *comparators)]
            holds = [OPERATORS[type(op)](*pair) for op, pair in zip(ops, pairwise(values), strict=True)]
            return np.asarray(np.logical_and.reduce(np.broadcast_arrays(*holds)), np.float64)
        case ast.IfExp(test, body, orelse):
            return np.where(_value(test, t) != 0, _value(body, t), _value(orelse, t))
        case ast.Call(ast.Name(id=name), [first, *rest]):
            value = _value(first, t)
            if name in UNARY:
                return UNARY[name](value)
            for each in rest:
                value = EXTREMES[name](value, _value(each, t))
            return value
    raise AssertionError(node)  # pragma: no cover
