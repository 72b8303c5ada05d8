"""The words of update rules, for symbols and for arrays alike."""

from typing import Any

import numpy as np

from optrun.kernels.program import node
from optrun.kernels.trace import Symbol, apply


def _word(op: str, function: Any, *operands: Any) -> Any:
    if any(isinstance(operand, Symbol) for operand in operands):
        return apply(op, *operands)
    return function(*operands)


def sqrt(x: Any) -> Any:
    """√x."""
    return _word("sqrt", np.sqrt, x)


def abs(x: Any) -> Any:
    """|x|."""
    return _word("abs", np.absolute, x)


def sign(x: Any) -> Any:
    """-1, 0 or 1."""
    return _word("sign", np.sign, x)


def maximum(x: Any, y: Any) -> Any:
    """The larger of the two, elementwise; NaN where either is."""
    return _word("max", np.maximum, x, y)


def minimum(x: Any, y: Any) -> Any:
    """The smaller of the two, elementwise; NaN where either is."""
    return _word("min", np.minimum, x, y)


def where(condition: Any, x: Any, y: Any) -> Any:
    """The first value where the condition holds, the second one elsewhere."""
    return _word("where", np.where, condition, x, y)


def debias(beta: Any, t: Any) -> Any:
    """1 - βᵗ, the weight that an average started at zero has gathered after t steps."""
    return 1 - beta**t


def lerp(start: Any, end: Any, weight: Any) -> Any:
    """The value at a weight between two others, from the end that is nearer, so that weight 1 gives `end` itself."""
    difference = end - start
    return where(weight < 0.5, start + weight * difference, end - (1 - weight) * difference)


def mean(x: Any, axis: int | None = None) -> Any:
    """The mean over rows (axis -2), columns (axis -1) or, without an axis, all elements of each tensor; 0 of none."""
    count = x.size if axis is None else x.shape[axis]
    return total(x, axis) / float(max(count, 1))


def total(x: Any, axis: int | None = None) -> Any:
    """The sum over an axis of each tensor, which stays with length 1, or over all elements."""
    shape = [1] * x.ndim if axis is None else list(x.shape)
    if axis is not None:
        shape[axis] = 1
    name = "" if axis is None else str(axis)
    return Symbol(node("sum", x.node, name=name, is_array=True, shape=tuple(shape)))


def norm(x: Any) -> Any:
    """√Σ x² of each tensor: the Frobenius norm of a matrix."""
    return sqrt(total(x * x))
