"""Tracing: an update rule is called once with symbols, which record its operations as a program.

An elementwise rule is traced without shapes, since all of its arrays have the same one. A per-tensor rule is traced
for the shape of one tensor, without the lane axis, and may combine arrays of different shapes.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import Any, Union

import numpy as np

from optrun.kernels.program import Node, Program, coefficients_of, node, nodes_below

Operand = Union["Symbol", float]

_is_per_tensor: ContextVar[bool] = ContextVar("_is_per_tensor", default=True)
"""Whether the rule that is being traced is a per-tensor rule."""


class Symbol:
    """A symbolic value; operators and the primitives of `optrun.optim.ops` build the graph of a program."""

    __hash__ = None  # type: ignore[assignment]
    __array_ufunc__ = None

    def __init__(self, node: Node) -> None:
        self.node = node

    def __add__(self, other: Operand) -> "Symbol":
        return apply("add", self, other)

    def __radd__(self, other: Operand) -> "Symbol":
        return apply("add", other, self)

    def __sub__(self, other: Operand) -> "Symbol":
        return apply("sub", self, other)

    def __rsub__(self, other: Operand) -> "Symbol":
        return apply("sub", other, self)

    def __mul__(self, other: Operand) -> "Symbol":
        return apply("mul", self, other)

    def __rmul__(self, other: Operand) -> "Symbol":
        return apply("mul", other, self)

    def __truediv__(self, other: Operand) -> "Symbol":
        return apply("div", self, other)

    def __rtruediv__(self, other: Operand) -> "Symbol":
        return apply("div", other, self)

    def __pow__(self, other: Operand) -> "Symbol":
        return apply("pow", self, other)

    def __rpow__(self, other: Operand) -> "Symbol":
        return apply("pow", other, self)

    def __neg__(self) -> "Symbol":
        return apply("neg", self)

    def __matmul__(self, other: "Symbol") -> "Symbol":
        _check_per_tensor()
        left, right = as_node(self), as_node(other)
        shape = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        if len(left.shape) < 2 or len(right.shape) < 2 or left.shape[-1] != right.shape[-2]:
            raise TypeError(f"no product of {left.shape} and {right.shape}")
        shape = (*shape, left.shape[-2], right.shape[-1])
        return Symbol(node("matmul", left, right, is_array=True, shape=shape))

    @property
    def mT(self) -> "Symbol":
        """The transpose of the last two axes, as in torch."""
        *stack, rows, columns = self.shape
        return Symbol(node("transpose", self.node, is_array=True, shape=(*stack, columns, rows)))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one lane's array; only in a per-tensor rule."""
        _check_per_tensor()
        return self.node.shape

    @property
    def ndim(self) -> int:
        """The number of axes of one lane's array; only in a per-tensor rule."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements of one lane's array; only in a per-tensor rule."""
        return math.prod(self.shape)

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

    def __bool__(self) -> bool:
        raise TypeError("a rule cannot branch on a value that differs between lanes or steps: use where(...)")


class Variable(Symbol):
    """A symbol that a rule assigns to in place: the parameters or a state."""

    def __init__(self, node: Node, dtype: str = "", *, inputs_first: bool = False) -> None:
        super().__init__(node)
        self.dtype = dtype
        """The dtype of the parameters; only in a per-tensor rule."""
        self._inputs_first = inputs_first

    @property
    def fans(self) -> tuple[int, int]:
        """The fan-in and fan-out of a weight matrix; only in a per-tensor rule."""
        rows, columns = self.shape[-2:]
        return (rows, columns) if self._inputs_first else (columns, rows)

    def __setitem__(self, key: slice, value: Operand) -> None:
        if key != slice(None):
            raise TypeError("a rule assigns whole arrays: name[:] = ...")
        new, shape = as_node(value), self.node.shape
        sizes = zip(reversed(new.shape), reversed(shape), strict=False)
        if len(new.shape) > len(shape) or any(size not in (1, own) for size, own in sizes):
            raise TypeError(f"an array of {new.shape} does not fit into one of {shape}")
        self.node = new if new.shape == shape else node("copy", new, is_array=True, shape=shape)

    def __iadd__(self, other: Operand) -> "Variable":
        self[:] = apply("add", self, other)
        return self

    def __isub__(self, other: Operand) -> "Variable":
        self[:] = apply("sub", self, other)
        return self

    def __imul__(self, other: Operand) -> "Variable":
        self[:] = apply("mul", self, other)
        return self

    def __itruediv__(self, other: Operand) -> "Variable":
        self[:] = apply("div", self, other)
        return self


