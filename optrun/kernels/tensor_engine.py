"""The engine for per-tensor rules and for functions of long vectors: every instruction is one array call on the tensors
of all lanes.

Matrix products are batched over lanes, and sums are pairwise, so a lane has the bits of its solo run. All buffers are
allocated when a listing is bound, so a step allocates nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from optrun.arrays import Array
from optrun.kernels.bits import apply_bits
from optrun.kernels.cuda.launches import launch
from optrun.kernels.factorizations import factorize
from optrun.kernels.lower import Instruction, Listing, number_of
from optrun.kernels.products import multiply
from optrun.kernels.program import FACTORIZATIONS, UFUNCS, part_of

Call = Callable[[], object]
Order = Literal["C", "F"]
MINUS, ZERO = (f"_k{number.hex()}" for number in (-1.0, 0.0))


class TensorEngine:
    """Binds listings to the tensors `[B, *shape]` of all lanes; ``xp`` is NumPy or CuPy."""

    def __init__(self, xp: Any = np) -> None:
        self._xp = xp

    def bind(
        self, listing: Listing, buffers: Mapping[str, Array], coefficients: Sequence[Array]
    ) -> Callable[[], None]:
        """Return the function that runs the listing once; a coefficient is a 0-d array or `[B, 1]`."""
        run = in_turn(self.calls(listing, buffers, coefficients))
        return run if self._xp is np else partial(launch, run)

    def calls(
        self,
        listing: Listing,
        buffers: Mapping[str, Array],
        coefficients: Sequence[Array],
        scratch: Mapping[str, Array] | None = None,
    ) -> list[Call]:
        """Return the calls of a listing, in order; a coefficient `[1, n]` is the same vector in all lanes."""
        some = next(iter(buffers.values()))
        lanes, dtype = len(some), some.dtype
        scratch = self.scratch(listing, lanes, dtype.name) if scratch is None else scratch
        rank = max(array.ndim for array in (*buffers.values(), *scratch.values())) - 1
        arrays = {name: _padded(buffer, rank) for name, buffer in {**buffers, **scratch}.items()}
        for name in [*listing.names("_k"), MINUS, ZERO]:
            arrays[name] = self._xp.asarray(number_of(name), dtype)
        for index, coefficient in enumerate(coefficients):
            is_per_lane = coefficient.shape == (lanes, 1)
            arrays[f"_c{index}"] = coefficient.reshape(lanes, *(1,) * rank) if is_per_lane else coefficient
        return [call for instruction in listing.instructions for call in self._calls(instruction, arrays)]

    def scratch(self, listing: Listing, lanes: int, dtype: str, order: Order = "C") -> dict[str, Array]:
        """Return the scratch arrays of a listing."""
        arrays = {
            name: self._xp.empty((lanes, *shape), "bool" if name.startswith("_b") else dtype, order=order)
            for name, shape in listing.shapes
        }
        for name in listing.names("_z"):
            arrays[name].fill(-0.0)
        return arrays

    def _calls(self, instruction: Instruction, arrays: Mapping[str, Array]) -> list[Call]:
        xp, target = self._xp, _part(arrays, instruction.target)
        operands = [_part(arrays, name) for name in instruction.operands]
        match instruction.op:
            case "copy":
                return [partial(xp.copyto, target, operands[0])]
            case "where":
                condition, if_true, if_false = operands
                fill = [] if target is if_false else [partial(xp.copyto, target, if_false)]
                return [*fill, partial(xp.copyto, target, if_true, where=condition)]
            case "neg":
                return [partial(xp.multiply, operands[0], arrays[MINUS], out=target)]
            case "nonzero":
                return [partial(xp.not_equal, operands[0], arrays[ZERO], out=target)]
            case "transpose":
                return [partial(xp.copyto, target, operands[0].swapaxes(-1, -2))]
            case "reshape":
                return [partial(_reshaped, xp, operands[0], target)]
            case "rows":
                return [partial(xp.copyto, target, operands[0][..., part_of(instruction.axis), :])]
            case op if op in FACTORIZATIONS:
                return [partial(factorize, xp, op, operands, target)]
            case "matmul":
                return self._product(operands[0], operands[1], target)
            case "sum" | "amax":
                return self._joined(instruction, operands[0], target)
            case "shifted" | "exponent" | "significand":
                return [partial(apply_bits, xp, instruction.op, operands[0], target)]
        return [partial(getattr(xp, UFUNCS[instruction.op].__name__), *operands, out=target)]

    def _product(self, left: Array, right: Array, target: Array) -> list[Call]:
        """Return the calls of a matrix product of contiguous copies, so that bits do not depend on the layout."""
        calls: list[Call] = []
        factors = []
        for factor in (left, right):
            if not factor.flags.c_contiguous:
                copied = self._xp.empty(factor.shape, factor.dtype)
                calls.append(partial(self._xp.copyto, copied, factor))
                factor = copied
            factors.append(factor)
        products = multiply(self._xp, left.shape[-2] * left.shape[-1] * right.shape[-1])
        if target.flags.c_contiguous:
            return [*calls, partial(products, (*factors, target))]
        product = self._xp.empty(target.shape, target.dtype)
        return [
            *calls,
            partial(products, (*factors, product)),
            partial(self._xp.copyto, target, product),
        ]

    def _joined(self, instruction: Instruction, terms: Array, target: Array) -> list[Call]:
        """Return the calls that join terms pairwise, in the same order for any layout; 0 if there are none."""
        xp, axis = self._xp, instruction.axis
        join = xp.add if instruction.op == "sum" else xp.maximum
        calls: list[Call] = []
        if not instruction.consumes or terms.ndim > 2:
            copied = xp.empty_like(terms) if terms.ndim == 2 else xp.empty(terms.shape, terms.dtype)
            calls.append(partial(xp.copyto, copied, terms))
            terms = copied
        terms = terms if axis else terms.reshape(len(terms), -1)
        along = terms.ndim + int(axis or -1)
        n, ahead = terms.shape[along], (slice(None),) * along
        if n < 2:
            return [*calls, partial(xp.copyto, target, terms.reshape(target.shape) if n else 0)]
        while n > 1:
            half = n // 2
            low, high = terms[(*ahead, slice(half))], terms[(*ahead, slice(n - half, n))]
            calls.append(partial(join, low, high, out=low if n > 2 else target.reshape(low.shape)))
            n -= half
        return calls


def in_turn(calls: Sequence[Call]) -> Callable[[], None]:
    """Return the function that makes these calls."""

    def run() -> None:
        for call in calls:
            call()

    return run


def _part(arrays: Mapping[str, Array], name: str) -> Array:
    """Return an array, or the slice of a vector that the name says."""
    whole, *slices = name.split("|")
    array = arrays[whole]
    for each in slices:
        array = array[:, part_of(each)]
    return array


def _reshaped(xp: Any, source: Array, target: Array) -> None:
    # Reshaped at every call: of an array that is not contiguous that is a copy.
    xp.copyto(target, source.reshape(target.shape))


def _padded(buffer: Array, rank: int) -> Array:
    """Return a view `[B, …]` with leading axes of length 1, so that buffers of different rank broadcast per lane."""
    lanes, *shape = buffer.shape
    return buffer.reshape(lanes, *(1,) * (rank - len(shape)), *shape)
