"""Rules that evaluate the loss themselves, through a closure: their steps on the flat vector of the parameters."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar

import numpy as np

from optrun.arrays import Array, Parameters
from optrun.errors import ConfigError, StateError
from optrun.optim.optimizer import Optimizer
from optrun.optim.param_group import ParamGroup
from optrun.optim.state import check_numeric, check_step_count

Evaluate = Callable[[Array], tuple[float, Array]]
"""Returns the loss and the gradient at parameters `[n]`."""


class Memory:
    """What such a rule keeps from step to step, as attributes: numbers, vectors `[n]`, empty at first, or lists."""

    def shapes(self, entry: Mapping[str, Any], size: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes that the arrays of a state have for n = ``size``; numbers are `[1]`, vectors `[1, n]`."""
        vectors = [name for name, value in vars(self).items() if isinstance(value, np.ndarray)]
        held = vectors if any(name in entry for name in vectors) else []
        numbers = [name for name, value in vars(self).items() if isinstance(value, int | float)]
        return dict.fromkeys(numbers, (1,)) | dict.fromkeys(held, (1, size))

    @classmethod
    def most_vectors(cls, options: Mapping[str, Any], steps: int) -> int:
        """Return the largest number of vectors after so many steps."""
        return sum(isinstance(value, np.ndarray) for value in vars(cls()).values())


class ClosureRule(Optimizer, registered=False):
    """A rule whose `update(p, evaluate, memory, /, *, …)` evaluates the loss where it wants, and returns parameters.

    It supports one lane and one parameter group; a step needs the closure.
    """

    batched = False
    needs_closure = True
    memory: ClassVar[type[Memory]] = Memory

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add the only parameter group; ConfigError for a second one."""
        if self.param_groups:
            own = type(self).__name__
            raise ConfigError(f"{own}: only one parameter group is supported", field="param_groups")
        super().add_param_group(group)

    @classmethod
    def states(cls) -> tuple[str, ...]:
        """Return the names of the state, which is stored with the first parameter."""
        return tuple(vars(cls.memory()))

    def _update_of(self, rule: type[Any], group: ParamGroup) -> "ClosureUpdate":
        return ClosureUpdate(type(self), group, self.params)

    def _step(self, closure: Callable[[], Any] | None = None, *, loss: Any = None) -> Any:
        if closure is None:
            own = type(self).__name__
            raise ConfigError(f"{own}: step needs a closure that computes the gradients and returns the loss")
        (update,) = self._updates
        return update(closure)


class ClosureUpdate:
    """Steps of a rule that evaluates the loss itself, on the flat vector `[n]` of its parameters, in one lane.

    The vectors are on the host, where each evaluation is followed by a decision; device parameters are copied.
    """

    is_staged = False

    def __init__(self, rule: type[ClosureRule], group: ParamGroup, params: Parameters) -> None:
        self.group = group
        self.t = 0
        self._rule = rule
        self.memory = rule.memory()
        self._params = params
        self._size = sum(params.grads[name].size for name in group["params"])

    def __call__(self, closure: Callable[[], Any]) -> Any:
        """Make one step and return what the closure returned first."""
        losses: list[Any] = []
        sign = -1.0 if self.group["maximize"] else 1.0

        def evaluate(p: Array) -> tuple[float, Array]:
            self._scatter(p)
            loss = closure()
            losses.append(loss if np.isscalar(loss) else self._params.arrays.to_host(loss).copy())
            return sign * float(np.ravel(losses[-1])[0]), sign * self._flatten(self._params.grads)

        options = {name: self.group[name] for name in self._rule.options() if name != "maximize"}
        moved: Any = self._rule.update(self._flatten(self._params), evaluate, self.memory, **options)
        self._scatter(moved)
        self.t += 1
        return losses[0]

    def state(self, parameter: str) -> dict[str, Any]:
        """Return a parameter's state by name: ``step``, and for the first parameter the whole history."""
        if parameter != self.group["params"][0]:
            return {"step": self.t}
        arrays = {name: np.array([value]) for name, value in vars(self.memory).items() if np.size(value)}
        return {"step": self.t, **arrays}

    def is_read(self, name: str, open: Collection[str]) -> bool:
        """Return true: without a trace it is unknown which hyperparameters are read."""
        return True

    def state_bytes(self, steps: int) -> int:
        """Return the largest size of the state in bytes."""
        vectors = self._rule.memory.most_vectors(self.group, steps)
        numbers = [value for value in vars(self.memory).values() if isinstance(value, int | float)]
        return int(vectors * self._size * self._params.data.itemsize) + np.array(numbers).nbytes

    def verify(self, state: Mapping[str, Any]) -> None:
        """Raise StateError unless the entries of a state_dict are a valid state of this group."""
        own, names = self._rule.__name__, self.group["params"]
        check_step_count(own, names, state)
        if names[0] not in state:
            return
        entry = {name: value for name, value in state[names[0]].items() if name != "step"}
        shapes = self.memory.shapes(entry, self._size)
        for name in sorted({*entry, *shapes}):
            if name not in entry or name not in shapes:
                is_missing = "is missing" if name in shapes else "is unknown"
                raise StateError(f"{own}: the state {name!r} of {names[0]} {is_missing}")
            check_numeric(entry[name], shapes[name], f"{own}: {name} of {names[0]}")

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore verified entries of a state_dict."""
        first = state.get(self.group["params"][0], {"step": 0})
        self.t = first["step"]
        self.memory = self._rule.memory()
        fresh, dtype = vars(self._rule.memory()), self._params.data.dtype
        for name in first.keys() - {"step"}:
            value = np.asarray(first[name])[0]
            if isinstance(fresh[name], np.ndarray):
                setattr(self.memory, name, np.asarray(value, dtype))
            else:  # a number, or a list of numbers or of vectors
                is_of_vectors = value.ndim == 2
                setattr(self.memory, name, [*np.asarray(value, dtype)] if is_of_vectors else value.tolist())

    def _flatten(self, tensors: Mapping[str, Array]) -> Array:
        """Return a copy of the first lane of the group's tensors as one vector."""
        parts = [tensors[name][0].reshape(-1) for name in self.group["params"]]
        return self._params.arrays.to_host(self._params.arrays.xp.concatenate(parts))

    def _scatter(self, values: Array) -> None:
        at = 0
        for name in self.group["params"]:
            tensor = self._params[name]
            part = values[at : at + tensor.size].reshape(tensor.shape[1:])
            tensor[0] = self._params.arrays.array(part)
            at += tensor.size


def dot(x: Array, y: Array) -> float:
    """Return xᵀy by pairwise summation: the bits of a multi-threaded BLAS differ."""
    return float((x * y).sum())


def largest(x: Array) -> float:
    """Return the largest magnitude of an element."""
    return float(abs(x).max()) if x.size else 0.0
