"""Matrix products whose bits depend on their shapes alone: large ones are cut into blocks, which threads share.

BLAS itself runs on one thread. A block is the same product in every thread, for any number of threads, and for a lane
alone as in a pack.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from optrun.arrays import Array
from optrun.kernels.threads import Piece, run_in_threads, threads_per_step

Block: TypeAlias = tuple[slice, slice]

CUT_ABOVE = 1 << 24
"""Multiplications of a product or a block of one above which it is cut: a third of a millisecond, several times what
it takes a thread to wake."""

LEAST_SIDE = 256
"""Rows or columns that are not cut any more: BLAS copies its operands for each block, in the time of 20 of them."""

EDGE = 64
"""Blocks begin at multiples, which suit the registers of any processor."""


def multiply(xp: Any, most: int) -> Callable[..., Any]:
    """Return what multiplies matrices: ``xp.matmul``, unless products of so many multiplications are to be cut."""
    return matmul if xp is np and most > CUT_ABOVE else xp.matmul


def matmul(left: Array, right: Array, *, out: Array) -> None:
    """Write the products ``[..., m, n]`` of ``[..., m, k]`` and ``[..., k, n]`` to ``out``, on all threads."""
    cut = blocks(left.shape[-2], left.shape[-1], right.shape[-1])

    def piece(rows: slice, columns: slice) -> Piece:
        return lambda thread: np.matmul(left[..., rows, :], right[..., columns], out=out[..., rows, columns])

    run_in_threads([piece(*each) for each in cut], threads_per_step())()


@cache
def blocks(m: int, k: int, n: int) -> tuple[Block, ...]:
    """Return the rows and columns of each block: the longer side is halved as long as a block is large."""

    def halved(rows: slice, columns: slice) -> list[Block]:
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if height * width * k <= CUT_ABOVE or max(height, width) < 2 * LEAST_SIDE:
            return [(rows, columns)]
        if height > width:
            return [each for half in _halves(rows) for each in halved(half, columns)]
        return [each for half in _halves(columns) for each in halved(rows, half)]

    return tuple(halved(slice(0, m), slice(0, n)))


def _halves(part: slice) -> tuple[slice, slice]:
    middle = part.start + (part.stop - part.start) // (2 * EDGE) * EDGE
    return slice(part.start, middle), slice(middle, part.stop)
