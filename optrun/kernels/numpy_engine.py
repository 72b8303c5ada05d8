"""The NumPy engine: a listing becomes one Python function of ufunc calls, run tile by tile.

A tile is as much of every buffer as stays in the cache between two instructions. Tiles, scratch and views are
made once, so a step allocates nothing. Elementwise operations give the same bits in any tiling.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np

from optrun.arrays import Array
from optrun.kernels.lower import Instruction, Listing

TILE_BYTES = 1 << 17

UFUNCS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "div": "divide",
    "sqrt": "sqrt",
    "abs": "absolute",
    "sign": "sign",
    "max": "maximum",
    "min": "minimum",
    "gt": "greater",
    "ge": "greater_equal",
    "lt": "less",
    "le": "less_equal",
    "eq": "equal",
    "ne": "not_equal",
}


class NumpyEngine:
    """Binds listings to buffers; the scratch of equal tiles is shared."""

    def __init__(self, tile_bytes: int = TILE_BYTES) -> None:
        self.tile_bytes = tile_bytes
        self._scratch: dict[tuple[str, tuple[int, int], str, str], Array] = {}

    def bind(
        self, listing: Listing, buffers: Mapping[str, Array], coefficients: Sequence[Array]
    ) -> Callable[[], None]:
        """Return the function that runs the listing once.

        Every buffer is `[B, n]` in one layout; a coefficient is a 0-d array or `[B, 1]`. Buffers and coefficients
        are read anew at every call.
        """
        function = _compile(listing)
        tiles = [
            tuple(self._argument(name, lanes, columns, buffers, coefficients) for name in _arguments(listing))
            for lanes, columns in _tiles(buffers["p"], self.tile_bytes)
        ]
        if len(tiles) == 1:
            only = tiles[0]
            return lambda: function(*only)

        def run() -> None:
            for tile in tiles:
                function(*tile)

        return run

    def _argument(
        self,
        name: str,
        lanes: slice,
        columns: slice,
        buffers: Mapping[str, Array],
        coefficients: Sequence[Array],
    ) -> Array:
        if name in buffers:
            return buffers[name][lanes, columns]
        if name.startswith("_c"):
            coefficient = coefficients[int(name[2:])]
            return coefficient[lanes] if coefficient.ndim else coefficient
        tile = buffers["p"][lanes, columns]
        dtype = "bool" if name.startswith("_b") else str(tile.dtype)
        order = "F" if is_lane_fast(buffers["p"]) else "C"
        key = (name, tile.shape, dtype, order)
        if key not in self._scratch:
            self._scratch[key] = np.empty(tile.shape, dtype, order)  # type: ignore[call-overload]
        return self._scratch[key]


def is_lane_fast(buffer: Array) -> bool:
    """Return whether neighbours in memory are the lanes of one element of a buffer `[B, n]`."""
    return buffer.strides[0] < buffer.strides[1]


def _tiles(buffer: Array, tile_bytes: int) -> list[tuple[slice, slice]]:
    """Return the tiles of a buffer `[B, n]`: whole lanes where several fit, pieces of one lane otherwise."""
    lanes, size = buffer.shape
    elements = max(1, tile_bytes // buffer.itemsize)
    height = max(1, elements // max(1, size))
    width = size if height > 1 or size <= elements else elements
    return [
        (slice(lane, min(lane + height, lanes)), slice(column, min(column + width, size)))
        for lane in range(0, lanes, height)
        for column in range(0, size, max(1, width))
    ]


def _arguments(listing: Listing) -> list[str]:
    return listing.variables() + [name for prefix in ("_c", "_s", "_b") for name in listing.names(prefix)]


@cache
def _compile(listing: Listing) -> Callable[..., None]:
    """Return the listing as a Python function of its buffers."""
    lines = [line for instruction in listing.instructions for line in _emit(instruction)]
    source = f"def step({', '.join(_arguments(listing))}):\n    " + "\n    ".join(lines or ["pass"])
    namespace: dict[str, Callable[..., None]] = {name: getattr(np, name) for name in UFUNCS.values()}
    namespace["copyto"] = np.copyto
    exec(compile(source, "<step>", "exec"), namespace)
    return namespace["step"]


def _emit(instruction: Instruction) -> list[str]:
    target, operands = instruction.target, instruction.operands
    if instruction.op == "copy":
        return [f"copyto({target}, {operands[0]})"]
    if instruction.op == "where":
        condition, if_true, if_false = operands
        fill = [] if target == if_false else [f"copyto({target}, {if_false})"]
        return [*fill, f"copyto({target}, {if_true}, where={condition})"]
    if instruction.op == "neg":
        # NumPy 2.4 negates wrongly where the input lies four floats or eight doubles apart.
        return [f"multiply({operands[0]}, -1, out={target})"]
    if instruction.op == "nonzero":
        return [f"not_equal({operands[0]}, 0, out={target})"]
    return [f"{UFUNCS[instruction.op]}({', '.join(operands)}, out={target})"]
