"""The NumPy engine: a listing becomes one Python function of ufunc calls, applied tile by tile.

A tile is a part of every buffer that fits into the cache from one instruction to the next. Tiles, scratch and views are
created when a listing is bound, so a step allocates nothing. The bits do not depend on the tiling, since all
operations are elementwise; so threads share large numbers of tiles.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Literal

import numpy as np

from optrun.arrays import Array
from optrun.kernels.bits import BITS, apply_bits
from optrun.kernels.layout import is_lane_fast
from optrun.kernels.lower import Instruction, Listing, number_of
from optrun.kernels.program import UFUNCS
from optrun.kernels.threads import run_in_threads, threads_per_step

TILE_BYTES = 1 << 17
SHARED_ABOVE = 16
"""Number of tiles above which several threads are used; fewer are done before another thread has started."""
SHARED_TILE = 4
"""How much larger tiles are with several threads, which hand over the GIL at every instruction."""


class NumpyEngine:
    """Binds listings to buffers; tiles of the same shape share scratch arrays."""

    def __init__(self, tile_bytes: int = TILE_BYTES, threads: int | None = None) -> None:
        self.tile_bytes = tile_bytes
        self._threads = threads_per_step() if threads is None else threads
        self._scratch: dict[tuple[object, ...], Array] = {}

    def bind(
        self, listing: Listing, buffers: Mapping[str, Array], coefficients: Sequence[Array]
    ) -> Callable[[], None]:
        """Return the function that runs the listing once.

        Every buffer is `[B, n]`, all in one layout; a coefficient is a 0-d array or `[B, 1]`. Buffers and coefficients
        are read at every call.
        """
        function = _compile(listing)
        tiles = _tiles(buffers["p"], self.tile_bytes)
        threads = self._threads if len(tiles) > SHARED_ABOVE else 1
        if threads > 1:
            tiles = _tiles(buffers["p"], SHARED_TILE * self.tile_bytes)

        def part(name: str, lanes: slice, columns: slice) -> Array:
            if name in buffers:
                return buffers[name][lanes, columns]
            coefficient = coefficients[int(name[2:])]
            return coefficient[lanes] if coefficient.ndim else coefficient

        pieces = []
        numbers = [np.array(number_of(name), buffers["p"].dtype) for name in _numbers(listing)]
        for lanes, columns in tiles:
            own = [part(name, lanes, columns) for name in listing.arguments()] + numbers
            shape = buffers["p"][lanes, columns].shape
            scratch = [self._scratch_of(listing, buffers["p"], shape, thread) for thread in range(threads)]
            if len(tiles) == 1:
                return partial(function, *own, *scratch[0])
            pieces.append(partial(_run, function, own, scratch))
        return run_in_threads(pieces, threads)

    def _scratch_of(
        self, listing: Listing, parameters: Array, shape: tuple[int, ...], thread: int
    ) -> list[Array]:
        """Return a thread's scratch arrays for tiles of this shape."""
        order: Literal["C", "F"] = "F" if is_lane_fast(parameters) else "C"
        arrays = []
        for name in _scratch_names(listing):
            dtype = "bool" if name.startswith("_b") else parameters.dtype.name
            key = (name, shape, dtype, order, thread)
            if key not in self._scratch:
                self._scratch[key] = np.empty(shape, dtype, order)
            arrays.append(self._scratch[key])
        return arrays


def _run(
    function: Callable[..., None], own: Sequence[Array], scratch: Sequence[Sequence[Array]], thread: int
) -> None:
    function(*own, *scratch[thread])


def _tiles(buffer: Array, tile_bytes: int) -> list[tuple[slice, slice]]:
    """Return the tiles of a buffer `[B, n]`: several whole lanes if they fit, otherwise parts of one lane."""
    lanes, size = buffer.shape
    elements = max(1, tile_bytes // buffer.itemsize)
    height = max(1, elements // max(1, size))
    width = size if height > 1 or size <= elements else elements
    return [
        (slice(lane, min(lane + height, lanes)), slice(column, min(column + width, size)))
        for lane in range(0, lanes, height)
        for column in range(0, size, max(1, width))
    ]


def _scratch_names(listing: Listing) -> list[str]:
    return listing.names("_s") + listing.names("_b")


def _numbers(listing: Listing) -> list[str]:
    """Return the numbers in a listing, as arrays, since ufuncs take twice as long with Python's: -1 and 0 first."""
    return [f"_k{(-1.0).hex()}", f"_k{(0.0).hex()}", *listing.names("_k")]


@cache
def _compile(listing: Listing) -> Callable[..., None]:
    """Return the listing compiled to a Python function of its arguments, its numbers and scratch arrays."""
    numbers = ["_minus", "_zero", *(f"_k{index}" for index, _ in enumerate(listing.names("_k")))]
    named = dict(zip(listing.names("_k"), numbers[2:], strict=True))
    lines = [line for instruction in listing.instructions for line in _emit(instruction, named)]
    source = (
        f"def step({', '.join([*listing.arguments(), *numbers, *_scratch_names(listing)])}):\n    "
        + "\n    ".join(lines or ["pass"])
    )
    namespace: dict[str, Callable[..., None]] = {each.__name__: each for each in UFUNCS.values()}
    namespace |= {"copyto": np.copyto, **{op: partial(apply_bits, np, op) for op in BITS}}
    exec(compile(source, "<step>", "exec"), namespace)
    return namespace["step"]


def _emit(instruction: Instruction, numbers: Mapping[str, str]) -> list[str]:
    target, operands = instruction.target, [numbers.get(name, name) for name in instruction.operands]
    if instruction.op == "copy":
        return [f"copyto({target}, {operands[0]})"]
    if instruction.op == "where":
        condition, if_true, if_false = operands
        fill = [] if target == if_false else [f"copyto({target}, {if_false})"]
        return [*fill, f"copyto({target}, {if_true}, where={condition})"]
    if instruction.op == "neg":
        # np.negative of NumPy 2.4 is wrong for inputs with a stride of four floats or eight doubles.
        return [f"multiply({operands[0]}, _minus, out={target})"]
    if instruction.op == "nonzero":
        return [f"not_equal({operands[0]}, _zero, out={target})"]
    if instruction.op in BITS:
        return [f"{instruction.op}({operands[0]}, {target})"]
    return [f"{UFUNCS[instruction.op].__name__}({', '.join(operands)}, out={target})"]
