"""Capture: NumPy calls, made once on names in place of numbers, become a listing for the engines that make loops.

The calls stay the only code there is for what they compute, and what cannot be captured goes on as it is.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from optrun.arrays import Array
from optrun.kernels.lower import Listing, lower
from optrun.kernels.numpy_engine import UFUNCS
from optrun.kernels.program import Node, coefficients_of, node

_log = logging.getLogger("optrun")

MOST_INSTRUCTIONS = 256
"""In a loop: a longer one takes seconds to compile."""
MOST_ELEMENTS = 16 * MOST_INSTRUCTIONS
"""In all arrays of the calls: objects take a hundred times as long as numbers."""

_OPS: dict[object, str] = {getattr(np, name): op for op, name in UFUNCS.items()}


class NotCapturedError(Exception):
    """A call that a loop cannot make, a look at a value, or more instructions than there may be."""


@dataclass(frozen=True)
class Captured:
    """What calls do to buffers, as a listing."""

    listing: Listing
    coefficients: Sequence[Array]


@runtime_checkable
class LoopEngine(Protocol):
    """What runs a listing as one loop, where that is faster than the calls it was captured from."""

    def instead_of(
        self, calls: Callable[[], None], captured: Captured, buffers: Mapping[str, Array]
    ) -> Callable[[], None]:
        """Return the function that does to these buffers `[B, n]`, of which one is "p", what the calls do."""
        ...


class Names(np.ndarray[Any, Any]):
    """An array of values that have no numbers yet.

    A call of an elementwise ufunc makes others of them; any other call is refused.
    """

    capture: "Capture | None"

    def __array_finalize__(self, source: object) -> None:
        self.capture = getattr(source, "capture", None)

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: tuple[Any, ...] = (), **options: Any
    ) -> Any:
        if self.capture is None or method != "__call__" or options or ufunc not in _OPS:
            raise NotCapturedError(f"{ufunc.__name__}.{method}")
        made = self.capture.apply(_OPS[ufunc], inputs)
        if not out:
            return made
        if not isinstance(out[0], Names):
            raise NotCapturedError("numbers are to be written into an array that has been made before")
        out[0][...] = made
        return out[0]

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function is np.empty_like and self.capture is not None:
            return self.capture.unwritten(self.shape)
        raise NotCapturedError(function.__name__)


class Capture:
    """Makes the arrays for calls, and then the listing of what the calls have done to them."""

    def __init__(self, dtype: str) -> None:
        self._dtype = np.dtype(dtype)
        self._values = self._elements = 0

    def inputs(self, name: str, *shape: int) -> Names:
        """Return an array whose elements are the buffers ``name0``, ``name1``, … in order."""
        array = self.unwritten(shape)
        for index in range(array.size):
            array.flat[index] = _Value(node("input", name=f"{name}{index}", is_array=True))
        return array

    def constants(self, values: Array) -> Names:
        """Return an array that holds these values until others are written."""
        array = self.unwritten(values.shape)
        array[...] = self._checked(values)
        return array

    def unwritten(self, shape: tuple[int, ...]) -> Names:
        """Return an array that holds nothing until it is written."""
        self._count(math.prod(shape))
        array = np.empty(shape, object).view(Names)
        array.capture = self
        return array

    def apply(self, op: str, inputs: Sequence[Any]) -> Names:
        """Return what an operation makes of arrays and numbers."""
        operands = np.broadcast(*(self._checked(each) for each in inputs))
        self._values += operands.size
        if self._values > MOST_INSTRUCTIONS:
            raise NotCapturedError("too many instructions")
        made = self.unwritten(operands.shape)
        for index, args in enumerate(operands):
            made.flat[index] = _Value(node(op, *(_number(_node(arg)) for arg in args), is_array=True))
        return made

    def captured(self, outputs: Mapping[str, Array]) -> Captured:
        """Return the listing that writes the elements of each array to the buffers ``name0``, ``name1``, …"""
        nodes = {
            f"{name}{i}": _node(value) for name, of in outputs.items() for i, value in enumerate(of.flat)
        }
        constants = coefficients_of(nodes)
        coefficients = [np.array(constant.value, self._dtype) for constant in constants]
        return Captured(lower(nodes, constants), coefficients)

    def _count(self, elements: int) -> None:
        self._elements += elements
        if self._elements > MOST_ELEMENTS:
            raise NotCapturedError("too many elements")

    def _checked(self, values: Any) -> Array:
        """Return an operand as an array that broadcasts; what is not of the one dtype would be computed in another."""
        if isinstance(values, (np.ndarray, np.generic)) and values.dtype not in (self._dtype, object):
            raise NotCapturedError(f"numbers of dtype {values.dtype}")
        if not isinstance(values, Names):
            self._count(np.size(values))
        return np.asarray(values, object)


def captured(calls: Callable[[Capture], Mapping[str, Array]], dtype: str) -> Captured | None:
    """Return what calls do, which return their outputs by name; None where a loop cannot do it."""
    capture = Capture(dtype)
    try:
        return capture.captured(calls(capture))
    except Exception:
        # Code that wants numbers may raise anything; where that is an error, it raises it with numbers too.
        _log.debug("code cannot be made a loop", exc_info=True)
        return None


class _Value:
    """What stands for a number: no code can look at it."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, node: Node) -> None:
        self.node = node

    def __bool__(self) -> bool:
        raise NotCapturedError("code that branches on a value")

    def __eq__(self, other: object) -> bool:
        raise NotCapturedError("code that branches on a value")


def _node(value: object) -> Node:
    if isinstance(value, _Value):
        return value.node
    if isinstance(value, (int, float, np.floating)):
        # Named by its bits: 0.0 and -0.0 are equal, but not the same constant.
        return node("const", name=float(value).hex(), value=float(value))
    raise NotCapturedError("a value that nobody has written")


def _number(value: Node) -> Node:
    """Return a condition as 1 or 0, which NumPy makes of it where it meets numbers."""
    if not value.is_condition:
        return value
    return node("where", value, _node(1.0), _node(0.0), is_array=True)
