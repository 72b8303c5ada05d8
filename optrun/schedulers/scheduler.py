"""LRScheduler, torch's scheduler interface for schedules that are functions of the step.

A schedule is a class with one static method, whose signature is the schema::

    class ExponentialLR(LRScheduler):
        @staticmethod
        def value(t, base, /, *, gamma: NonNegative):
            return base * power(gamma, t)

``t`` counts from 0 and is `[T, 1]`, ``base`` is the group's initial value, `[1]` or `[B]` (`[T, 1 or B]` in a
ChainedScheduler), and every float option is a scalar or `[B]`; the result is `[T, 1]` or `[T, B]`. The value at a
step does not depend on how the step was reached, except for the metrics that a ReduceLROnPlateau has observed. An
option that counts steps is annotated as `Steps`, so that a shortened run still has the whole schedule.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from optrun.arrays import Array, real
from optrun.errors import ConfigError, StateError, brief
from optrun.hyperparameters import completed
from optrun.intervals import INTERVAL, interval_within, without_default
from optrun.kernels.deferred import Deferred
from optrun.registry import Option, check_annotated, checks_nothing, options_of, said_of, schedulers
from optrun.schedulers.binding import Binding, HasGroups, ScheduledGroup
from optrun.schedulers.function_of_time import FunctionOfTime
from optrun.schedulers.lane_state import MEMBERS, counts_from_json, floats_from_json, mapping, to_json
from optrun.schedulers.warmup import WARMUP, WARMUP_START, rise


class LRScheduler:
    """Sets a hyperparameter, by default lr, of an optimizer's groups to a function of the number of steps.

    ``groups`` are indices of groups; by default all groups whose hyperparameter has no other scheduler. With
    ``interval="epoch"`` t counts epochs of ``steps_per_epoch`` steps. With ``warmup`` the value first rises linearly,
    from the fraction ``warmup_start`` of the schedule's first value, and t counts from the end of the rise. Without an
    optimizer it can only be a member of another scheduler.

    A group that is added to the optimizer later keeps its current value until the next step, as in torch. From then on
    its value changes by the same factors as the others: its initial value is the one that leads to its current value.

    Raises ConfigError for unknown or invalid options, for values out of the hyperparameter's bounds, and if the
    hyperparameter already has a scheduler.
    """

    value: ClassVar[Callable[..., Any]]
    """Static method of every subclass: returns the values at the steps t for the initial values."""

    continues: ClassVar[bool] = False
    """Whether, in a SequentialLR, its initial value is the final value of the previous schedule."""

    takes_fractions: ClassVar[bool] = False
    """Whether `step` accepts fractional steps."""

    _total: Array
    """The sum `[B]` of the metrics of the current epoch, if t counts epochs."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__name__.startswith("_"):
            return
        if not hasattr(cls, "value"):
            schedulers.add_lacking(cls, "value(t, base, /, *, …)")
        else:
            check_annotated(f"{cls.__name__}.value", cls.value)
            schedulers.add(cls, cls.__name__)

    @classmethod
    def options(cls) -> dict[str, Option]:
        own = options_of(cls.value)
        # A class that has a warm-up of its own, as a plugin may, has no other.
        common = (INTERVAL,) if WARMUP.name in own else (INTERVAL, WARMUP, WARMUP_START)
        return {**own, **{option.name: option for option in common}}

    @classmethod
    @checks_nothing
    def validate_options(cls, options: Mapping[str, Any]) -> None:
        """Raise ConfigError for options that contradict each other."""

    @classmethod
    def observed_figure(cls, options: Mapping[str, Any]) -> str | None:
        """Return the figure of the evaluations that a schedule with these options observes itself; None without one."""
        return None

    def __init__(
        self,
        optimizer: HasGroups | None = None,
        *args: Any,
        hyperparameter: str = "lr",
        groups: Sequence[int] | None = None,
        steps_per_epoch: int | None = None,
        **options: Any,
    ) -> None:
        self.optimizer = optimizer
        self.last_epoch: float = 0
        names = list(options_of(self.value))
        if len(args) > len(names):
            raise ConfigError(f"{type(self).__name__}: at most {len(names)} options, {', '.join(names)}")
        if steps_per_epoch is not None and "steps_per_epoch" in names:
            options["steps_per_epoch"] = steps_per_epoch
        given = {**dict(zip(names, args, strict=False)), **options}
        self._options = self._with_own_members(completed(self.options(), given, type(self).__name__))
        self.validate_options(self._options)
        self._function: Callable[..., Any] = self.value
        self._steps_per_epoch = steps_per_epoch
        self._resolve_interval("step", None)
        self._reset_metrics(1)
        self._binding: Binding | None = None
        if optimizer is not None:
            if self._divisor is None:
                raise ConfigError(
                    f"{type(self).__name__}: interval epoch needs steps_per_epoch", field="steps_per_epoch"
                )
            self._binding = Binding(self, optimizer, hyperparameter, groups)
            self._reset_metrics(self._binding.lanes)
            self._needs_metrics = self.needs_metrics
            self._binding.apply(self.last_epoch)

    @property
    def members(self) -> Sequence["LRScheduler"]:
        """The schedulers that this one is composed of."""
        return ()

    @property
    def needs_metrics(self) -> bool:
        """Whether `step` needs a metric."""
        return any(member.needs_metrics for member in self.members)

    @property
    def figures(self) -> set[str]:
        """The figures of the evaluations of a run that it observes, in place of a metric of each step."""
        own = self.observed_figure(self._options)
        return set(() if own is None else (own,)).union(*(member.figures for member in self.members))

    @property
    def has_feedback(self) -> bool:
        """Whether its values depend on a metric of the steps or on figures of the evaluations."""
        return self.needs_metrics or bool(self.figures)

    @property
    def is_known_ahead(self) -> bool:
        """Whether it can be evaluated at future steps: a Python function, which may have side effects, cannot."""
        functions = [each for each in self._options.values() if isinstance(each, FunctionOfTime)]
        return all(each.function is None for each in functions) and all(
            member.is_known_ahead for member in self.members
        )

    def momentum(self) -> tuple[str, "LRScheduler"] | None:
        """Return the option that turns the momentum schedule off, and that schedule; None without one."""
        return None

    @property
    def _warmup(self) -> tuple[int, Any]:
        """The length of the warm-up, 0 for none, and the fraction from which it rises."""
        if WARMUP_START.name not in self._options:
            return 0, 1.0
        return self._options[WARMUP.name], self._options[WARMUP_START.name]

    def at(self, t: Any, base: Any) -> Any:
        """Return the values `[T, 1 or B]` at the steps ``t`` `[T]` for initial values: a scalar, `[B]` or `[T, B]`.

        They are deferred if the initial values are, and then they may be fewer. NotDeferredError where they cannot be.
        """
        if self._divisor is None:
            raise ConfigError(
                f"{type(self).__name__}: interval epoch needs steps_per_epoch", field="steps_per_epoch"
            )
        steps = np.asarray(t, np.float64).reshape(-1, 1)
        steps = steps if self._divisor == 1 else steps // self._divisor
        options = {name: self._options[name] for name in options_of(self.value)}
        warmup, start = self._warmup
        since = np.maximum(steps - warmup, 0.0) if warmup else steps
        if isinstance(base, Deferred):
            options = {name: _deferred(value) for name, value in options.items()}
            values = self._function(since, base, **options)
            # A sequence may have made those of its first turn only.
            rows = len(steps) if len(values) == 1 else len(values)
            return values * rise(steps[:rows], warmup, _deferred(start)) if warmup else values
        values = self._function(since, np.atleast_1d(np.asarray(base, np.float64)), **options)
        values = values * rise(steps, warmup, start) if warmup else values
        return np.broadcast_to(values, (len(steps), np.shape(values)[-1]))

    def base_for(self, t: float, values: Any) -> Array:
        """Return the initial values `[1 or B]` that give ``values`` at step t.

        They are ``values`` itself where no initial value gives them: if the schedule ignores the initial value, or is 0
        at step t.
        """
        values = np.atleast_1d(np.asarray(values, np.float64))
        probe = np.where(values == 0, 1.0, values)
        first, second = self.at([t], probe)[0], self.at([t], 2 * probe)[0]
        slope = (second - first) / probe
        with np.errstate(all="ignore"):
            base: Array = (values - (first - slope * probe)) / slope
        # A cosine of a rounded argument is not exactly zero where the exact one is.
        return np.where(np.isfinite(base) & (np.abs(slope) > 1e-15), base, values)

    def _without_warmup(self, t: float, values: Any) -> tuple[float, Any]:
        """Return the step of the schedule after its warm-up, and the values without the warm-up's fraction."""
        t, (warmup, start) = t // (self._divisor or 1), self._warmup
        if not warmup:
            return t, values
        fraction = rise(t, warmup, start)
        # At 0 no initial value leads to the values.
        return max(t - warmup, 0), values / np.where(fraction == 0, 1.0, fraction)

    def step(self, given: Any = None, epoch: Any = None, *, metrics: Any = None) -> None:
        """Advance to the next step, or to step ``epoch``, and set the values that the optimizer's next step uses.

        ``metrics``, a scalar or `[B]`, is the metric of the last step. As in torch, a positional argument is the
        metrics if `needs_metrics`, otherwise the epoch. Raises ConfigError if metrics are missing or not needed, and
        for an invalid epoch.
        """
        binding = self._bound()
        if given is not None:
            if (metrics if self._needs_metrics else epoch) is not None:
                raise ConfigError(f"{type(self).__name__}: step is given the same argument twice")
            metrics, epoch = (given, epoch) if self._needs_metrics else (metrics, given)
        there = self.last_epoch + 1 if epoch is None else self._step_to(epoch)
        if self._needs_metrics:
            binding.initialize_new_groups()
            if metrics is None:
                raise ConfigError(
                    f"{type(self).__name__}: step needs metrics for ReduceLROnPlateau", field="metrics"
                )
            values = real(metrics, "metrics")
            if values.shape not in ((), (binding.lanes,)):
                raise ConfigError(
                    f"{type(self).__name__}: metrics are one number or {binding.lanes}, one per lane "
                    f"(got {values.shape})",
                    field="metrics",
                )
            values = np.broadcast_to(values, (binding.lanes,))
            if self.observe_metric(int(self.last_epoch), values):
                binding.invalidate()
        elif metrics is not None:
            raise ConfigError(f"{type(self).__name__}: step takes no metrics", field="metrics")
        self.last_epoch = there
        binding.apply(self.last_epoch)

    def observe_evaluation(self, figures: Mapping[str, Array]) -> None:
        """Observe an evaluation before the next step of the optimizer, whose values it changes.

        ``figures`` are `[B]` each, by name. One that does not exist yet, as those of an average that begins later, is
        not observed.
        """
        if self.figures and self.observe_figures(int(self.last_epoch), figures):
            self._bound().invalidate()
            self._bound().apply(self.last_epoch)

    def look_far(self, steps: int) -> None:
        """Of the steps to come, know the values of many ahead, which a table of all lanes would be too large for."""
        self._bound().look_far(self.last_epoch, steps)

    def check(self, steps: Array) -> None:
        """Raise ConfigError for a value out of bounds at one of the steps, given the metrics so far."""
        self._bound().check(steps)

    def advance(self, steps: int) -> None:
        """Advance by so many steps of a schedule that needs no metrics."""
        self.last_epoch += steps
        self._bound().apply(self.last_epoch)

    def finish(self, metrics: Any = None) -> None:
        """Observe the metrics of the run's last step, without setting values for a step after it."""
        if self._needs_metrics:
            self.observe_metric(
                int(self.last_epoch), np.broadcast_to(np.asarray(metrics, np.float64), (self._bound().lanes,))
            )
        self.last_epoch += 1

    def get_last_lr(self) -> list[Any]:
        """Return the current value of each group: a float, or `[B]` if it differs between lanes."""
        return self._bound().current()

    def state_dict(self) -> dict[str, Any]:
        """Return what does not follow from the options: the number of steps, and the state that depends on metrics."""
        # The key of stores of format 1.
        observed = {"heard": self._metric_state()} if self.has_feedback else {}
        return {"scheduler": type(self).__name__, "last_epoch": self.last_epoch, **observed}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Restore a state, and set the optimizer's hyperparameters accordingly.

        Raises StateError if the state is invalid or of another scheduler.
        """
        if state_dict.get("scheduler") != type(self).__name__:
            raise StateError(
                f"this is the state of {state_dict.get('scheduler')}, not of {type(self).__name__}"
            )
        last_epoch = state_dict.get("last_epoch")
        if not (self.takes_fractions and type(last_epoch) is float and 0 <= last_epoch < 2**53):
            (last_epoch,) = counts_from_json([last_epoch], 1, "last_epoch").tolist()
        if self.has_feedback:
            self._load_metric_state(mapping(state_dict.get("heard"), type(self).__name__))
        self.last_epoch = last_epoch
        self._bound().invalidate()
        self._bound().apply(self.last_epoch)

    def values_at(self, steps: Array) -> list[tuple[Any, str, Sequence[Any]]]:
        """Return each group, a hyperparameter and its values at the steps, given the metrics so far."""
        return self._bound().table(steps)

    @property
    def hyperparameter(self) -> str:
        return self._bound().hyperparameter

    def independent(self, steps: Array) -> dict[str, list[ScheduledGroup]]:
        """Return the groups, by hyperparameter, whose initial value does not affect the values at the steps."""
        return self._bound().independent(steps)

    def observe_metric(self, t: int, metrics: Array) -> bool:
        """Observe the metrics `[B]` of step t; return whether the values of later steps change."""
        if not self.needs_metrics:
            return False
        divisor = self._divisor or 1
        since = t // divisor - self._warmup[0]
        if divisor == 1:
            return since >= 0 and self._observe_metric(since, metrics)
        self._total = self._total + metrics
        if (t + 1) % divisor:
            return False
        mean, self._total = self._total / divisor, np.zeros_like(self._total)
        return since >= 0 and self._observe_metric(since, mean)

    def observe_figures(self, t: int, figures: Mapping[str, Array]) -> bool:
        """Observe the figures `[B]` of an evaluation at step t; return whether the values change from there on."""
        since = t // (self._divisor or 1) - self._warmup[0]
        return since >= 0 and bool(self.figures) and self._observe_figures(since, figures)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        if self._binding is not None:
            self._binding.prepare(self.last_epoch)

    def __repr__(self) -> str:
        unused = () if self._warmup[0] else (WARMUP.name, WARMUP_START.name)
        shown = {name: value for name, value in without_default(self._options).items() if name not in unused}
        given = (f"{name}={value}" for name, value in shown.items())
        return f"{type(self).__name__}({', '.join(given)})"

    def _step_to(self, epoch: Any) -> float:
        """Return the step that ``epoch`` means; ConfigError if it is invalid."""
        own = type(self).__name__
        if self.members:
            raise ConfigError(f"{own}: step always advances by one and takes no epoch", field="epoch")
        is_number = isinstance(epoch, (int, float, np.integer, np.floating)) and not isinstance(epoch, bool)
        if not is_number or not 0 <= epoch < 2**53 or not (self.takes_fractions or epoch == int(epoch)):
            kind = "a number" if self.takes_fractions else "an integer"
            raise ConfigError(
                f"{own}: epoch must be {kind} ≥ 0 (got {brief(epoch)}); omit it to advance by one step",
                field="epoch",
            )
        return int(epoch) if epoch == int(epoch) else float(epoch)

    def _with_own_members(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options with copies of the members, so that no two schedulers share a member."""
        return options

    def _resolve_interval(self, enclosing: str, steps_per_epoch: int | None) -> None:
        """Count as the enclosing schedule does, or epochs within one that counts steps."""
        own, wrong = interval_within(self._options, enclosing)
        if wrong:
            raise ConfigError(said_of(type(self).__name__, INTERVAL.name, wrong), field=INTERVAL.name)
        self._steps_per_epoch = steps_per_epoch or self._steps_per_epoch
        self._divisor = 1 if own == enclosing else self._steps_per_epoch
        for i, member in enumerate(self.members):
            try:
                member._resolve_interval(own, self._steps_per_epoch)
            except ConfigError as error:
                raise ConfigError(str(error), field=f"schedulers.{i}.{error.field}") from error

    def _reset_metrics(self, lanes: int) -> None:
        """Reset the state that depends on metrics, for so many lanes."""
        self._total = np.zeros(lanes)
        for member in self.members:
            member._reset_metrics(lanes)

    def _observe_metric(self, t: int, metrics: Array) -> bool:
        return False

    def _observe_figures(self, t: int, figures: Mapping[str, Array]) -> bool:
        return False

    def _metric_state(self) -> dict[str, Any]:
        """Return the state that depends on metrics, as JSON."""
        total = {"total": to_json(self._total)} if self._divisor != 1 else {}
        members = [member._metric_state() if member.has_feedback else None for member in self.members]
        return {**total, **({MEMBERS: members} if members else {})}

    def _load_metric_state(self, state: Mapping[str, Any]) -> None:
        """Restore what `_metric_state` returned; StateError if it is invalid."""
        if self._divisor != 1:
            self._total = floats_from_json(state.get("total"), len(self._total), "total")
        if self.members:
            states = state.get(MEMBERS)
            if not isinstance(states, list) or len(states) != len(self.members):
                raise StateError(f"{type(self).__name__}: the state is of other members")
            for member, each in zip(self.members, states, strict=True):
                if member.has_feedback:
                    member._load_metric_state(mapping(each, type(member).__name__))

    def _bound(self) -> Binding:
        if self._binding is None:
            raise ConfigError(f"{type(self).__name__}: it is not bound to an optimizer")
        return self._binding


def _deferred(value: Any) -> Any:
    """Return an option, deferred where lanes differ in it."""
    return Deferred.of_lanes(value) if isinstance(value, np.ndarray) and value.size > 1 else value