def _check_per_tensor() -> None:
    if not _is_per_tensor.get():
        raise TypeError(
            "norm, mean, total, @, mT and shape need whole tensors, but an elementwise rule sees single elements: "
            "set per_tensor = True in its class"
        )


def as_node(value: object) -> Node:
    """Return the node of a symbol or of a Python number."""
    if isinstance(value, Symbol):
        return value.node
    if isinstance(value, (int, float)):
        # Keyed by its bits: 0.0 and -0.0 are equal, but not the same constant.
        return node("const", name=float(value).hex(), value=float(value))
    raise TypeError(f"a rule combines symbols and numbers, not {type(value).__name__}")


def apply(op: str, *operands: object) -> Symbol:
    """Return the symbol of an operation on symbols and Python numbers."""
    args = tuple(as_node(operand) for operand in operands)
    is_array = any(arg.is_array for arg in args)
    if is_array and op == "div" and not args[1].is_array:
        # For an array, dividing by a coefficient is five times slower than multiplying by its reciprocal.
        return apply("mul", apply("div", 1.0, Symbol(args[1])), Symbol(args[0]))
    if is_array and op == "pow":
        raise TypeError("a rule may raise coefficients to a power, not arrays: write x * x or sqrt(x)")
    return Symbol(node(op, *args, is_array=is_array))


def trace(
    update: Callable[..., object],
    states: Iterable[str],
    hyperparameters: Iterable[str],
    flags: Mapping[str, Any],
    *,
    maximize: bool = False,
    scalar_states: Iterable[str] = (),
    kept: Iterable[str] = (),
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    dtype: str = "",
    inputs_first: bool = False,
) -> Program:
    """Return the program of an update rule.

    ``update(p, g, t, *states, **hyperparameters, **flags)`` is called once. It may branch on ``flags``, which are
    passed as they are. ``scalar_states`` names the states with one number per lane, ``kept`` the states that are
    computed even if the parameters do not depend on them. A per-tensor rule needs the ``shapes`` of `p` and of every
    state, the dtype, and whether weight matrices are `[in, out]`.
    """
    scalars = frozenset(scalar_states)
    for_tensors = shapes is not None
    shapes = shapes or {}
    variables = {
        name: Variable(
            node("scalar_state", name=name)
            if name in scalars
            else node("input", name=name, is_array=True, shape=shapes.get(name, ())),
            dtype,
            inputs_first=inputs_first,
        )
        for name in ("p", *states)
    }
    gradient = Symbol(node("input", name="g", is_array=True, shape=shapes.get("p", ())))
    symbols = {name: Symbol(node("hyperparameter", name=name)) for name in hyperparameters}
    token = _is_per_tensor.set(for_tensors)
    try:
        returned = update(
            variables["p"],
            -gradient if maximize else gradient,
            Symbol(node("t")),
            *(variables[name] for name in states),
            **symbols,
            **flags,
        )
    finally:
        _is_per_tensor.reset(token)
    if returned is not None:
        raise TypeError(
            "update returns a value: it assigns in place, p -= … or p[:] = …, and returns nothing"
        )
    new = {name: variable.node for name, variable in variables.items()}
    untouched = [name for name, value in new.items() if value.name == name and not value.args]
    assigned = {name: value for name, value in new.items() if name not in untouched}
    read = {value.name for value in nodes_below(assigned.values()) if value.op in ("input", "scalar_state")}
    for name in untouched:
        if name != "p" and name not in read:
            continue  # state that a flag disables
        raise TypeError(f"update never assigns {name} in place: write {name} -= … or {name}[:] = …")
    arrays = {name: value for name, value in new.items() if name not in scalars}
    carried = {name: value for name, value in assigned.items() if name in scalars}
    for name, value in carried.items():
        if value.is_array:
            raise TypeError(f"{name} is one number per lane, but depends on arrays")
    return Program(arrays, tuple(coefficients_of(arrays)), carried, frozenset(("p", *kept)))
