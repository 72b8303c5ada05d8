"""Formulas: functions of a vector, written in the words of `optrun.ops`, and bound to the vectors of all lanes.

A function is traced once, and its gradient is made from its program. Where the vector is short, the program is unrolled
to elements, which an engine runs as a loop over lanes. Otherwise every operation is one call, of NumPy or CuPy, on the
vectors of as many lanes as fit into the cache. Both make the same operations, so they give the same bits.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType

import numpy as np

from optrun.arrays import Array, Arrays
from optrun.kernels.coefficients import cast
from optrun.kernels.differentiate import gradient
from optrun.kernels.evaluate import evaluate
from optrun.kernels.expand import expanded
from optrun.kernels.layout import is_lane_fast
from optrun.kernels.lower import Listing, lower
from optrun.kernels.numpy_engine import NumpyEngine
from optrun.kernels.program import Node, coefficients_of, node
from optrun.kernels.stepper import LoopEngine
from optrun.kernels.symbols import VECTOR, Symbol, total, tracing
from optrun.kernels.tensor_engine import Order, TensorEngine, in_turn
from optrun.kernels.trajectory import Elements
from optrun.kernels.unroll import size_of, unrolled

MOST_INSTRUCTIONS = 320
"""Larger loops take seconds to compile, except those of few dimensions."""
MOST_OF_FEW = 800
MOST_UPDATED = 16
"""Elements of a loop that updates them, too, each by a rule's instructions of its own."""
MOST_WORK = 6_000
"""Instructions × dimensions of loops of few dimensions."""
TILE_BYTES = 1 << 21
"""Of a vector in the lanes that are done together. Smaller tiles of many lanes have short rows, and NumPy takes 50 ns
to begin one. Rosenbrock's function in 100 dimensions and 10,000 lanes takes 0.8 of the time that it takes in one tile.
"""

Numbers = Mapping[str, Array]
_NONE: Numbers = MappingProxyType({})


