"""Matrix products whose bits depend on their shapes alone: large ones are cut into blocks, which threads share.

BLAS itself runs on one thread. A block is the same product in every thread, for any number of threads, and for a lane
alone as in a pack.
"""

import math
from collections.abc import Callable, Iterable
from functools import cache
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from optrun.arrays import Array
from optrun.kernels.threads import Piece, by_any_thread, run_in_threads, threads_per_step

Block: TypeAlias = tuple[slice, slice]
Product: TypeAlias = tuple[Array, Array, Array]
"""Its factors and the array that it is written to."""

CUT_ABOVE = 3 << 22
"""Multiplications of a product above which it is cut in two, and of independent ones above which threads share them:
0.1 to 0.2 ms, several times what a thread takes to wake."""

HALVED_ABOVE = 1 << 27
"""Multiplications of a block above which it is halved once more: BLAS copies its operands for each block, in the time
of 20 rows and 20 columns."""

LEAST_SIDE = 256
"""Rows or columns of a whole product that are not cut; of a block, four times as many."""

PART = 256
"""Samples of a part of a batch, or half as many of each of two parts, and the fewest that are cut into parts.

BLAS copies the weights for each part: where layers are wide, products are cut instead.
"""

EDGE = 64
"""Blocks begin at multiples, which suit the registers of any processor."""


def multiply(xp: Any, most: int) -> Callable[..., None]:
    """Return what writes the products of matrices: `matmuls` if some, of ``most`` multiplications, are to be cut."""
    if xp is np and most > CUT_ABOVE:
        return matmuls

    def in_turn(*products: Product) -> None:
        for left, right, out in products:
            xp.matmul(left, right, out=out)

    return in_turn


def matmuls(*products: Product) -> None:
    """Write independent products ``[..., m, n]`` of ``[..., m, k]`` and ``[..., k, n]``, on all threads."""

    def piece(product: Product, rows: slice, columns: slice) -> Piece:
        left, right, out = product
        return lambda thread: np.matmul(left[..., rows, :], right[..., columns], out=out[..., rows, columns])

    shapes = [(*left.shape[-2:], right.shape[-1]) for left, right, _ in products]
    pieces = [
        piece(each, *block) for each, shape in zip(products, shapes, strict=True) for block in blocks(*shape)
    ]
    is_shared = sum(map(math.prod, shapes)) > CUT_ABOVE
    run_in_threads(pieces, threads_per_step() if is_shared else 1)()


@cache
def blocks(m: int, k: int, n: int) -> tuple[Block, ...]:
    """Return the rows and columns of each block: the longer side is halved, and again as long as a block is large."""

    def halved(rows: slice, columns: slice, above: int, least: int) -> list[Block]:
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if height * width * k <= above or max(height, width) < least:
            return [(rows, columns)]
        halves = (
            [(half, columns) for half in _halves(rows)]
            if height > width
            else [(rows, half) for half in _halves(columns)]
        )
        return [block for half in halves for block in halved(*half, HALVED_ABOVE, 4 * LEAST_SIDE)]

    return tuple(halved(slice(0, m), slice(0, n), CUT_ABOVE, LEAST_SIDE))


def _halves(part: slice) -> tuple[slice, slice]:
    middle = part.start + (part.stop - part.start) // (2 * EDGE) * EDGE
    return slice(part.start, middle), slice(middle, part.stop)


def share(calls: Iterable[Callable[[], object]]) -> None:
    """Make independent calls, on all threads."""
    run_in_threads([*map(by_any_thread, calls)], threads_per_step())()


def parts(samples: int, most: int) -> list[slice]:
    """Return the parts of a batch that threads share, each through all layers; none where they share products instead.

    ``most`` are the multiplications for a sample in one product.
    """
    count = min(max(2, samples // PART), 2 * samples * most // CUT_ABOVE)
    if count < 2 or samples < PART or PART * most > HALVED_ABOVE:
        return []
    bounds = [part * samples // count // EDGE * EDGE for part in range(count)]
    return [slice(start, stop) for start, stop in pairwise([*bounds, samples])]
