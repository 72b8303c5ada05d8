"""The curvature history of L-BFGS, and its steps on flat parameters."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from optrun.arrays import Array, Parameters
from optrun.errors import StateError
from optrun.optim.param_group import ParamGroup
from optrun.optim.rule import Rule
from optrun.optim.state import check_numeric

LEAST_CURVATURE = 1e-10


class History:
    """State of L-BFGS: the last pairs y, s, and the last gradient, direction and step size."""

    def __init__(self) -> None:
        self.n_iter = 0
        self.t = 0.0
        self.H_diag = 1.0
        self.d: Array = np.empty(0)
        self.prev_flat_grad: Array = np.empty(0)
        self.old_dirs: list[Array] = []
        self.old_stps: list[Array] = []
        self.ro: list[float] = []

    def direction(self, g: Array, history_size: int) -> Array:
        """Add the last pair and return the direction -H g, by the two-loop recursion."""
        self.n_iter += 1
        if not self.d.size:
            return -g
        y, s = g - self.prev_flat_grad, self.d * self.t
        if dot(y, s) > LEAST_CURVATURE:
            self.old_dirs = [*self.old_dirs, y][-history_size:]
            self.old_stps = [*self.old_stps, s][-history_size:]
            self.ro = [*self.ro, 1.0 / dot(y, s)][-history_size:]
            self.H_diag = dot(y, s) / dot(y, y)
        pairs = list(zip(self.old_dirs, self.old_stps, self.ro, strict=True))
        d = -g
        weights = []
        for y, s, rho in reversed(pairs):
            weights.append(dot(s, d) * rho)
            d = d - weights[-1] * y
        d = d * self.H_diag
        for (y, s, rho), weight in zip(pairs, reversed(weights), strict=True):
            d = d + (weight - dot(y, d) * rho) * s
        return d


class ClosureUpdate:
    """Steps of a rule that evaluates the loss itself, on the flat vector `[n]` of its parameters, in one lane.

    The vectors are on the host, where each evaluation is followed by a decision; device parameters are copied.
    """

    stages = 0

    def __init__(self, rule: type[Rule], group: ParamGroup, params: Parameters) -> None:
        self.group = group
        self.t = 0
        self.memory = History()
        self._rule = rule
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
        """Return the largest size of the state in bytes: two vectors, and two per stored pair.

        The last iteration of a step stores no pair. A step that converges early stores fewer.
        """
        vectors = 2 * min(1 + self.group["history_size"], steps * self.group["max_iter"])
        return int(vectors * self._size * self._params.data.itemsize)

    def verify(self, state: Mapping[str, Any]) -> None:
        """Raise StateError unless the entries of a state_dict are a valid state of this group."""
        own, names = self._rule.__name__, self.group["params"]
        steps = {name: state[name].get("step") for name in names if name in state}
        if not steps:
            return
        counts = list(steps.values())
        if len(steps) < len(names) or any(
            type(each) is not int or each != counts[0] or each < 0 for each in counts
        ):
            raise StateError(f"{own}: the steps of its parameters are {steps}, not one count for all")
        entry = {name: value for name, value in state[names[0]].items() if name != "step"}
        pairs = np.shape(entry.get("old_dirs", 0))[1:2]
        vector, stack = (1, self._size), (1, *pairs, self._size)
        shapes: dict[str, tuple[int, ...]] = {"n_iter": (1,), "t": (1,), "H_diag": (1,)}
        shapes |= {name: vector for name in ("d", "prev_flat_grad") if "d" in entry}
        shapes |= {"old_dirs": stack, "old_stps": stack, "ro": stack[:-1]} if "old_dirs" in entry else {}
        for name in sorted({*entry, *shapes}):
            if name not in entry or name not in shapes:
                is_missing = "is missing" if name in shapes else "is unknown"
                raise StateError(f"{own}: the state {name!r} of {names[0]} {is_missing}")
            check_numeric(entry[name], shapes[name], f"{own}: {name} of {names[0]}")

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore verified entries of a state_dict."""
        first = state.get(self.group["params"][0], {"step": 0})
        self.t = first["step"]
        self.memory = History()
        for name in first.keys() - {"step"}:
            value = np.asarray(first[name])[0]
            if name in ("n_iter", "t", "H_diag", "ro"):
                setattr(self.memory, name, value.tolist())
                continue
            array = np.asarray(value, self._params.data.dtype)
            setattr(self.memory, name, list(array) if array.ndim > 1 else array)

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
