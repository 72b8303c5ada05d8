"""Tables that are not made: their numbers `[T, B]` are computed where they are read, from what steps or lanes share.

What a schedule or a coefficient does with numbers of steps `[T, 1]` and numbers of lanes `[1, B]` is noted, as NumPy
calls it, and done by a generated loop, or for single steps, with the same operations in float64: a table of a whole
trajectory of many lanes takes longer to make, and to read, than the steps themselves.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from optrun import arrays
from optrun.arrays import Array
from optrun.kernels.program import COMPARISONS, UFUNCS

STEPS, LANES, DISTINCT = "steps", "lanes", "distinct"
"""What numbers are of; those of distinct lanes are a table `[T, D]`, of which each lane has a column by its index."""
LEAVES = (STEPS, LANES, DISTINCT)
FAR = 2048
"""Steps ahead of which numbers are known at once where those of lanes are deferred."""
KEPT = 8
"""Steps of a forecast."""
MOST = 1 << 18
"""Numbers of a table of distinct lanes; it must fit into the cache."""


class NotDeferredError(TypeError, AttributeError):
    """What was asked of a deferred table needs its numbers."""


class Deferred(NDArrayOperatorsMixin):
    """A table `[T, B]`: what an operation makes of others, or the numbers of steps, of lanes, or of distinct lanes.

    NumPy's functions of it return another one, or raise NotDeferredError, as for tables of different lengths.
    """

    def __init__(
        self, op: str, args: Sequence["Deferred"] = (), values: Any = None, index: Array | None = None
    ) -> None:
        self.op, self.args, self.index = op, tuple(args), index
        self.values: Array = np.empty((1, 0)) if values is None else values
        lengths = {len(arg) for arg in args} - {1}
        if len(lengths) > 1:
            raise NotDeferredError("tables of different lengths")
        self._length: int = max(lengths, default=1) if args else len(self.values)

    @classmethod
    def of_lanes(cls, values: Any) -> "Deferred":
        """Return the numbers of lanes, `[B]` or one for all, which are the same at every step."""
        return cls(LANES, values=np.reshape(values, (1, -1)))

    def __len__(self) -> int:
        return self._length

    @property
    def is_condition(self) -> bool:
        """Whether it is boolean."""
        return self.op in CONDITIONS or (self.op in LEAVES and self.values.dtype == bool)

    @property
    def shape(self) -> tuple[int, int]:
        """T, or 1 where all steps share the numbers, and B, or 1 where all lanes do."""
        if self.args:
            return len(self), max(arg.shape[1] for arg in self.args)
        return len(self), self.values.shape[1] if self.index is None else self.index.size

    def rows(self, part: slice) -> "Deferred":
        """Return the numbers of some of the steps."""
        return rows_of({"": self}, part)[""]

    def dense(self) -> Array:
        """Return the numbers as an array `[T or 1, B or 1]`."""
        return _computed(self, lambda leaf: leaf.values, {})

    def row(self, step: int) -> Array:
        """Return the numbers of a step, `[1, B or 1]`."""
        return _computed(
            self, lambda leaf: leaf.values[step : step + 1] if len(leaf) > 1 else leaf.values, {}
        )

    def of_lanes_in(self, lanes: slice) -> Array:
        """Return the numbers of some lanes, `[T or 1, k or 1]`."""

        def of_lanes(leaf: Deferred) -> Array:
            if leaf.index is not None:
                return leaf.values[:, leaf.index[lanes]]
            return leaf.values[:, lanes] if leaf.values.shape[1] > 1 else leaf.values

        return _computed(self, of_lanes, {}, gathers=False)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> "Deferred":
        if method != "__call__" or options or ufunc not in _NAMES:
            raise NotDeferredError(f"{ufunc.__name__} of a deferred table")
        return _applied(_NAMES[ufunc], inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> "Deferred":
        if function is not np.where or options or len(args) != 3:
            raise NotDeferredError(f"{function.__name__} of a deferred table")
        return _applied("where", args)

    def __array__(self, *args: Any, **options: Any) -> Array:
        raise NotDeferredError("a deferred table is no array")

    def __bool__(self) -> bool:
        raise NotDeferredError("a deferred table is no condition")


class Forecast(Sequence[Any]):
    """The values `[B]` of coming steps, each made when it is asked for; the last ones stay the same objects."""

    def __init__(
        self, values: Deferred, length: int, first: int = 0, made: dict[int, Array] | None = None
    ) -> None:
        self._values, self._length, self._first = values, length, first
        self._made: dict[int, Array] = {} if made is None else made

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, step: Any) -> Any:
        if isinstance(step, slice):
            steps = range(self._length)[step]
            if steps.step != 1:
                return [self[each] for each in steps]
            return Forecast(self._values, len(steps), self._first + steps.start, self._made)
        at = self._first + range(self._length)[step]
        if at not in self._made:
            if len(self._made) >= KEPT:
                del self._made[next(iter(self._made))]
            self._made[at] = self._values.row(at)[0]
        return self._made[at]

    @property
    def deferred(self) -> Deferred:
        """The table `[T, B]` of these values."""
        return self.every(slice(None))

    def every(self, part: slice) -> Deferred:
        """Return the table of some of these values."""
        steps = range(self._first, self._first + self._length)[part]
        return self._values.rows(slice(steps.start, steps.stop, steps.step))


def power(base: Any, exponent: Any) -> Any:
    """Return `base ** exponent` as `arrays.power` does, once for each distinct number that lanes have."""
    if not isinstance(base, Deferred) and not isinstance(exponent, Deferred):
        return arrays.power(base, exponent)
    args = _deferred(base), _deferred(exponent)
    if all(len(arg) == 1 for arg in args):
        return Deferred(LANES, values=arrays.power(*(arg.dense() for arg in args)))
    of_lanes = {id(leaf): leaf for arg in args for leaf in leaves(arg) if leaf.op != STEPS}
    if len(of_lanes) != 1 or any(leaf.op == DISTINCT for leaf in of_lanes.values()):
        raise NotDeferredError("a power of several numbers of lanes")
    (numbers,) = of_lanes.values()
    distinct, index = np.unique(numbers.values[0], return_inverse=True)
    steps = max(map(len, args))
    if distinct.size * steps > max(MOST, 8 * distinct.size):
        raise NotDeferredError("too many distinct numbers")
    of_distinct = [
        _computed(arg, lambda leaf: distinct[None] if leaf is numbers else leaf.values, {}) for arg in args
    ]
    return Deferred(DISTINCT, values=arrays.power(*of_distinct), index=index.reshape(-1).astype(np.intp))


def rows_of(tables: Mapping[str, Deferred], part: slice) -> dict[str, Deferred]:
    """Return the numbers that tables have at some of the steps."""
    made: dict[int, Deferred] = {}
    for value in in_order([*tables.values()]):
        if value.args:
            made[id(value)] = Deferred(value.op, [made[id(arg)] for arg in value.args])
        else:
            numbers = value.values if len(value) == 1 else value.values[part]
            made[id(value)] = Deferred(value.op, (), numbers, value.index)
    return {name: made[id(value)] for name, value in tables.items()}


def leaves(value: Deferred) -> Iterator[Deferred]:
    """Yield the numbers that a table is made of, each once."""
    return (each for each in in_order([value]) if not each.args)


def in_order(values: Sequence[Deferred]) -> list[Deferred]:
    """Return tables and those they are made of, each once and after the latter."""
    found: dict[int, Deferred] = {}

    def visit(value: Deferred) -> None:
        if id(value) not in found:
            for arg in value.args:
                visit(arg)
            found[id(value)] = value

    for value in values:
        visit(value)
    return list(found.values())


def _applied(op: str, inputs: Sequence[Any]) -> Deferred:
    args = [_deferred(each) for each in inputs]
    kinds = {arg.op for arg in args}
    # What does not differ from step to step, or from lane to lane, is computed at once.
    if kinds <= {STEPS}:
        return Deferred(STEPS, values=_FUNCTIONS[op](*(arg.values for arg in args)))
    if kinds <= {STEPS, LANES} and all(len(arg) == 1 for arg in args):
        return Deferred(LANES, values=_FUNCTIONS[op](*(arg.values for arg in args)))
    return Deferred(op, args)


def _deferred(value: Any) -> Deferred:
    """Return an operand as a table: numbers `[T, 1]` are of steps, others of lanes."""
    if isinstance(value, Deferred):
        return value
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "biuf" or numbers.ndim > 2:
        raise NotDeferredError("no numbers")
    numbers = numbers if numbers.dtype == bool else numbers.astype(np.float64)
    if numbers.size == 1 or (numbers.ndim == 2 and numbers.shape[1] == 1):
        return Deferred(STEPS, values=numbers.reshape(-1, 1))
    if numbers.ndim == 2 and len(numbers) > 1:
        raise NotDeferredError("a table that has been made")
    return Deferred.of_lanes(numbers)


def _computed(
    value: Deferred, values: Callable[[Deferred], Array], memo: dict[int, Array], *, gathers: bool = True
) -> Array:
    if id(value) not in memo:
        if value.args:
            args = [_computed(arg, values, memo, gathers=gathers) for arg in value.args]
            memo[id(value)] = _FUNCTIONS[value.op](*args)
        else:
            own = values(value)
            memo[id(value)] = own[:, value.index] if gathers and value.index is not None else own
    return memo[id(value)]


CONDITIONS = frozenset({*COMPARISONS, "and", "or", "not"})
_FUNCTIONS: Mapping[str, Callable[..., Array]] = {**UFUNCS, "where": np.where}
_NAMES = {function: name for name, function in UFUNCS.items() if name != "sign"} | {
    np.bitwise_and: "and",
    np.bitwise_or: "or",
    np.invert: "not",
}
