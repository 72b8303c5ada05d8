"""Eigenvectors, orthonormal bases and solutions of stacked matrices.

NumPy calls LAPACK for one matrix after the other, so the bits of a result depend on its own matrix alone, whatever else
is in the stack. They are computed on the host, also for a device, so that a lane there has the bits of its solo run.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from optrun.arrays import Array


def factorize(xp: Any, op: str, operands: Sequence[Array], target: Array) -> None:
    """Write the result of an operation on matrices ``[…, m, n]`` to the target: NaN where an operand is not finite."""
    hosts = operands if xp is np else [xp.asnumpy(each) for each in operands]
    with np.errstate(all="ignore"):
        result = _of_finite(_FUNCTIONS[op], *hosts)
    target[...] = result if xp is np else xp.asarray(result)


def _of_finite(function: Callable[..., Array], *operands: Array) -> Array:
    """Return a function of stacked matrices; LAPACK fails for a whole stack if one of its matrices is not finite."""
    finite = np.logical_and.reduce([np.isfinite(each).all(axis=(-2, -1)) for each in operands])
    if not finite.all():
        operands = tuple(np.where(finite[..., None, None], each, _identity(each)) for each in operands)
    try:
        result = function(*operands)
    except np.linalg.LinAlgError:
        result = _one_by_one(function, *operands)
    if not finite.all():
        result[~finite] = np.nan
    return result


def _identity(x: Array) -> Array:
    return np.eye(*x.shape[-2:], dtype=x.dtype)


def _one_by_one(function: Callable[..., Array], *operands: Array) -> Array:
    """Return a function of each matrix by itself; NaN where LAPACK fails."""
    results: dict[tuple[int, ...], Array] = {}
    stack = operands[0].shape[:-2]
    for index in np.ndindex(stack):
        try:
            results[index] = function(*(each[index] for each in operands))
        except np.linalg.LinAlgError:
            continue
    like = next(iter(results.values()), function(*(_identity(each) for each in operands)))
    found = np.full((*stack, *like.shape), np.nan, like.dtype)
    for index, result in results.items():
        found[index] = result
    return found


def _eigh(x: Array) -> Array:
    values, vectors = np.linalg.eigh(x)
    return np.concatenate([values[..., None, :], vectors], axis=-2)


def _qr(x: Array) -> Array:
    return np.linalg.qr(x).Q


def _sorting(x: Array) -> Array:
    order = np.argsort(-x[..., 0, :], axis=-1, kind="stable")
    return np.asarray(np.arange(x.shape[-1])[:, None] == order[..., None, :], x.dtype)


def _identity_of(x: Array) -> Array:
    return np.broadcast_to(_identity(x), x.shape).copy()


_FUNCTIONS: dict[str, Callable[..., Array]] = {
    "eigh": _eigh,
    "qr": _qr,
    "solve": np.linalg.solve,
    "sorting": _sorting,
    "identity": _identity_of,
    "triu": np.triu,
}
