"""The Optimizer contract: torch's, seen through lanes.

A rule is a class with one static method, whose signature is the schema::

    class SGD(Optimizer):
        @staticmethod
        def update(p, g, t, /, momentum_buffer, *, lr: NonNegative = 1e-3, momentum: NonNegative = 0.0):
            momentum_buffer[:] = where(t == 1, g, momentum * momentum_buffer + g)
            p -= lr * momentum_buffer

Before `/` stand the parameters, the gradient and the number of this step (from 1); between `/` and `*` the state,
which starts at zero; after `*` the hyperparameters. Floats may differ from lane to lane and from step to step;
anything else is fixed when the rule is traced, so a rule may branch on a bool but not on a float or on `t`.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np

from optrun.arrays import Array, Parameters
from optrun.errors import ConfigError, StateError, did_you_mean
from optrun.hyperparameters import spelled_out
from optrun.kernels.numpy_engine import NumpyEngine
from optrun.kernels.stepper import Engine
from optrun.kernels.trace import Program, trace
from optrun.optim.group_update import GroupUpdate
from optrun.optim.param_group import ParamGroup, matching
from optrun.registry import Option, optimizers, options_of

Hook = Callable[..., Any]


class Optimizer:
    """Updates the parameters of all lanes by one rule; groups of parameters have hyperparameters of their own.

    ``groups`` are mappings with ``params``, a glob or a list of globs on parameter names, and hyperparameters that
    replace the defaults; parameters in no group are not updated. Without groups all parameters are one group.

    Raises ConfigError for hyperparameters that are unknown or out of range, patterns that match nothing and
    parameters in two groups.
    """

    tuples: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Hyperparameters that torch spells as one tuple."""

    update: ClassVar[Callable[..., None]]
    """Changes the parameters and the state in place, given the gradient; a static method of every rule."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        optimizers.add(cls, cls.__name__)

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Return the hyperparameters, by name."""
        return {**options_of(cls.update), "maximize": Option("maximize", bool, False)}

    @classmethod
    def validate_options(cls, options: Mapping[str, Any]) -> None:
        """Raise ConfigError for values that are impossible together."""

    @classmethod
    def states(cls) -> tuple[str, ...]:
        """Return the names of the state buffers."""
        parameters = inspect.signature(cls.update).parameters.values()
        return tuple(
            parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        )

    @classmethod
    @cache
    def program(cls, flags: tuple[tuple[str, Any], ...]) -> Program:
        """Return the traced rule for these values of the hyperparameters that are no floats."""
        others = dict(flags)
        maximize = others.pop("maximize")
        floats = tuple(name for name, option in cls.options().items() if option.is_float)
        return trace(cls.update, cls.states(), floats, others, maximize=maximize)

    def __init__(
        self,
        params: Parameters,
        groups: Sequence[Mapping[str, Any]] | None = None,
        *,
        engine: Engine | None = None,
        **defaults: Any,
    ) -> None:
        self.params = params
        self.param_groups: list[ParamGroup] = []
        self._engine = engine or NumpyEngine()
        self._buffers: dict[str, Array] = {"p": params.data, "g": params.grad}
        self._updates: list[GroupUpdate] = []
        self._pre_hooks: dict[int, Hook] = {}
        self._post_hooks: dict[int, Hook] = {}
        own = {name: option.default for name, option in self.options().items() if not option.required}
        given = spelled_out(defaults, self.tuples, type(self).__name__)
        self.defaults = {
            name: value for name, value in self._group([], {**own, **given}).items() if name != "params"
        }
        for group in groups if groups is not None else [{"params": "*"}]:
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add a group of parameters; its step count and its state start at zero."""
        if "params" not in group:
            raise ConfigError(
                f"{type(self).__name__}: a group needs params, a glob on parameter names", field="params"
            )
        values = spelled_out(
            {k: v for k, v in group.items() if k != "params"}, self.tuples, type(self).__name__
        )
        names = self._names(group["params"])
        added = self._group(names, {**self.defaults, **values})
        self.param_groups.append(added)
        self._updates.append(GroupUpdate(type(self), added, self._engine, self.params, self._buffer))

    def zero_grad(self) -> None:
        """Set the gradients to zero."""
        self.params.grad[:] = 0

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters once; a closure is called first to compute the gradients, and its loss returned."""
        for hook in tuple(self._pre_hooks.values()):
            hook(self)
        loss = closure() if closure is not None else None
        for update in self._updates:
            update()
        for hook in tuple(self._post_hooks.values()):
            hook(self)
        return loss

    def register_step_pre_hook(self, hook: Hook) -> "HookHandle":
        """Call ``hook(optimizer)`` before every step."""
        return HookHandle(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: Hook) -> "HookHandle":
        """Call ``hook(optimizer)`` after every step."""
        return HookHandle(self._post_hooks, hook)

    @property
    def state(self) -> dict[str, dict[str, Any]]:
        """The state of each parameter by name: ``step`` and views `[B, *shape]` of its buffers."""
        views = {
            name: self.params.split(self._buffers[name]) for name in self.states() if name in self._buffers
        }
        return {
            parameter: {"step": update.t}
            | {name: views[name][parameter] for name in self.states() if name in update.stepper.live}
            for update in self._updates
            if update.t
            for parameter in update.group["params"]
        }

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state and of the groups: parameters are known by name."""
        return {
            "optimizer": type(self).__name__,
            "state": {
                parameter: {name: _copy(value) for name, value in entry.items()}
                for parameter, entry in self.state.items()
            },
            "param_groups": [
                {name: _copy(value) for name, value in group.items()} for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Copy in what `state_dict` returned.

        Raises StateError, and changes nothing, where the rule, a name, a group or a shape differs.
        """
        groups, state = self._verified(state_dict)
        for update, group in zip(self._updates, groups, strict=True):
            update.group.update({name: value for name, value in group.items() if name != "params"})
            entries = [state[name] for name in group["params"] if name in state]
            update.restart(entries[0]["step"] if entries else 0)
        for parameter, entry in state.items():
            for name in entry.keys() - {"step"}:
                self.params.split(self._buffer(name))[parameter][:] = self.params.arrays.array(entry[name])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.param_groups))})"

    def _verified(
        self, state_dict: Mapping[str, Any]
    ) -> tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]:
        rule, own = state_dict.get("optimizer"), type(self).__name__
        if rule != own:
            raise StateError(f"this is the state of {rule}, not of {own}")
        groups, state = state_dict["param_groups"], state_dict["state"]
        loaded = [list(group["params"]) for group in groups]
        if loaded != [group["params"] for group in self.param_groups]:
            raise StateError(
                f"{own}: the state's groups are {loaded}, not {[g['params'] for g in self.param_groups]}"
            )
        for parameter, entry in state.items():
            shape = (self.params.lanes, *self.params.shapes[parameter])
            unknown = entry.keys() - {"step", *self.states()}
            if unknown:
                raise StateError(f"{own}: {parameter} has an unknown state {sorted(unknown)[0]!r}")
            for name in entry.keys() - {"step"}:
                if np.shape(entry[name]) != shape:
                    raise StateError(f"{own}: {name} of {parameter} is {np.shape(entry[name])}, not {shape}")
        return groups, state

    def _group(self, names: Sequence[str], values: Mapping[str, Any]) -> ParamGroup:
        group = ParamGroup(type(self).__name__, self.options(), self.tuples, self.params.lanes, names, values)
        missing = [name for name in self.options() if name not in group]
        if missing:
            raise ConfigError(f"{type(self).__name__}: {missing[0]} is required", field=missing[0])
        self.validate_options(group)
        return group

    def _names(self, patterns: str | Sequence[str]) -> list[str]:
        matched = matching(patterns, self.params)
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            if not matching(pattern, self.params):
                hint = did_you_mean(pattern, self.params) or f" There are: {', '.join(self.params)}."
                raise ConfigError(
                    f"{type(self).__name__}: no parameter matches {pattern!r}.{hint}", field="params"
                )
        for group in self.param_groups:
            for name in group["params"]:
                if name in matched:
                    raise ConfigError(f"{type(self).__name__}: {name!r} is in two groups", field="params")
        return matched

    def _buffer(self, name: str) -> Array:
        if name not in self._buffers:
            self._buffers[name] = self.params.zeros()
        return self._buffers[name]


class HookHandle:
    """A registered hook, which `remove` unregisters."""

    def __init__(self, hooks: dict[int, Hook], hook: Hook) -> None:
        self._hooks = hooks
        hooks[id(self)] = hook

    def remove(self) -> None:
        """Unregister the hook."""
        self._hooks.pop(id(self), None)


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, (np.ndarray, list)) else value
