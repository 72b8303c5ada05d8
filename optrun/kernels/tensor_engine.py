"""The engine for per-tensor rules: every instruction is one array call on the tensors of all lanes.

Matrix products are batched over lanes, and sums are pairwise, so a lane has the bits of its solo run. All buffers are
allocated when a listing is bound, so a step allocates nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.kernels.cuda.launches import launch
from optrun.kernels.lower import Instruction, Listing
from optrun.kernels.numpy_engine import UFUNCS


class TensorEngine:
    """Binds listings to the tensors `[B, *shape]` of all lanes; ``xp`` is NumPy or CuPy."""

    def __init__(self, xp: Any = np) -> None:
        self._xp = xp

    def bind(
        self, listing: Listing, buffers: Mapping[str, Array], coefficients: Sequence[Array]
    ) -> Callable[[], None]:
        """Return the function that runs the listing once; a coefficient is a 0-d array or `[B, 1]`."""
        parameters = buffers["p"]
        lanes, rank = len(parameters), max(buffer.ndim for buffer in buffers.values()) - 1
        arrays = {name: _padded(buffer, rank) for name, buffer in buffers.items()}
        for name, shape in listing.shapes:
            dtype = "bool" if name.startswith("_b") else parameters.dtype
            arrays[name] = _padded(self._xp.empty((lanes, *shape), dtype), rank)
        for index, coefficient in enumerate(coefficients):
            is_per_lane = coefficient.ndim > 0
            arrays[f"_c{index}"] = coefficient.reshape(lanes, *(1,) * rank) if is_per_lane else coefficient
        calls = [call for instruction in listing.instructions for call in self._calls(instruction, arrays)]

        def run() -> None:
            for call in calls:
                call()

        return run if self._xp is np else partial(launch, run)

    def _calls(self, instruction: Instruction, arrays: Mapping[str, Array]) -> list[Callable[[], Any]]:
        xp, target = self._xp, arrays[instruction.target]
        operands = [arrays[name] for name in instruction.operands]
        match instruction.op:
            case "copy":
                return [partial(xp.copyto, target, operands[0])]
            case "where":
                condition, if_true, if_false = operands
                fill = [] if target is if_false else [partial(xp.copyto, target, if_false)]
                return [*fill, partial(xp.copyto, target, if_true, where=condition)]
            case "neg":
                return [partial(xp.multiply, operands[0], -1, out=target)]
            case "nonzero":
                return [partial(xp.not_equal, operands[0], 0, out=target)]
            case "transpose":
                return [partial(xp.copyto, target, operands[0].swapaxes(-1, -2))]
            case "matmul":
                return self._product(operands[0], operands[1], target)
            case "sum":
                return self._sum(operands[0], target, instruction.axis)
        return [partial(getattr(xp, UFUNCS[instruction.op]), *operands, out=target)]

    def _product(self, left: Array, right: Array, target: Array) -> list[Callable[[], Any]]:
        """Return the calls of a matrix product of contiguous copies, so that bits do not depend on the layout."""
        calls: list[Callable[[], Any]] = []
        factors = []
        for factor in (left, right):
            if not factor.flags.c_contiguous:
                copied = self._xp.empty(factor.shape, factor.dtype)
                calls.append(partial(self._xp.copyto, copied, factor))
                factor = copied
            factors.append(factor)
        if target.flags.c_contiguous:
            return [*calls, partial(self._xp.matmul, *factors, out=target)]
        product = self._xp.empty(target.shape, target.dtype)
        return [
            *calls,
            partial(self._xp.matmul, *factors, out=product),
            partial(self._xp.copyto, target, product),
        ]

    def _sum(self, terms: Array, target: Array, axis: str) -> list[Callable[[], Any]]:
        """Return the calls of a pairwise sum, in the same order for any layout."""
        lanes, *shape = terms.shape
        if axis:
            along = terms.ndim + int(axis)
            before, n, after = shape[: along - 1], shape[along - 1], shape[along:]
            halves = self._xp.empty((lanes, *before, n, *after), terms.dtype)
        else:
            n = int(np.prod(shape))
            halves = self._xp.empty((lanes, n), terms.dtype)
            along = 1
        calls: list[Callable[[], Any]] = [partial(self._xp.copyto, halves.reshape(terms.shape), terms)]
        if not n:
            return [partial(self._xp.copyto, target, 0)]
        ahead = (slice(None),) * along
        while n > 1:
            half = n // 2
            low, high = halves[(*ahead, slice(half))], halves[(*ahead, slice(n - half, n))]
            calls.append(partial(self._xp.add, low, high, out=low))
            n -= half
        first = halves[(*ahead, slice(1))]
        return [*calls, partial(self._xp.copyto, target, first.reshape(target.shape))]


def _padded(buffer: Array, rank: int) -> Array:
    """Return a view `[B, …]` with leading axes of length 1, so that buffers of different rank broadcast per lane."""
    lanes, *shape = buffer.shape
    return buffer.reshape(lanes, *(1,) * (rank - len(shape)), *shape)
