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
from optrun.errors import ConfigError, StateError
from optrun.hyperparameters import spelled_out
from optrun.kernels.numpy_engine import NumpyEngine
from optrun.kernels.stepper import Engine
from optrun.kernels.trace import Program, trace
from optrun.optim.group_update import GroupUpdate
from optrun.optim.param_group import ParamGroup, selected
from optrun.registry import Option, blamed, optimizers, options_of

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
        if hasattr(cls, "update") and not cls.__name__.startswith("_"):
            _check_signature(cls)
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
        with blamed(cls.__name__):
            return trace(cls.update, cls.states(), floats, others, maximize=maximize)

    def __init__(
        self,
        params: Parameters,
        groups: Sequence[Mapping[str, Any]] | None = None,
        *,
        engine: Engine | None = None,
        **defaults: Any,
    ) -> None:
        if not isinstance(params, Parameters):
            raise ConfigError(
                f"{type(self).__name__}: parameters are a Parameters, for one lane Parameters.of({{name: array}})",
                field="params",
            )
        self.params = params
        self.param_groups: list[ParamGroup] = []
        self._engine = engine or NumpyEngine()
        self._buffers: dict[str, Array] = {"p": params.data, "g": params.grad}
        self._updates: list[GroupUpdate] = []
        self._pre_hooks: dict[HookHandle, Hook] = {}
        self._post_hooks: dict[HookHandle, Hook] = {}
        own = {name: option.default for name, option in self.options().items() if not option.required}
        given = spelled_out(defaults, self.tuples, type(self).__name__)
        self.defaults = {
            name: value for name, value in self._group([], {**own, **given}).items() if name != "params"
        }
        if groups is not None and not groups:
            raise ConfigError(f"{type(self).__name__}: the list of groups is empty", field="params")
        for group in groups or [{"params": "*"}]:
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
        self._updates.append(self._update_of(added))

    def zero_grad(self) -> None:
        """Set the gradients to zero."""
        self.params.grad[:] = 0

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters once; a closure is called first to compute the gradients, and its loss returned."""
        args: tuple[Any, ...] = () if closure is None else (closure,)
        kwargs: dict[str, Any] = {}
        for hook in tuple(self._pre_hooks.values()):
            replaced = hook(self, args, kwargs)
            if replaced is not None:
                args, kwargs = replaced
        loss = self._step(*args, **kwargs)
        for hook in tuple(self._post_hooks.values()):
            hook(self, args, kwargs)
        return loss

    def register_step_pre_hook(self, hook: Hook) -> "HookHandle":
        """Call ``hook(optimizer, args, kwargs)`` before every step; it may return other args and kwargs."""
        return HookHandle(self._pre_hooks, hook)

    def register_step_post_hook(self, hook: Hook) -> "HookHandle":
        """Call ``hook(optimizer, args, kwargs)`` after every step."""
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

        Raises StateError, and changes nothing, where the rule, a name, a group, a shape or a hyperparameter does not
        fit, or state is missing.
        """
        groups, state = self._verified(state_dict)
        starts = [self._verified_state(self._update_of(group), state) for group in groups]
        for update, group, start in zip(self._updates, groups, starts, strict=True):
            update.group.assign(group)
            update.restart(*start)
        for buffer in (self._buffers[name] for name in self.states() if name in self._buffers):
            buffer[:] = 0
        for parameter, entry in state.items():
            for name in entry.keys() - {"step"}:
                self.params.split(self._buffer(name))[parameter][:] = self.params.arrays.array(entry[name])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.param_groups))})"

    def _step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = closure() if closure is not None else None
        for update in self._updates:
            update()
        return loss

    def _verified(self, state_dict: Mapping[str, Any]) -> tuple[list[ParamGroup], Mapping[str, Any]]:
        """Return the groups and the state of a state_dict, both of which fit this optimizer's parameters."""
        own = type(self).__name__
        if state_dict.get("optimizer") != own:
            raise StateError(f"this is the state of {state_dict.get('optimizer')}, not of {own}")
        try:
            given = [dict(group) for group in state_dict["param_groups"]]
            names = [list(group.pop("params")) for group in given]
            state = dict(state_dict["state"])
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"{own}: this is no state_dict: {error!r}") from None
        expected = [group["params"] for group in self.param_groups]
        if names != expected:
            raise StateError(f"{own}: the state's groups are {names}, not {expected}")
        try:
            groups = [self._group(*group) for group in zip(names, given, strict=True)]
        except ConfigError as error:
            raise StateError(str(error)) from error
        unknown = [parameter for parameter in state if not any(parameter in group for group in names)]
        if unknown:
            raise StateError(f"{own}: there is no parameter {unknown[0]!r}")
        return groups, state

    def _verified_state(self, update: GroupUpdate, state: Mapping[str, Any]) -> tuple[int, frozenset[str]]:
        """Return the step count of a group and the names of its buffers, which every parameter of it has."""
        own, members = type(self).__name__, [name for name in update.group["params"] if name in state]
        if not members:
            return 0, frozenset()
        names, steps = frozenset(state[members[0]]) - {"step"}, state[members[0]].get("step")
        if type(steps) is not int or steps < 0:
            raise StateError(f"{own}: step of {members[0]} is {steps!r}, not a count")
        for name in sorted((names - {*self.states()}) | (update.needed_states() - names)):
            is_missing = "is missing" if name in self.states() else "is unknown"
            raise StateError(f"{own}: the state {name!r} of {members[0]} {is_missing}")
        for parameter in update.group["params"]:
            entry = state.get(parameter, {})
            if entry.get("step") != steps or frozenset(entry) != names | {"step"}:
                raise StateError(f"{own}: {parameter} has another state than {members[0]}")
            shape = (self.params.lanes, *self.params.shapes[parameter])
            for name in names:
                if np.shape(entry[name]) != shape:
                    raise StateError(f"{own}: {name} of {parameter} is {np.shape(entry[name])}, not {shape}")
        return steps, names

    def _update_of(self, group: ParamGroup) -> GroupUpdate:
        return GroupUpdate(type(self), group, self._engine, self.params, self._buffer)

    def _group(self, names: Sequence[str], values: Mapping[str, Any]) -> ParamGroup:
        group = ParamGroup(type(self).__name__, self.options(), self.tuples, self.params.lanes, names, values)
        missing = [name for name in self.options() if name not in group]
        if missing:
            raise ConfigError(f"{type(self).__name__}: {missing[0]} is required", field=missing[0])
        self.validate_options(group)
        return group

    def _names(self, patterns: str | Sequence[str]) -> list[str]:
        matched = selected(patterns, self.params, type(self).__name__)
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

    def __init__(self, hooks: "dict[HookHandle, Hook]", hook: Hook) -> None:
        self._hooks = hooks
        hooks[self] = hook

    def remove(self) -> None:
        """Unregister the hook."""
        self._hooks.pop(self, None)


def _check_signature(rule: type[Optimizer]) -> None:
    parameters = list(inspect.signature(rule.update).parameters.values())
    first = [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_ONLY]
    if len(first) != 3:
        raise TypeError(f"{rule.__name__}.update takes p, g, t before a slash: update(p, g, t, /, …)")
    if "lr" not in options_of(rule.update):
        raise TypeError(f"{rule.__name__}.update needs a hyperparameter lr after a star: update(…, *, lr: …)")


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, (np.ndarray, list)) else value
