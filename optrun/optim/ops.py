"""The primitives of update rules, for symbols and arrays."""

from typing import Any

import numpy as np

from optrun.kernels.program import node
from optrun.kernels.trace import Symbol, apply


def _primitive(op: str, function: Any, *operands: Any) -> Any:
    if any(isinstance(operand, Symbol) for operand in operands):
        return apply(op, *operands)
    return function(*operands)


def sqrt(x: Any) -> Any:
    """√x."""
    return _primitive("sqrt", np.sqrt, x)


def abs(x: Any) -> Any:
    """|x|."""
    return _primitive("abs", np.absolute, x)


def sign(x: Any) -> Any:
    """-1, 0 or 1, the sign of x."""
    return _primitive("sign", np.sign, x)


def maximum(x: Any, y: Any) -> Any:
    """The elementwise maximum; NaN if either is NaN."""
    return _primitive("max", np.maximum, x, y)


def minimum(x: Any, y: Any) -> Any:
    """The elementwise minimum; NaN if either is NaN."""
    return _primitive("min", np.minimum, x, y)


def where(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition holds, otherwise y."""
    return _primitive("where", np.where, condition, x, y)


def debias(beta: Any, t: Any) -> Any:
    """1 - βᵗ, the bias correction of an exponential average that started at zero, after t steps."""
    return 1 - beta**t


def lerp(start: Any, end: Any, weight: Any) -> Any:
    """Linear interpolation, exact at both ends."""
    difference = end - start
    return where(weight < 0.5, start + weight * difference, end - (1 - weight) * difference)


def mean(x: Any, axis: int | None = None) -> Any:
    """The mean over rows (axis -2), columns (axis -1) or all elements of each tensor; 0 if there are none."""
    count = x.size if axis is None else x.shape[axis]
    return total(x, axis) / float(max(count, 1))


def total(x: Any, axis: int | None = None) -> Any:
    """The sum over an axis, which is kept with length 1, or over all elements of each tensor."""
    shape = [1] * x.ndim if axis is None else list(x.shape)
    if axis is not None:
        shape[axis] = 1
    name = "" if axis is None else str(axis)
    return Symbol(node("sum", x.node, name=name, is_array=True, shape=tuple(shape)))


def norm(x: Any) -> Any:
    """√Σ x², the Frobenius norm of each tensor."""
    return sqrt(total(x * x))
