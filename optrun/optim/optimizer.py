"""Optimizer, torch's interface for all lanes at once."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from optrun.arrays import Array, Parameters
from optrun.errors import ConfigError, StateError, brief
from optrun.hyperparameters import without_tuples
from optrun.kernels import engine_named
from optrun.kernels.program import CURVATURE, NOISE
from optrun.kernels.stepper import Engine
from optrun.kernels.trajectory import Stretch
from optrun.optim.group_update import GroupUpdate, step_together
from optrun.optim.hooks import Hook, HookHandle, Hooks
from optrun.optim.param_group import ParamGroup, selected
from optrun.optim.rule import Rule
from optrun.optim.state import StateBuffers

HOOKS = ("step", "stepped", "save", "saved", "load", "loaded")
_NOT_COPIED = ("_engine", "_buffers", "_hooks", "_updates", "_probes", "_start", "_rules")


class Update(Protocol):
    """The steps of one parameter group; the implementation depends on the kind of rule."""

    group: ParamGroup
    t: int
    """The number of steps so far."""

    @property
    def is_staged(self) -> bool:
        """Whether a step is made in stages, since it depends on sums or on the loss."""
        ...

    @property
    def __call__(self) -> Callable[..., Any]:
        """Make a step."""
        ...

    def state(self, parameter: str) -> dict[str, Any]:
        """Return a parameter's state by name, including ``step``."""
        ...

    def is_read(self, name: str, open: Collection[str]) -> bool:
        """Return whether a float hyperparameter may have an effect; ``open`` ones may take any value."""
        ...

    def state_bytes(self, steps: int) -> int:
        """Return an upper bound of the state's size in bytes after so many steps."""
        ...

    def verify(self, state: Mapping[str, Any]) -> None:
        """Raise StateError unless the entries of a state_dict are a valid state of this group."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Restore verified entries of a state_dict."""