class Formula:
    """A function of vectors of one length, and its gradient.

    Where it has numbers that differ from lane to lane (`number_of_lane`), their values are given as it is bound, by
    name: numbers `[B or 1, 1]` and vectors `[B or 1, n]`, in float64 on the host.

    Raises TypeError for a function that does not return a number that depends on the vector.
    """

    def __init__(self, function: Callable[[Symbol], object], dim: int, arrays: Arrays) -> None:
        self._dim, self._arrays = dim, arrays
        x = node("input", name="x", is_array=True, shape=(dim,))
        with tracing(VECTOR):
            value = function(Symbol(x))
            if not isinstance(value, Symbol) or not value.node.is_array or value.node.is_condition:
                raise TypeError(f"a function returns a number computed from x, not {type(value).__name__}")
            if value.shape:
                raise TypeError(
                    f"a function returns one number, not {len(value)}: sum(…) and prod(…) of optrun.ops are numbers"
                )
            self._outputs = {"loss": value.node, "grad": gradient(value.node, x)}

    def bind(
        self, x: Array, grad: Array, loops: LoopEngine | None, numbers: Numbers = _NONE
    ) -> Callable[[], Array]:
        """Return the function that writes the gradients ``[B, n]`` at x ``[B, n]``, and returns the values ``[B]``."""
        column = self._column_like(x)
        losses: Array = column[:, 0]
        vectors = {"x": x, "grad": grad, "loss": losses}
        # A loop needs all of its buffers in the same layout.
        if self._unrolled and x.flags.forc and _strides(x) == _strides(grad):
            listing, nodes = self._unrolled
            coefficients = self._values(nodes, numbers)
            columns = {
                f"{name}{i}": array[:, i : i + 1]
                for name, array in (("x", x), ("grad", grad))
                for i in range(self._dim)
            }
            columns |= {"loss0": column, "p": x[:, :1]}

            def in_calls() -> Callable[[], None]:
                if not self._arrays.is_on_device and len(listing.instructions) <= _count(self._vectors[0]):
                    return NumpyEngine().bind(listing, columns, coefficients)
                return self._calls(self._vectors, vectors, numbers)

            calls = in_calls() if loops is None else loops.bind_loop(in_calls, listing, columns, coefficients)
        else:
            calls = self._calls(self._vectors, vectors, numbers)

        def step() -> Array:
            calls()
            return losses

        return step

    def bind_value(self, x: Array, numbers: Numbers = _NONE) -> Callable[[], Array]:
        """Return the function that returns the values ``[B]`` at x ``[B, n]``, with the bits of `bind`."""
        losses = self._arrays.empty((len(x),))
        calls = self._calls(self._value, {"x": x, "loss": losses}, numbers)

        def value() -> Array:
            calls()
            return losses

        return value

    def hessian_times(self, x: Array, vectors: Array, numbers: Numbers = _NONE) -> Array:
        """Return the products ``[B, n]`` of the Hessians at x with vectors, all ``[B, n]`` and of the dtype."""
        product = self._arrays.empty(x.shape)
        self._calls(self._product, {"x": x, "v": vectors, "product": product}, numbers)()
        return product

    def _column_like(self, array: Array) -> Array:
        """Return a column ``[B, 1]`` with the same stride as an array's columns."""
        distance = max(1, array.strides[0] // array.itemsize)
        return self._arrays.empty((len(array) * distance,))[::distance, None]

    @cached_property
    def _product(self) -> "_Lowered":
        """The Hessian times a vector v: the gradient of gᵀ v, which is a program like any."""
        x = node("input", name="x", is_array=True, shape=(self._dim,))
        v = node("input", name="v", is_array=True, shape=(self._dim,))
        with tracing(VECTOR):
            slope = total(Symbol(self._outputs["grad"]) * Symbol(v))
            return self._lowered({"product": gradient(slope.node, x)})

    @cached_property
    def _vectors(self) -> "_Lowered":
        return self._lowered(self._outputs)

    @cached_property
    def _value(self) -> "_Lowered":
        return self._lowered({"loss": self._outputs["loss"]})

    def elements(self, numbers: Numbers = _NONE) -> Elements | None:
        """Return the function and its gradient as a program of elements; None if it is too long with a rule."""
        if self._unrolled is None or self._dim > MOST_UPDATED:
            return None
        listing, nodes = self._unrolled
        values = self._values(nodes, numbers)
        dtype = self._arrays.dtype
        columns = {
            f"_c{index}": cast(value.reshape(1, -1), dtype)
            for index, value in enumerate(values)
            if value.size > 1
        }
        shared = [value if value.size == 1 else 0.0 for value in values]
        return Elements(listing, np.array(shared, dtype), columns)

    @cached_property
    def _unrolled(self) -> "_Lowered | None":
        """The unrolled program; None if it is too long for a loop."""
        outputs = expanded(self._outputs, self._arrays.dtype)
        most = max(MOST_INSTRUCTIONS, min(MOST_OF_FEW, MOST_WORK // self._dim))
        if size_of(outputs) > 2 * most:
            return None
        lowered = self._lowered(unrolled(outputs), overwrites=False)
        return lowered if len(lowered[0].instructions) <= most else None

    def _lowered(self, outputs: Mapping[str, Node], *, overwrites: bool = True) -> "_Lowered":
        """Return the listing and its coefficients."""
        coefficients = coefficients_of(outputs)
        return lower(expanded(outputs, self._arrays.dtype), coefficients, overwrites=overwrites), coefficients

    def _values(self, coefficients: Sequence[Node], numbers: Numbers) -> list[Array]:
        """Return the values of coefficients, each 0-d or `[1, n]`, or of every lane, `[B, 1]` or `[B, n]`."""
        memo: dict[Node, Array] = {}
        values = []
        with np.errstate(all="ignore"):
            for each in coefficients:
                value = evaluate(each, np.ones((1, 1)), numbers, memo)
                value = value if each.shape or len(value) > 1 else value.reshape(())
                values.append(value if value.dtype == bool else value.astype(self._arrays.dtype))
        return values

    def _calls(
        self, lowered: "_Lowered", buffers: Mapping[str, Array], numbers: Numbers
    ) -> Callable[[], None]:
        """Return the calls of a listing of vectors, tile by tile; the tiles share their scratch arrays."""
        xp, x = self._arrays.xp, buffers["x"]
        engine, (listing, nodes) = TensorEngine(xp), lowered
        lanes, dim = x.shape
        coefficients = [xp.asarray(value) for value in self._values(nodes, numbers)]
        tile = lanes if self._arrays.is_on_device else max(1, TILE_BYTES // (x.itemsize * max(1, dim)))
        order: Order = "F" if is_lane_fast(x) else "C"
        scratch = engine.scratch(listing, min(tile, lanes), x.dtype.name, order)
        calls = []
        for start in range(0, lanes, tile):
            own = {name: buffer[start : start + tile] for name, buffer in buffers.items()}
            rows = {name: array[: len(own["x"])] for name, array in scratch.items()}
            of_tile = [
                value[start : start + tile] if value.ndim and len(value) > 1 else value
                for value in coefficients
            ]
            calls += engine.calls(listing, own, of_tile, rows)
        return in_turn(calls)


_Lowered = tuple[Listing, Sequence[Node]]


def _count(listing: Listing) -> int:
    """Return the number of calls that a listing of vectors makes."""
    shapes = dict(listing.shapes)
    lengths = (shapes.get(each.operands[0], (0,)) for each in listing.instructions if each.op == "sum")
    return len(listing.instructions) + sum(length[0].bit_length() for length in lengths if length)


def _strides(array: Array) -> list[int]:
    return [stride for stride, size in zip(array.strides, array.shape, strict=True) if size > 1]
