"""The words of update rules and of functions, for symbols and arrays.

All engines give the same bits for them: what is not one operation of the processor is computed in elementary ones.
"""

from typing import Any

import numpy as np

from optrun.kernels.symbols import (
    Symbol,
    apply,
    counted,
    factorized,
    largest,
    reduced,
    rows_of,
    sides_of,
    total,
)

__all__ = [
    "abs", "amax", "arctan", "clip", "cos", "debias", "detach", "dot", "eigh", "exp", "floor", "identity",
    "inverse_root", "lerp",
    "log", "log1p", "maximum", "mean", "minimum", "mod", "norm", "power", "prod", "qr", "sign", "sin", "solve",
    "sorting", "sqrt", "sum", "tanh", "total", "triu", "where",
]  # fmt: skip

OF_MATRICES = ("amax", "eigh", "identity", "inverse_root", "qr", "solve", "sorting", "triu")
"""Words of per-tensor rules, which functions do not have."""


def _word(op: str, function: Any, *operands: Any) -> Any:
    if any(isinstance(operand, Symbol) for operand in operands):
        return apply(op, *operands)
    return function(*operands)


def sqrt(x: Any) -> Any:
    """√x."""
    return _word("sqrt", np.sqrt, x)


def exp(x: Any) -> Any:
    """eˣ."""
    return _word("exp", np.exp, x)


def log(x: Any) -> Any:
    """The natural logarithm; -∞ at 0, NaN below."""
    return _word("log", np.log, x)


def log1p(x: Any) -> Any:
    """log(1 + x), accurate near 0."""
    return _word("log1p", np.log1p, x)


def sin(x: Any) -> Any:
    """sin x; NaN beyond |x| = 1.2e4 in float32, 1.6e6 in float64, where neighbouring numbers are too far apart."""
    return _word("sin", np.sin, x)


def cos(x: Any) -> Any:
    """cos x; NaN where `sin` is."""
    return _word("cos", np.cos, x)


def arctan(x: Any) -> Any:
    """The angle in (-π/2, π/2) whose tangent is x."""
    return _word("arctan", np.arctan, x)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return _word("tanh", np.tanh, x)


def abs(x: Any) -> Any:
    """|x|."""
    return _word("abs", np.absolute, x)


def sign(x: Any) -> Any:
    """-1, 0 or 1, the sign of x."""
    return _word("sign", np.sign, x)


def floor(x: Any) -> Any:
    """The largest integer that is not above x."""
    return _word("floor", np.floor, x)


def mod(x: Any, y: Any) -> Any:
    """x - y ⌊x / y⌋, the remainder with the sign of y; also ``x % y``."""
    return x % y


def power(x: Any, y: Any) -> Any:
    """xʸ; also ``x ** y``. An array to an integer or half an integer is made of products and roots; any other power of
    an array is exp(y log x), NaN for x < 0, with an error of |y log x| units in the last place.
    """
    return x**y


def maximum(x: Any, y: Any) -> Any:
    """The elementwise maximum; NaN if either is NaN."""
    return _word("max", np.maximum, x, y)


def minimum(x: Any, y: Any) -> Any:
    """The elementwise minimum; NaN if either is NaN."""
    return _word("min", np.minimum, x, y)


def clip(x: Any, least: Any, most: Any) -> Any:
    """x within bounds."""
    return minimum(maximum(x, least), most)