class Optimizer(Rule):
    """Updates the parameters of all lanes by one rule, with hyperparameters per parameter group.

    ``groups`` are mappings with ``params``, a glob or a list of globs on parameter names, and hyperparameters that
    override the defaults; parameters in no group are not updated. By default all parameters are one group. A group with
    a ``rule``, another class, is updated by that one, whose own defaults it has.

    Raises ConfigError for unknown or invalid hyperparameters, globs without a match, and parameters in two groups.
    """

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
                f"{type(self).__name__}: params must be a Parameters, for one lane Parameters.of({{name: array}})",
                field="params",
            )
        if params.lanes > 1 and not self.batched:
            raise ConfigError(f"{type(self).__name__}: supports one lane, not {params.lanes}", field="name")
        self.params = params
        self.param_groups: list[ParamGroup] = []
        self._engine = engine or engine_named("auto", params.arrays.backend)
        self._buffers: dict[type[Rule], StateBuffers] = {}
        self._rules: list[type[Rule]] = []
        self._updates: list[Update] = []
        self._probes: list[GroupUpdate] = []
        self._start: Array | None = None
        self._hooks = {kind: Hooks() for kind in HOOKS}
        own = self.defaults_of_options()
        given = without_tuples(defaults, self.tuples, type(self).__name__)
        self.defaults = {
            name: value
            for name, value in self._group(type(self), [], {**own, **given}).items()
            if name != "params" and (name in given or name not in self.derived)
        }
        if groups is not None and not (
            isinstance(groups, Sequence) and all(isinstance(group, Mapping) for group in groups)
        ):
            raise ConfigError(
                f"{type(self).__name__}: groups must be a list of mappings (got {brief(groups)}); "
                "hyperparameters are keyword arguments",
                field="params",
            )
        if groups is not None and not groups:
            raise ConfigError(f"{type(self).__name__}: the list of groups is empty", field="params")
        for group in groups or [{"params": "*"}]:
            self.add_param_group(group)

    def __getstate__(self) -> dict[str, Any]:
        own = {name: value for name, value in vars(self).items() if name not in _NOT_COPIED}
        state = {
            parameter: {name: self._on_host(value) for name, value in entry.items()}
            for parameter, entry in self.state.items()
        }
        rules = [rule.recipe() for rule in self._rules]
        return {**own, "engine": type(self._engine), "rules": rules, "state": state}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        # As in torch, hooks are not copied.
        apart = ("engine", "rules", "state")
        vars(self).update({name: value for name, value in state.items() if name not in apart})
        self._rules = [make(*args) for make, args in state["rules"]]
        self._engine = state["engine"]()
        self._buffers = {}
        self._hooks = {kind: Hooks() for kind in HOOKS}
        self._updates = [self._update_of(*each) for each in zip(self._rules, self.param_groups, strict=True)]
        for update in self._updates:
            update.load(state["state"])
        self._start = None
        self._make_probes()

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add a parameter group; its step count and state start at zero."""
        if "params" not in group:
            raise ConfigError(
                f"{type(self).__name__}: a group needs params, a glob on parameter names", field="params"
            )
        rule = self._rule_of(group)
        given = {name: value for name, value in group.items() if name not in ("params", "rule")}
        values = without_tuples(given, rule.tuples, rule.__name__)
        names = self._names(group["params"])
        for name in names:
            rule.validate_parameter(name, self.params.shapes[name])
        defaults = self.defaults if rule is type(self) else rule.defaults_of_options()
        added = self._group(rule, names, {**defaults, **values})
        self._rules.append(rule)
        self.param_groups.append(added)
        self._updates.append(self._update_of(rule, added))
        self._make_probes()

    @property
    def makes_stretches(self) -> bool:
        """Whether `stretch` returns coming steps: of an elementwise rule, one group, no hooks, no step of its own."""
        has_hooks = any(next(iter(self._hooks[kind]), None) for kind in ("step", "stepped"))
        is_one = len(self._updates) == 1 and isinstance(self._updates[0], GroupUpdate)
        is_own = type(self).step is not Optimizer.step
        apart = any(rule.per_tensor or rule.given() for rule in self._rules)
        return is_one and not (is_own or has_hooks or apart or self.needs_closure or self.reduces)

    @property
    def reduces(self) -> bool:
        """Whether a step depends on sums of elements or on the loss, for which it waits on the host."""
        return any(update.is_staged for update in (*self._updates, *self._probes))

    @property
    def needs_loss(self) -> bool:
        """Whether a step depends on the loss of the batch."""
        return any(rule.takes_loss() for rule in self._rules)

    @property
    def reads_samples(self) -> bool:
        """Whether some steps read `params.curvature` or `params.noise`."""
        return any(rule.given() for rule in self._rules)

    @property
    def draws(self) -> bool:
        """Whether its steps may depend on the seed."""
        return self.reads_samples

    @property
    def awaits_curvature(self) -> bool:
        """Whether the next step reads `params.curvature`, which the caller writes then as it writes gradients."""
        return self._awaits(CURVATURE)

    @property
    def awaits_noise(self) -> bool:
        """Whether the next step reads `params.noise`, which the caller writes then: normal numbers."""
        return self._awaits(NOISE)

    def look_far(self, steps: int) -> None:
        """Of the steps to come, return in `stretch` as many as may be."""
        for update in self._updates:
            assert isinstance(update, GroupUpdate)
            update.look_far(steps)

    def stretch(self, most: int) -> Stretch:
        """Return the coming steps, at most so many; they count as made, and the caller makes them."""
        (update,) = self._updates
        assert isinstance(update, GroupUpdate)
        return update.stretch(most)

    def zero_grad(self) -> None:
        self.params.grad[:] = 0

    def step(self, closure: Callable[[], Any] | None = None, *, loss: Any = None) -> Any:
        """Update the parameters once; a closure is called first, to compute the gradients, and its loss is returned.

        A rule that depends on the loss of the batch needs a closure or that ``loss``, a number or `[lanes]`.
        """
        args: tuple[Any, ...] = () if closure is None else (closure,)
        kwargs: dict[str, Any] = {} if loss is None else {"loss": loss}
        for hook in self._hooks["step"]:
            replaced = hook(self, args, kwargs)
            if replaced is not None:
                args, kwargs = replaced
        loss = self._step(*args, **kwargs)
        for hook in self._hooks["stepped"]:
            hook(self, args, kwargs)
        return loss

    @property
    def has_post_hooks(self) -> bool:
        """Whether a post-step hook is registered, which may read the result of every step."""
        return next(iter(self._hooks["stepped"]), None) is not None

    def register_step_pre_hook(self, hook: Hook) -> HookHandle:
        """Call ``hook(optimizer, args, kwargs)`` before every step; it may return other args and kwargs."""
        return self._hooks["step"].register(hook)

    def register_step_post_hook(self, hook: Hook) -> HookHandle:
        """Call ``hook(optimizer, args, kwargs)`` after every step."""
        return self._hooks["stepped"].register(hook)

    def register_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> HookHandle:
        """Call ``hook(optimizer)`` before every `state_dict`."""
        return self._hooks["save"].register(hook, prepend=prepend)

    def register_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> HookHandle:
        """Call ``hook(optimizer, state_dict)`` with the result of `state_dict`; it may return a replacement."""
        return self._hooks["saved"].register(hook, prepend=prepend)

    def register_load_state_dict_pre_hook(self, hook: Hook, prepend: bool = False) -> HookHandle:
        """Call ``hook(optimizer, state_dict)`` before a state is loaded; it may return a replacement."""
        return self._hooks["load"].register(hook, prepend=prepend)

    def register_load_state_dict_post_hook(self, hook: Hook, prepend: bool = False) -> HookHandle:
        """Call ``hook(optimizer)`` after a state has been loaded."""
        return self._hooks["loaded"].register(hook, prepend=prepend)

    @property
    def state(self) -> dict[str, dict[str, Any]]:
        """The state of each parameter by name: ``step``, views `[B, *shape]` of its buffers, scalar states `[B]`."""
        return {
            parameter: update.state(parameter)
            for update in self._updates
            if update.t
            for parameter in update.group["params"]
        }

    def is_read(self, name: str, open: Collection[str] = ()) -> bool:
        """Return whether a float hyperparameter may have an effect; ``open`` ones may take any value."""
        return any(update.is_read(name, open) for update in (*self._updates, *self._probes))

    def state_bytes(self, steps: int) -> int:
        """Return an upper bound of the state's size in bytes after so many steps, without allocating it."""
        start = self.params.data.nbytes if self._probes else 0
        return start + sum(update.state_bytes(steps) for update in self._updates)

    def averaged(self) -> dict[str, Array] | None:
        """Return the rule's own average of the parameters, views by name; None if it has none."""
        return self._of_state(self.average)

    def at_evaluation(self) -> dict[str, Array] | None:
        """Return what is evaluated in place of the parameters, views by name; None if the parameters are."""
        return self._of_state(self.evaluated)

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the state and of the parameter groups; parameters are identified by name."""
        for hook in self._hooks["save"]:
            hook(self)
        saved: dict[str, Any] = {
            "optimizer": type(self).__name__,
            "state": {
                parameter: {name: _copy(value) for name, value in entry.items()}
                for parameter, entry in self.state.items()
            },
            "param_groups": [
                {name: _copy(value) for name, value in group.items()} for group in self.param_groups
            ],
        }
        for hook in self._hooks["saved"]:
            saved = _replaced(hook(self, saved), saved)
        return saved

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned.

        Raises StateError, without changes, if the rule, a name, a group, a shape or a hyperparameter does not fit, or
        if state is missing.
        """
        for hook in self._hooks["load"]:
            state_dict = _replaced(hook(self, state_dict), state_dict)
        groups, state = self._verified(state_dict)
        for rule, group in zip(self._rules, groups, strict=True):
            self._update_of(rule, group).verify(state)
        for buffers in self._buffers.values():
            buffers.clear()
        for update, group in zip(self._updates, groups, strict=True):
            update.group.assign(group)
            update.load(state)
        self._make_probes()
        for hook in self._hooks["loaded"]:
            hook(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.param_groups))})"

    def _of_state(self, kept: str) -> dict[str, Array] | None:
        state = self.state if kept else {}
        if not state:
            return None
        return {name: state.get(name, {}).get(kept, value) for name, value in self.params.items()}

    def _awaits(self, name: str) -> bool:
        return any(
            name in rule.given() and update.t % rule.reads_every(update.group) == 0
            for rule, update in zip(self._rules, self._updates, strict=True)
        )

    def _on_host(self, value: Any) -> Any:
        return self.params.arrays.to_host(value) if hasattr(value, "dtype") else value

    def _step(self, closure: Callable[[], Any] | None = None, *, loss: Any = None) -> Any:
        loss = closure() if closure is not None else loss
        if self._probes:
            if closure is None:
                raise ConfigError(
                    f"{type(self).__name__}: step needs a closure that computes the gradients and returns the loss"
                )
            loss = _copy(loss)
            self._probe(closure)
        _make_steps(self._updates, self._loss_of_lanes(loss) if self.needs_loss else None)
        return loss

    def _loss_of_lanes(self, loss: Any) -> Array:
        """Return the loss of the batch as `[B]` on the host; raises ConfigError where it is missing."""
        own, lanes = type(self).__name__, self.params.lanes
        if loss is None:
            raise ConfigError(
                f"{own}: the step depends on the loss of the batch: step(closure) or step(loss=loss)"
            )
        found = np.array(self._on_host(loss), np.float64)
        if found.size != lanes or found.ndim > 1:
            raise ConfigError(
                f"{own}: the loss is {found.shape}, not one number for each of the {lanes} lanes"
            )
        return found.reshape(lanes)

    def _probe(self, closure: Callable[[], Any]) -> None:
        """Take the gradient where the rule wants it, and go back."""
        if self._start is None:
            self._start = self.params.zeros()
        self._start[:] = self.params.data
        _make_steps(self._probes)
        closure()
        self.params.data[:] = self._start

    def _make_probes(self) -> None:
        """Make the updates that move the parameters to where the gradient is taken, which have no state but a count."""
        self._probes = []
        for rule, update in zip(self._rules, self._updates, strict=True):
            if probe := rule.probe():
                buffers = StateBuffers(probe, self.params)
                self._probes.append(GroupUpdate(probe, update.group, self._engine, self.params, buffers))
                self._probes[-1].t = update.t

    def _verified(self, state_dict: Mapping[str, Any]) -> tuple[list[ParamGroup], Mapping[str, Any]]:
        """Return the parameter groups and the state of a state_dict, after checking that they fit."""
        own = type(self).__name__
        if not isinstance(state_dict, Mapping):
            raise StateError(f"{own}: not a state_dict: {state_dict!r}")
        if state_dict.get("optimizer") != own:
            raise StateError(f"this is the state of {state_dict.get('optimizer')}, not of {own}")
        try:
            given = [dict(group) for group in state_dict["param_groups"]]
            names = [list(group.pop("params")) for group in given]
            state = dict(state_dict["state"])
        except (KeyError, TypeError, ValueError) as error:
            raise StateError(f"{own}: not a state_dict: {error!r}") from None
        # As in torch, a switch that an older state lacks has its default value.
        if len(given) == len(self._rules):
            given = [{**_switches(rule), **group} for rule, group in zip(self._rules, given, strict=True)]
        expected = [group["params"] for group in self.param_groups]
        if names != expected:
            raise StateError(f"{own}: the state's groups are {names}, not {expected}")
        try:
            groups = [self._group(*group) for group in zip(self._rules, names, given, strict=True)]
        except ConfigError as error:
            raise StateError(str(error)) from error
        unknown = [parameter for parameter in state if not any(parameter in group for group in names)]
        if unknown:
            raise StateError(f"{own}: there is no parameter {unknown[0]!r}")
        for parameter, entry in state.items():
            if not isinstance(entry, Mapping):
                raise StateError(f"{own}: the state of {parameter} is {entry!r}, not a mapping")
        return groups, state

    def _rule_of(self, group: Mapping[str, Any]) -> type[Rule]:
        rule: type[Rule] = group.get("rule", type(self))
        if rule is type(self):
            return rule
        own = type(self).__name__
        if not (isinstance(rule, type) and issubclass(rule, Rule)):
            raise ConfigError(f"{own}: the rule of a group is a class (got {brief(rule)})", field="rule")
        self.check_beside(rule)
        return rule

    @classmethod
    def check_beside(cls, rule: type[Rule]) -> None:
        """Raise ConfigError if a group has another rule and one of the two has to be alone, which its field tells."""
        for each, field in ((rule, "rule"), (cls, "name")):
            if (each.needs_closure and not each.probe()) or each.average or not each.traced:
                what = "averages the parameters" if each.average else "evaluates the loss itself"
                what = what if each.traced else "is of another library"
                said = f"{cls.__name__}: {each.__name__} {what}, so that it goes with no other rule"
                raise ConfigError(said, field=field)

    def _update_of(self, rule: type[Rule], group: ParamGroup) -> Update:
        buffers = self._buffers.setdefault(rule, StateBuffers(rule, self.params))
        return GroupUpdate(rule, group, self._engine, self.params, buffers)

    def _group(self, rule: type[Rule], names: Sequence[str], values: Mapping[str, Any]) -> ParamGroup:
        own, options = rule.__name__, rule.options()
        values = {**values, **{name: values[of] for name, of in rule.derived.items() if name not in values}}
        group = ParamGroup(own, options, rule.tuples, self.params.lanes, names, values)
        missing = [name for name in options if name not in group]
        if missing:
            raise ConfigError(f"{own}: {missing[0]} is required", field=missing[0])
        rule.validate_options(group.unscheduled())
        return group

    def _names(self, patterns: str | Sequence[str]) -> list[str]:
        matched = selected(patterns, self.params, type(self).__name__)
        for group in self.param_groups:
            for name in group["params"]:
                if name in matched:
                    raise ConfigError(f"{type(self).__name__}: {name!r} is in two groups", field="params")
        return matched


def _make_steps(updates: Sequence[Update], loss: Array | None = None) -> None:
    if any(update.is_staged for update in updates):
        step_together([update for update in updates if isinstance(update, GroupUpdate)], loss)
    else:
        for update in updates:
            update()


def _switches(rule: type[Rule]) -> dict[str, bool]:
    return {name: option.default for name, option in rule.options().items() if option.type is bool}


def _replaced(returned: Any, given: Any) -> Any:
    """Return a hook's result, or the given value if that is None."""
    return given if returned is None else returned


def _copy(value: Any) -> Any:
    return value.copy() if hasattr(value, "copy") else value
