"""Tracing: an update rule is called once with symbols, which record its operations as a program."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from optrun.kernels.program import (
    CURVATURE,
    LOSS,
    REDUCED,
    Node,
    Program,
    coefficients_of,
    node,
    nodes_below,
    reduced_below,
)
from optrun.kernels.symbols import ELEMENTS, TENSORS, Operand, Symbol, apply, as_node, tracing


class Variable(Symbol):
    """A symbol that a rule assigns to in place: the parameters or a state."""

    def __init__(self, node: Node, dtype: str = "", *, inputs_first: bool = False) -> None:
        super().__init__(node)
        self.dtype = dtype
        """The dtype of the parameters; only in a per-tensor rule."""
        self._inputs_first = inputs_first

    @property
    def fans(self) -> tuple[int, int]:
        """The fan-in and fan-out of a weight matrix, or of `as_matrix`; only in a per-tensor rule."""
        rows, columns = self.as_matrix
        return (rows, columns) if self._inputs_first else (columns, rows)

    @property
    def as_matrix(self) -> tuple[int, int]:
        """The shape of the weights as a matrix, with all axes but the outputs' flattened; only in a per-tensor rule."""
        if self._inputs_first:
            return math.prod(self.shape[:-1]), self.shape[-1]
        return self.shape[0], math.prod(self.shape[1:])

    @property
    def fan_in_axis(self) -> int:
        """The axis of a weight matrix along which the inputs of a neuron lie; only in a per-tensor rule."""
        return -2 if self._inputs_first else -1

    def __setitem__(self, key: slice, value: Operand) -> None:
        if key != slice(None):
            raise TypeError("a rule assigns whole arrays: name[:] = ...")
        new, shape = as_node(value), self.node.shape
        sizes = zip(reversed(new.shape), reversed(shape), strict=False)
        if len(new.shape) > len(shape) or any(size not in (1, own) for size, own in sizes):
            raise TypeError(f"an array of {new.shape} does not fit into one of {shape}")
        self.node = new if new.shape == shape else node("copy", new, is_array=True, shape=shape)

    def __iadd__(self, other: Operand) -> "Variable":
        self[:] = apply("add", self, other)
        return self

    def __isub__(self, other: Operand) -> "Variable":
        self[:] = apply("sub", self, other)
        return self

    def __imul__(self, other: Operand) -> "Variable":
        self[:] = apply("mul", self, other)
        return self

    def __itruediv__(self, other: Operand) -> "Variable":
        self[:] = apply("div", self, other)
        return self


class Moving(Variable):
    """Parameters that remember what a rule does to them: θ ← kept · θ - taken."""

    def __init__(self, p: Variable) -> None:
        super().__init__(p.node, p.dtype, inputs_first=p._inputs_first)
        self._start = Symbol(p.node)
        self.kept: Operand = 1.0
        self.taken: Operand | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the parameters are multiplied by nothing."""
        return not isinstance(self.kept, Symbol)

    def __setitem__(self, key: slice, value: Operand) -> None:
        super().__setitem__(key, value)
        self.kept, self.taken = 1.0, self._start - value

    def __isub__(self, other: Operand) -> "Moving":
        super().__setitem__(slice(None), apply("sub", self, other))
        self.taken = other if self.taken is None else apply("add", self.taken, other)
        return self

    def __iadd__(self, other: Operand) -> "Moving":
        return self.__isub__(apply("neg", other))

    def __imul__(self, other: Operand) -> "Moving":
        super().__setitem__(slice(None), apply("mul", self, other))
        self.kept = apply("mul", self.kept, other)
        self.taken = None if self.taken is None else apply("mul", self.taken, other)
        return self

    def __itruediv__(self, other: Operand) -> "Moving":
        return self.__imul__(apply("div", 1.0, other))


def trace(
    update: Callable[..., object],
    states: Iterable[str],
    hyperparameters: Iterable[str],
    flags: Mapping[str, Any],
    *,
    maximize: bool = False,
    scalar_states: Iterable[str] = (),
    kept: Iterable[str] = (),
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    dtype: str = "",
    inputs_first: bool = False,
    given: Iterable[str] = (),
    takes_loss: bool = False,
) -> Program:
    """Return the program of an update rule.

    ``update(p, g, t, *states, **hyperparameters, **flags)`` is called once, with what else is ``given`` behind t, and
    then the loss if it ``takes_loss``. It may branch on ``flags``, which are passed as they are. ``scalar_states``
    names the states with one number per lane, ``kept`` the states that are computed even if the parameters do not
    depend on them. A per-tensor rule needs the ``shapes`` of `p` and of every state, the dtype, and whether weight
    matrices are `[in, out]`.
    """
    scalars = frozenset(scalar_states)
    for_tensors = shapes is not None
    shapes = shapes or {}
    variables = {
        name: Variable(
            node("scalar_state", name=name)
            if name in scalars
            else node("input", name=name, is_array=True, shape=shapes.get(name, ())),
            dtype,
            inputs_first=inputs_first,
        )
        for name in ("p", *states)
    }
    gradient, *others = (
        Symbol(node("input", name=name, is_array=True, shape=shapes.get("p", ()))) for name in ("g", *given)
    )
    others = [-each if maximize and each.node.name == CURVATURE else each for each in others]
    symbols = {name: Symbol(node("hyperparameter", name=name)) for name in hyperparameters}
    loss = Symbol(node(LOSS))
    with tracing(TENSORS if for_tensors else ELEMENTS):
        returned = update(
            variables["p"],
            -gradient if maximize else gradient,
            Symbol(node("t")),
            *others,
            *([-loss if maximize else loss] if takes_loss else []),
            *(variables[name] for name in states),
            **symbols,
            **flags,
        )
    if returned is not None:
        raise TypeError(
            "update returns a value: it assigns in place, p -= … or p[:] = …, and returns nothing"
        )
    new = {name: variable.node for name, variable in variables.items()}
    untouched = [name for name, value in new.items() if value.name == name and not value.args]
    assigned = {name: value for name, value in new.items() if name not in untouched}
    read = {value.name for value in nodes_below(assigned.values()) if value.op in ("input", "scalar_state")}
    for name in untouched:
        if name != "p" and name not in read:
            continue  # state that a flag disables
        raise TypeError(f"update never assigns {name} in place: write {name} -= … or {name}[:] = …")
    arrays = {name: value for name, value in new.items() if name not in scalars}
    carried = {name: value for name, value in assigned.items() if name in scalars}
    for name, value in carried.items():
        if value.is_array:
            raise TypeError(f"{name} is one number per lane, but depends on arrays")
    reduced = reduced_below(new.values())
    terms = {f"terms of {place}": each.args[0] for place, each in enumerate(reduced) if each.op == REDUCED}
    coefficients = tuple(coefficients_of({**arrays, **terms}))
    return Program(arrays, coefficients, carried, frozenset(("p", *kept)), reduced)