def where(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition holds, otherwise y."""
    return _word("where", np.where, condition, x, y)


def detach(x: Any) -> Any:
    """x, which a gradient takes for a constant, as torch's ``x.detach()``."""
    return apply("detach", x) if isinstance(x, Symbol) and x.node.is_array else x


def debias(beta: Any, t: Any) -> Any:
    """1 - βᵗ, the bias correction of an exponential average that started at zero, after t steps."""
    return 1 - beta**t


def lerp(start: Any, end: Any, weight: Any) -> Any:
    """Linear interpolation, exact at both ends."""
    difference = end - start
    return where(weight < 0.5, start + weight * difference, end - (1 - weight) * difference)


def sum(x: Any, axis: int | None = None, *, over: str | None = None) -> Any:
    """The sum of all elements of a vector or tensor, or over an axis of tensors, which is kept with length 1.

    ``over`` says in a rule what else is added up: ``"tensor"``, all parameters of the ``"group"``, or all of the
    ``"run"``. The sum is one number per lane then.
    """
    if over is not None and axis is None:
        return reduced(x, over)
    return total(x, axis) if isinstance(x, Symbol) else np.sum(x, axis, keepdims=axis is not None)


def mean(x: Any, axis: int | None = None, *, over: str | None = None) -> Any:
    """The mean over rows (axis -2), columns (axis -1) or all elements; 0 if there are none; ``over`` as in `sum`."""
    if over is not None:
        return reduced(x, over) / maximum(counted(x, over), 1.0)
    count = x.size if axis is None else x.shape[axis]
    return sum(x, axis) / float(max(count, 1))


def amax(x: Any, axis: int | None = None) -> Any:
    """The largest of rows (axis -2), columns (axis -1) or all elements, as torch's; 0 if there are none; in a rule."""
    return largest(x, axis) if isinstance(x, Symbol) else np.amax(x, axis, keepdims=axis is not None)


def prod(x: Any) -> Any:
    """The product of the elements of a vector."""
    if not isinstance(x, Symbol):
        return np.prod(x)
    if x.ndim != 1:
        raise TypeError("prod takes a vector")
    odd = []
    while len(x) > 1:
        half = len(x) // 2
        odd += [x[-1]] if len(x) % 2 else []
        x = x[:half] * x[half : 2 * half]
    value = x[0] if len(x) else 1.0
    for each in odd:
        value = value * each
    return value


def dot(x: Any, y: Any, *, over: str | None = None) -> Any:
    """Σ x y; ``over`` as in `sum`."""
    return sum(x * y, over=over)


def norm(x: Any, *, over: str | None = None) -> Any:
    """√Σ x², the Euclidean norm of a vector, or the Frobenius norm of each tensor; ``over`` as in `sum`."""
    return sqrt(sum(x * x, over=over))


def eigh(x: Any) -> tuple[Any, Any]:
    """The eigenvalues of symmetric matrices ``[…, n, n]``, rising, ``[…, 1, n]``, and the eigenvectors as columns.

    Only the lower triangle is read. Signs of the vectors, and those of equal values, are LAPACK's. A matrix with an
    infinite element or NaN has NaN, here and in the words below.
    """
    stack, rows, columns = sides_of(x)
    if rows != columns:
        raise TypeError(f"eigenvalues of {x.shape}")
    both = factorized("eigh", x, shape=(*stack, rows + 1, rows))
    return rows_of(both, 0, 1), rows_of(both, 1, rows + 1)


def qr(x: Any) -> Any:
    """Q of x = Q R: orthonormal columns that span those of x, as many as the shorter side has."""
    stack, rows, columns = sides_of(x)
    return factorized("qr", x, shape=(*stack, rows, min(rows, columns)))


def solve(a: Any, b: Any) -> Any:
    """The matrices x of a x = b; NaN where a is singular."""
    if sides_of(a)[1] != sides_of(a)[2] or a.shape[:-1] != b.shape[:-1]:
        raise TypeError(f"{a.shape} and {b.shape} are no system of equations")
    return factorized("solve", a, b, shape=b.shape)


def sorting(x: Any) -> Any:
    """The permutation P for which the row ``x @ P`` falls, ``[…, n, n]`` of ``[…, 1, n]``; equals keep their order."""
    stack, one, columns = sides_of(x)
    if one != 1:
        raise TypeError(f"sorting takes a row, not {x.shape}")
    return factorized("sorting", x, shape=(*stack, columns, columns))


def identity(x: Any) -> Any:
    """The identity matrix of the shape of square matrices."""
    return factorized("identity", x, shape=x.shape)


def triu(x: Any) -> Any:
    """The upper triangle of matrices, with 0 below."""
    return factorized("triu", x, shape=x.shape)


def inverse_root(x: Any, order: int, eps: Any) -> Any:
    """(x + ε)^(-1 / order) of symmetric matrices without negative eigenvalues; order is a power of two.

    What rounding makes of an eigenvalue of 0 is taken for 0 where it is negative.
    """
    if order < 1 or order & (order - 1):
        raise TypeError(f"inverse_root takes an order that is a power of two, not {order}")
    values, vectors = eigh(x)
    root = maximum(values, 0.0) + eps
    while order > 1:
        root, order = sqrt(root), order // 2
    return (vectors / root) @ vectors.mT
