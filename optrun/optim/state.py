"""State buffers of a rule."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from optrun.arrays import Array, Parameters
from optrun.errors import StateError
from optrun.kernels.program import CURVATURE, GIVEN
from optrun.optim.rule import Rule


def check_numeric(value: Any, shape: tuple[int, ...], what: str) -> None:
    """Raise StateError, with ``what`` as prefix, unless the value is a real array of this shape."""
    if np.shape(value) != shape:
        raise StateError(f"{what} is {np.shape(value)}, not {shape}")
    dtype = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    if dtype.kind not in "iuf":
        raise StateError(f"{what} holds {dtype}, not real numbers")


def check_step_count(owner: str, names: Sequence[str], state: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise StateError unless all parameters of a group, or none, have a state, with one number of steps for all."""
    steps = {name: state[name].get("step") for name in names if name in state}
    counts: list[Any] = list(steps.values())
    is_one = all(type(each) is int and each == counts[0] and each >= 0 for each in counts)
    if steps and not (is_one and len(steps) == len(names)):
        raise StateError(f"{owner}: the steps of its parameters are {steps}, not one count for all")


class StateBuffers:
    """State buffers, allocated on first use: flat like the parameters, or per tensor."""

    def __init__(self, rule: type[Rule], params: Parameters) -> None:
        self._rule = rule
        self._params = params
        self._flat: dict[str, Array] = {"p": params.data, "g": params.grad}
        self._tensors: dict[tuple[str, str], Array] = {}

    def flat(self, name: str) -> Array:
        """Return the flat buffer `[B, P]` of a state, of `p` or of what is given."""
        if name not in self._flat:
            self._flat[name] = self._params.zeros() if name not in GIVEN else self._given(name)
        return self._flat[name]

    def tensor(self, name: str, parameter: str) -> Array:
        """Return the buffer `[B, *shape]` of a parameter's state, of `p` or of what is given."""
        if name == "p":
            return self._params[parameter]
        if name in GIVEN:
            return self._params.split(self._given(name))[parameter]
        if (name, parameter) not in self._tensors:
            shape = self.shape(name, parameter)
            self._tensors[name, parameter] = self._params.arrays.xp.zeros(shape, self._params.data.dtype)
        return self._tensors[name, parameter]

    def _given(self, name: str) -> Array:
        if name == "g":
            return self._params.grad
        return self._params.curvature if name == CURVATURE else self._params.noise

    def of(self, name: str, parameter: str) -> Array:
        """Return a view `[B, *shape]` of a parameter's state."""
        if self._rule.per_tensor:
            return self.tensor(name, parameter)
        return self._params.split(self.flat(name))[parameter]

    def shape(self, name: str, parameter: str) -> tuple[int, ...]:
        """Return the shape of a parameter's state, with the lane axis."""
        shape = self._params.shapes[parameter]
        return (
            self._params.lanes,
            *(self._rule.state_shapes(shape)[name] if self._rule.per_tensor else shape),
        )

    def clear(self) -> None:
        """Set all states to zero."""
        for name, buffer in self._flat.items():
            if name != "p" and name not in GIVEN:
                buffer[:] = 0
        for buffer in self._tensors.values():
            buffer[:] = 0
