"""Symbols: what update rules and functions are called with, and what records their operations as a graph.

An elementwise rule is traced without shapes, since all of its arrays have the same one. A per-tensor rule is traced
for the shape of one tensor, without the lane axis, and may combine arrays of different shapes. A function is traced for
a vector, of which it may take elements and slices.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Real
from typing import Any, Union

import numpy as np

from optrun.arrays import Array
from optrun.kernels.program import COUNT, REDUCED, Node, node, shape_of_slice

Operand = Union["Symbol", float]
_Operator = Callable[["Symbol", Operand], "Symbol"]

ELEMENTS, TENSORS, VECTOR = "an elementwise rule", "a per-tensor rule", "a function"
OVER = ("tensor", "group", "run")
MOST_ITERATED = 64
"""Elements of a vector that are taken one by one, each with operations of its own."""

_traced: ContextVar[str] = ContextVar("_traced", default=VECTOR)


@contextmanager
def tracing(kind: str) -> Iterator[None]:
    """Within, symbols are those of ELEMENTS, TENSORS or a VECTOR."""
    token = _traced.set(kind)
    try:
        yield
    finally:
        _traced.reset(token)


_scope: ContextVar[tuple[str, dict[Node, int]] | None] = ContextVar("_scope", default=None)
_places: dict[tuple[str, int], int] = {}


@contextmanager
def adding_up_for(name: str) -> Iterator[None]:
    """Within, sums are known by this name and their order, as those of the same rule or transform in another group."""
    token = _scope.set((name, {}))
    try:
        yield
    finally:
        _scope.reset(token)


def _operator(op: str) -> tuple[_Operator, _Operator]:
    """Return the methods of a binary operator: of what stands on its left, and on its right."""
    return lambda left, right: apply(op, left, right), lambda right, left: apply(op, left, right)


class Symbol:
    """A symbolic value; operators and the words of `optrun.ops` build the graph of a program."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, node: Node) -> None:
        self.node = node

    __add__, __radd__ = _operator("add")
    __sub__, __rsub__ = _operator("sub")
    __mul__, __rmul__ = _operator("mul")
    __truediv__, __rtruediv__ = _operator("div")
    __pow__, __rpow__ = _operator("pow")

    def __floordiv__(self, other: Operand) -> "Symbol":
        return apply("floor", apply("div", self, other))

    def __rfloordiv__(self, other: Operand) -> "Symbol":
        return apply("floor", apply("div", other, self))

    def __mod__(self, other: Operand) -> "Symbol":
        return self - other * (self // other)

    def __rmod__(self, other: Operand) -> "Symbol":
        return other - self * (other // self)

    def __neg__(self) -> "Symbol":
        return apply("neg", self)

    def __pos__(self) -> "Symbol":
        return self

    def __abs__(self) -> "Symbol":
        return apply("abs", self)

    def __matmul__(self, other: "Symbol") -> "Symbol":
        _check_whole()
        left, right = as_node(self), as_node(other)
        if len(left.shape) < 2 or len(right.shape) < 2 or left.shape[-1] != right.shape[-2]:
            raise TypeError(f"no product of {left.shape} and {right.shape}")
        shape = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        shape = (*shape, left.shape[-2], right.shape[-1])
        return Symbol(node("matmul", left, right, is_array=True, shape=shape))

    @property
    def mT(self) -> "Symbol":
        """The transpose of the last two axes, as in torch."""
        stack, rows, columns = sides_of(self)
        return Symbol(node("transpose", self.node, is_array=True, shape=(*stack, columns, rows)))

    def reshape(self, *shape: int) -> "Symbol":
        """The same elements, in the same order, in another shape; not in an elementwise rule."""
        _check_whole()
        if self.size != math.prod(shape):
            raise TypeError(f"{self.shape} has other elements than {shape}")
        return self if shape == self.shape else Symbol(node("reshape", self.node, is_array=True, shape=shape))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one lane's array; not in an elementwise rule."""
        _check_whole()
        return self.node.shape

    @property
    def ndim(self) -> int:
        """The number of axes of one lane's array; not in an elementwise rule."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements of one lane's array; not in an elementwise rule."""
        return math.prod(self.shape)

    def sum(self) -> "Symbol":
        """The sum of all elements."""
        return total(self)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("one number has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator["Symbol"]:
        if len(self) > MOST_ITERATED:
            raise TypeError(
                f"a vector of {len(self)} is not taken apart: use slices, and sum(…) and prod(…) of optrun.ops"
            )
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: int | slice) -> "Symbol":
        if len(self.shape) != 1:
            raise TypeError("only a vector has elements and slices: x[0], x[1:]")
        if isinstance(key, slice):
            part = key
        elif isinstance(key, int):
            if not -len(self) <= key < len(self):
                raise IndexError(f"x[{key}] of a vector of {len(self)}")
            part = slice(key % len(self), key % len(self) + 1)
        else:
            raise TypeError(f"a vector has elements and slices, x[0] and x[1:], not x[{type(key).__name__}]")
        name = ":".join("" if bound is None else str(bound) for bound in (part.start, part.stop, part.step))
        size = shape_of_slice(self.node.shape, name)
        shape = size if isinstance(key, slice) else ()
        return Symbol(node("slice", self.node, name=name, is_array=self.node.is_array, shape=shape))

    def __gt__(self, other: Operand) -> "Symbol":
        return apply("gt", self, other)

    def __ge__(self, other: Operand) -> "Symbol":
        return apply("ge", self, other)

    def __lt__(self, other: Operand) -> "Symbol":
        return apply("lt", self, other)

    def __le__(self, other: Operand) -> "Symbol":
        return apply("le", self, other)

    def __eq__(self, other: object) -> "Symbol":  # type: ignore[override]
        return apply("eq", self, other)

    def __ne__(self, other: object) -> "Symbol":  # type: ignore[override]
        return apply("ne", self, other)

    def __and__(self, other: "Symbol") -> "Symbol":
        return _joined("and", self, other)

    def __or__(self, other: "Symbol") -> "Symbol":
        return _joined("or", self, other)

    def __invert__(self) -> "Symbol":
        return _joined("not", self)

    def __bool__(self) -> bool:
        raise TypeError(
            "a rule cannot branch on a value that differs between lanes or steps: use where(...), "
            "maximum(...) and minimum(...), and & | ~ between comparisons"
        )

    def __float__(self) -> float:
        raise TypeError("functions of math take numbers: use those of optrun.ops")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> "Symbol":
        if method == "__call__" and not options and ufunc in _OPERATORS:
            return apply(_OPERATORS[ufunc], *inputs)  # an operator between NumPy's array and a symbol
        raise _numpy_error(ufunc)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> "Symbol":
        raise _numpy_error(function)


_OPERATORS: dict[object, str] = {
    np.add: "add",
    np.subtract: "sub",
    np.multiply: "mul",
    np.divide: "div",
    np.power: "pow",
    np.greater: "gt",
    np.greater_equal: "ge",
    np.less: "lt",
    np.less_equal: "le",
}


def _numpy_error(function: Any) -> TypeError:
    return TypeError(f"np.{function.__name__} takes numbers: use the words of optrun.ops")


def _check_whole() -> None:
    if _traced.get() == ELEMENTS:
        raise TypeError(
            "norm, mean, sum, amax, @, mT, shape and x[i] need whole tensors, but an elementwise rule sees single "
            "elements: set per_tensor = True in its class, or say over what to add up, such as norm(g, over='run')"
        )


def as_node(value: object) -> Node:
    """Return the node of a symbol, of a number, or of a vector of numbers in a function."""
    if isinstance(value, Symbol):
        return value.node
    if isinstance(value, Real):
        # Keyed by its bits: 0.0 and -0.0 are equal, but not the same constant.
        return node("const", name=float(value).hex(), value=float(value))
    if isinstance(value, np.ndarray) and value.ndim == 1 and _traced.get() == VECTOR:
        return constants(value)
    what = {VECTOR: "symbols, numbers and vectors of numbers"}.get(_traced.get(), "symbols and numbers")
    raise TypeError(f"{_traced.get()} combines {what}, not {type(value).__name__}")


def number_of_lane(name: str, shape: tuple[int, ...] = ()) -> Symbol:
    """Return the symbol of a number, or of a vector of numbers, that every lane may have another of."""
    return Symbol(node("hyperparameter", name=name, shape=shape))


def constants(values: Array) -> Node:
    """Return the node of a vector of numbers."""
    numbers = np.asarray(values, np.float64)
    return node("constants", name=numbers.tobytes().hex(), shape=numbers.shape)


def apply(op: str, *operands: object) -> Symbol:
    """Return the symbol of an operation on symbols and numbers; a condition in arithmetic is 1 or 0."""
    args = tuple(as_node(operand) for operand in operands)
    for at, arg in enumerate(args):
        if arg.is_condition and not (op == "where" and at == 0):
            number = node("where", arg, as_node(1.0), as_node(0.0), is_array=arg.is_array)
            args = (*args[:at], number, *args[at + 1 :])
    is_array = any(arg.is_array for arg in args)
    if is_array and op == "div" and not args[1].is_array:
        # For an array, dividing by a coefficient is five times slower than multiplying by its reciprocal.
        return apply("mul", apply("div", 1.0, Symbol(args[1])), Symbol(args[0]))
    if is_array and op == "pow":
        return _power(*args)
    try:
        return Symbol(node(op, *args, is_array=is_array))
    except ValueError:
        shapes = " and ".join(str(arg.shape) for arg in args)
        raise TypeError(f"vectors of different lengths do not combine: {shapes}") from None


def _power(base: Node, exponent: Node) -> Symbol:
    """Return a power with an array: products and roots if the exponent is a number that allows it."""
    x, number = Symbol(base), exponent.value
    if base.op == "const":
        return (
            apply("exp", math.log(base.value) * Symbol(exponent))
            if base.value > 0
            else _general(base, exponent)
        )
    if exponent.op != "const" or not (2 * number).is_integer():
        return _general(base, exponent)
    if number < 0:
        return 1 / _power(base, as_node(-number))
    whole = int(number)
    factors = [apply("sqrt", x)] if number != whole else []
    while whole:
        if whole % 2:
            factors.append(x)
        whole //= 2
        x = x * x if whole else x
    if not factors:
        return Symbol(node("copy", as_node(1.0), is_array=True, shape=base.shape))
    return math.prod(factors[1:], start=factors[0])


def _general(base: Node, exponent: Node) -> Symbol:
    return Symbol(node("pow", base, exponent, is_array=True))


def reduced(x: Operand, over: str) -> Symbol:
    """Return the sum, a number per lane, of all elements of a tensor, of a group's parameters or of the run's."""
    return _over(REDUCED, x, over) if as_node(x).is_array else counted(x, over) * x


def counted(x: Operand, over: str) -> Symbol:
    """Return how many elements `reduced` adds up."""
    return _over(COUNT, x, over)


def _over(op: str, x: Operand, over: str) -> Symbol:
    check_over(over)
    value, place = as_node(x), 0
    if scope := _scope.get():
        name, known = scope
        place = _places.setdefault((name, known.setdefault(value, len(known))), 1 + len(_places))
    return Symbol(node(op, value, name=over, value=place, shape=()))


def check_over(over: str) -> None:
    """Raise TypeError for a sum over what a rule does not have."""
    if over not in OVER or _traced.get() == VECTOR:
        said = "a function adds up the elements of vectors" if _traced.get() == VECTOR else f"not {over!r}"
        raise TypeError(f"a rule adds up over 'tensor', 'group' or 'run': {said}")


def total(x: Symbol, axis: int | None = None) -> Symbol:
    """Return the sum over an axis, which is kept with length 1, or over all elements of each tensor."""
    return _along("sum", x, axis)


def largest(x: Symbol, axis: int | None = None) -> Symbol:
    """Return the largest along an axis, which is kept with length 1, or of all elements of each tensor."""
    if _traced.get() == VECTOR:
        raise TypeError("a function takes the maximum of two: maximum(x, y)")
    return _along("amax", x, axis)


def _along(op: str, x: Symbol, axis: int | None) -> Symbol:
    shape = list(x.shape) if axis is not None else [1] * x.ndim
    if axis is None and _traced.get() == VECTOR:
        shape = []
    if axis is not None:
        shape[axis] = 1
    name = "" if axis is None else str(axis)
    return Symbol(node(op, x.node, name=name, is_array=x.node.is_array, shape=tuple(shape)))


def sides_of(x: Symbol) -> tuple[tuple[int, ...], int, int]:
    """Return the shape of a tensor of matrices: of the stack, and the numbers of rows and columns."""
    _check_whole()
    if x.ndim < 2:
        raise TypeError(f"a matrix is needed, but this tensor has the shape {x.shape}: see p.ndim first")
    return x.shape[:-2], x.shape[-2], x.shape[-1]


def factorized(op: str, *operands: Symbol, shape: tuple[int, ...]) -> Symbol:
    """Return the symbol of what LAPACK computes of whole matrices."""
    _check_whole()
    return Symbol(node(op, *(each.node for each in operands), is_array=True, shape=shape))


def rows_of(x: Symbol, first: int, last: int) -> Symbol:
    """Return some rows of a matrix."""
    *stack, _, columns = x.shape
    return Symbol(
        node("rows", x.node, name=f"{first}:{last}", is_array=True, shape=(*stack, last - first, columns))
    )


def _joined(op: str, *operands: object) -> Symbol:
    args = tuple(as_node(operand) for operand in operands)
    if not all(arg.is_condition for arg in args):
        raise TypeError("& | ~ join comparisons, each in parentheses: (x > 0) & (x < 1)")
    return Symbol(node(op, *args, is_array=any(arg.is_array for arg in args)))
