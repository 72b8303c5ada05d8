"""Capture: NumPy calls are made once on symbolic arrays, which record them as a listing for engines with loops.

The NumPy calls remain the only implementation; calls that cannot be captured are executed as they are.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from optrun.arrays import Array
from optrun.fallbacks import log
from optrun.kernels.lower import Listing, lower
from optrun.kernels.numpy_engine import UFUNCS
from optrun.kernels.program import Node, coefficients_of, node

MOST_INSTRUCTIONS = 256
"""Larger loops take seconds to compile."""
MOST_ELEMENTS = 16 * MOST_INSTRUCTIONS
"""Limit on the elements of all symbolic arrays: object arrays are a hundred times slower than numeric ones."""

_OPS: dict[object, str] = {getattr(np, name): op for op, name in UFUNCS.items()}


class NotCapturedError(Exception):
    """Raised for a call that a loop cannot make, a branch on a value, or too many instructions."""


@dataclass(frozen=True)
class Captured:
    """The listing of captured calls, and its coefficients."""

    listing: Listing
    coefficients: Sequence[Array]


@runtime_checkable
class LoopEngine(Protocol):
    """An engine that runs a listing as one loop, if that is faster than the NumPy calls."""

    def bind_captured(
        self, calls: Callable[[], None], captured: Captured, buffers: Mapping[str, Array]
    ) -> Callable[[], None]:
        """Return a function equivalent to the calls on these buffers `[B, n]`, one of which is named "p"."""
        ...


class SymbolicArray(np.ndarray[Any, Any]):
    """An array of symbolic elements.

    Elementwise ufuncs return symbolic arrays; all other calls raise NotCapturedError.
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
        if not isinstance(out[0], SymbolicArray):
            raise NotCapturedError("symbolic values cannot be written to an array with numbers")
        out[0][...] = made
        return out[0]

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function is np.empty_like and self.capture is not None:
            return self.capture.unwritten(self.shape)
        raise NotCapturedError(function.__name__)


class Capture:
    """Creates symbolic arrays for calls, and the listing of what the calls did to them."""

    def __init__(self, dtype: str) -> None:
        self._dtype = np.dtype(dtype)
        self._values = self._elements = 0

    def inputs(self, name: str, *shape: int) -> SymbolicArray:
        """Return an array whose elements are the buffers ``name0``, ``name1``, … in C order."""
        array = self.unwritten(shape)
        for index in range(array.size):
            array.flat[index] = _Element(node("input", name=f"{name}{index}", is_array=True))
        return array

    def constants(self, values: Array) -> SymbolicArray:
        """Return an array with constant elements, until they are overwritten."""
        array = self.unwritten(values.shape)
        array[...] = self._checked(values)
        return array

    def unwritten(self, shape: tuple[int, ...]) -> SymbolicArray:
        """Return an array whose elements must be written before they are read."""
        self._count(math.prod(shape))
        array = np.empty(shape, object).view(SymbolicArray)
        array.capture = self
        return array

    def apply(self, op: str, inputs: Sequence[Any]) -> SymbolicArray:
        """Return the result of an elementwise operation on arrays and numbers."""
        operands = np.broadcast(*(self._checked(each) for each in inputs))
        self._values += operands.size
        if self._values > MOST_INSTRUCTIONS:
            raise NotCapturedError("too many instructions")
        made = self.unwritten(operands.shape)
        for index, args in enumerate(operands):
            made.flat[index] = _Element(node(op, *(_number(_node(arg)) for arg in args), is_array=True))
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
        """Return an operand as an object array; another dtype is refused, since NumPy would compute in it."""
        if isinstance(values, (np.ndarray, np.generic)) and values.dtype not in (self._dtype, object):
            raise NotCapturedError(f"numbers of dtype {values.dtype}")
        if not isinstance(values, SymbolicArray):
            self._count(np.size(values))
        return np.asarray(values, object)


def captured(calls: Callable[[Capture], Mapping[str, Array]], dtype: str) -> Captured | None:
    """Return the listing of calls, which return their outputs by name; None if they cannot be captured."""
    capture = Capture(dtype)
    try:
        return capture.captured(calls(capture))
    except Exception:
        # Calls that need numbers may raise anything. A genuine error is raised again when they get numbers.
        log.debug("NumPy calls cannot be captured as a loop", exc_info=True)
        return None


class _Element:
    """A symbolic element, on whose value no code can branch."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, node: Node) -> None:
        self.node = node

    def __bool__(self) -> bool:
        raise NotCapturedError("code that branches on a value")

    def __eq__(self, other: object) -> bool:
        raise NotCapturedError("code that branches on a value")


def _node(value: object) -> Node:
    if isinstance(value, _Element):
        return value.node
    if isinstance(value, (int, float, np.floating)):
        # Named by its bits: 0.0 and -0.0 are equal, but not the same constant.
        return node("const", name=float(value).hex(), value=float(value))
    raise NotCapturedError("a value that was never written")


def _number(value: Node) -> Node:
    """Return a condition as 1 or 0, as NumPy does in arithmetic."""
    if not value.is_condition:
        return value
    return node("where", value, _node(1.0), _node(0.0), is_array=True)
