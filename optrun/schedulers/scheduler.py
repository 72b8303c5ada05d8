"""The LRScheduler contract on top of schedules that are functions of time.

A schedule is a class with one static method, whose signature is the schema::

    class ExponentialLR(LRScheduler):
        @staticmethod
        def value(t, base, /, *, gamma: NonNegative):
            return base * power(gamma, t)

``t`` counts from 0 and is `[T, 1]`, ``base`` is the group's initial rate, `[1]` or `[B]` (`[T, 1 or B]` in a
ChainedScheduler), and every float option a number or `[B]`; the result is `[T, 1]` or `[T, B]`. The rate at a step
never depends on how the step was reached, but for what a ReduceLROnPlateau has heard. An option that counts steps is
annotated as `Steps`, so that a shorter run has all of the schedule.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from optrun.arrays import Array, real
from optrun.errors import ConfigError, StateError, brief
from optrun.hyperparameters import completed
from optrun.registry import Option, check_annotated, options_of, said_of, schedulers
from optrun.schedulers.binding import Binding, HasGroups
from optrun.schedulers.expression import Expression
from optrun.schedulers.interval import INTERVAL, interval_within, without_default
from optrun.schedulers.lane_state import MEMBERS, counts, listed, mapping, numbers


class LRScheduler:
    """Sets a hyperparameter, by default the rate, of an optimizer's groups to a function of the steps taken.

    ``groups`` are indices; without them it is every group in which nothing else schedules the hyperparameter. With
    ``interval="epoch"`` the function is one of epochs of ``steps_per_epoch`` steps. Without an optimizer it is the
    function alone, to be a part of another one.

    A group that is added to the optimizer later keeps its own value until the next step; from there on the schedule
    changes it as it changes the others, by the same factors, as if it had led to this value. As in torch, a rate that
    is 0.05 when it joins is 0.05 until the next decay.

    Raises ConfigError for options that are unknown or out of range, for values out of the hyperparameter's bounds,
    and where the hyperparameter has a schedule.
    """

    value: ClassVar[Callable[..., Any]]
    """Returns the values at the steps t for the initial ones; a static method of every schedule."""

    continues: ClassVar[bool] = False
    """Whether in a SequentialLR it starts from what the schedule before it has come to."""

    takes_fractions: ClassVar[bool] = False
    """Whether `step` goes to a fraction of a step, too."""

    _total: Array
    """The sum of the metrics of the epoch that goes on, where t counts epochs."""

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
        """Return the options, by name."""
        return {**options_of(cls.value), INTERVAL.name: INTERVAL}

    @classmethod
    def validate_options(cls, options: Mapping[str, Any]) -> None:
        """Raise ConfigError for values that are impossible together."""

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
        self._options = self._owned(completed(self.options(), given, type(self).__name__))
        self.validate_options(self._options)
        self._function: Callable[..., Any] = self.value
        self._steps_per_epoch = steps_per_epoch
        self._enter("step", None)
        self._begin(1)
        self._binding: Binding | None = None
        if optimizer is not None:
            if self._divisor is None:
                raise ConfigError(
                    f"{type(self).__name__}: interval epoch needs steps_per_epoch", field="steps_per_epoch"
                )
            self._binding = Binding(self, optimizer, hyperparameter, groups)
            self._begin(self._binding.lanes)
            self._listens = self.needs_metrics
            self._binding.apply(self.last_epoch)

    @property
    def members(self) -> Sequence["LRScheduler"]:
        """The schedules that this one is made of."""
        return ()

    @property
    def needs_metrics(self) -> bool:
        """Whether `step` has to be told a metric."""
        return any(member.needs_metrics for member in self.members)

    @property
    def is_known_ahead(self) -> bool:
        """Whether it can be evaluated at steps that have not come: no Python function takes part in it."""
        functions = [each for each in self._options.values() if isinstance(each, Expression)]
        return all(each.function is None for each in functions) and all(
            member.is_known_ahead for member in self.members
        )

    def momentum(self) -> tuple[str, "LRScheduler"] | None:
        """Return the schedule of the momentum that goes with this one, and the option that turns it off."""
        return None

    def at(self, t: Any, base: Any) -> Array:
        """Return the values `[T, 1 or B]` at the steps ``t`` `[T]` for an initial one: a number, `[B]` or `[T, B]`."""
        if self._divisor is None:
            raise ConfigError(
                f"{type(self).__name__}: interval epoch needs steps_per_epoch", field="steps_per_epoch"
            )
        steps = np.asarray(t, np.float64).reshape(-1, 1)
        steps = steps if self._divisor == 1 else steps // self._divisor
        options = {name: value for name, value in self._options.items() if name != INTERVAL.name}
        values = self._function(steps, np.atleast_1d(np.asarray(base, np.float64)), **options)
        return np.broadcast_to(values, (len(steps), np.shape(values)[-1]))

    def base_for(self, t: float, values: Any) -> Array:
        """Return the initial values `[1 or B]` from which it has come to these ones at step t.

        They are the values themselves where nothing leads to them: under a schedule with a rate of its own, and where
        the schedule is at zero.
        """
        values = np.atleast_1d(np.asarray(values, np.float64))
        probe = np.where(values == 0, 1.0, values)
        first, second = self.at([t], probe)[0], self.at([t], 2 * probe)[0]
        slope = (second - first) / probe
        with np.errstate(all="ignore"):
            base: Array = (values - (first - slope * probe)) / slope
        # A cosine whose argument is rounded is not quite zero where it should be.
        return np.where(np.isfinite(base) & (np.abs(slope) > 1e-15), base, values)

    def step(self, given: Any = None, epoch: Any = None, *, metrics: Any = None) -> None:
        """Go one step on, or to the step ``epoch``: set the values that the optimizer's next step uses.

        ``metrics``, a number or `[B]`, is what came of the last step. As in torch, what is given without a name is the
        metrics where a ReduceLROnPlateau listens, and the epoch elsewhere. Raises ConfigError where metrics are needed
        or heard by nobody, and for an epoch that is no step.
        """
        binding = self._bound()
        if given is not None:
            if (metrics if self._listens else epoch) is not None:
                raise ConfigError(f"{type(self).__name__}: step is given the same thing twice")
            metrics, epoch = (given, epoch) if self._listens else (metrics, given)
        there = self.last_epoch + 1 if epoch is None else self._step_to(epoch)
        if self._listens:
            binding.adopt()
            if metrics is None:
                raise ConfigError(
                    f"{type(self).__name__}: step needs metrics for ReduceLROnPlateau", field="metrics"
                )
            heard = real(metrics, "metrics")
            if heard.shape not in ((), (binding.lanes,)):
                raise ConfigError(
                    f"{type(self).__name__}: metrics are one number or {binding.lanes}, one per lane "
                    f"(got {heard.shape})",
                    field="metrics",
                )
            heard = np.broadcast_to(heard, (binding.lanes,))
            if self.hear(int(self.last_epoch), heard):
                binding.forget()
        elif metrics is not None:
            raise ConfigError(f"{type(self).__name__}: it listens to no metrics", field="metrics")
        self.last_epoch = there
        binding.apply(self.last_epoch)

    def close(self, metrics: Any = None) -> None:
        """Take in what came of the last step, and go to one that need not come: no value is set for it."""
        if self._listens:
            self.hear(
                int(self.last_epoch), np.broadcast_to(np.asarray(metrics, np.float64), (self._bound().lanes,))
            )
        self.last_epoch += 1

    def get_last_lr(self) -> list[Any]:
        """Return the current value in each group: a float, or `[B]` where it differs between lanes."""
        return self._bound().current()

    def state_dict(self) -> dict[str, Any]:
        """Return all that is not a function of the options: the number of steps taken, what metrics have come to."""
        heard = {"heard": self._heard()} if self.needs_metrics else {}
        return {"scheduler": type(self).__name__, "last_epoch": self.last_epoch, **heard}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go to the step of a state, and set the optimizer's values that belong to it.

        Raises StateError for the state of another scheduler, and for what is none.
        """
        if state_dict.get("scheduler") != type(self).__name__:
            raise StateError(
                f"this is the state of {state_dict.get('scheduler')}, not of {type(self).__name__}"
            )
        last_epoch = state_dict.get("last_epoch")
        if not (self.takes_fractions and type(last_epoch) is float and 0 <= last_epoch < 2**53):
            (last_epoch,) = counts([last_epoch], 1, "last_epoch").tolist()
        if self.needs_metrics:
            self._recall(mapping(state_dict.get("heard"), type(self).__name__))
        self.last_epoch = last_epoch
        self._bound().forget()
        self._bound().apply(self.last_epoch)

    def values_at(self, steps: Array) -> list[tuple[Any, str, Sequence[Any]]]:
        """Return each group with a hyperparameter and its values at the steps, after the metrics so far."""
        return self._bound().table(steps)

    @property
    def hyperparameter(self) -> str:
        """What it schedules: the rate, or what the config says."""
        return self._bound().hyperparameter

    def independent(self, steps: Array) -> list[str]:
        """Return the hyperparameters whose initial values make no difference at the steps."""
        return self._bound().independent(steps)

    def hear(self, t: int, metrics: Array) -> bool:
        """Take in the metrics `[B]` of step t; return whether a rate is lower from now on."""
        if not self.needs_metrics:
            return False
        divisor = self._divisor or 1
        if divisor == 1:
            return self._hear(t, metrics)
        self._total = self._total + metrics
        if (t + 1) % divisor:
            return False
        mean, self._total = self._total / divisor, np.zeros_like(self._total)
        return self._hear(t // divisor, mean)

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        if self._binding is not None:
            self._binding.prepare(self.last_epoch)

    def __repr__(self) -> str:
        given = (f"{name}={value}" for name, value in without_default(self._options).items())
        return f"{type(self).__name__}({', '.join(given)})"

    def _step_to(self, epoch: Any) -> float:
        """Return the step to go to; ConfigError for what is none."""
        own = type(self).__name__
        if self.members:
            raise ConfigError(f"{own}: step goes to the next step alone, and takes no epoch", field="epoch")
        is_number = isinstance(epoch, (int, float, np.integer, np.floating)) and not isinstance(epoch, bool)
        if not is_number or not 0 <= epoch < 2**53 or not (self.takes_fractions or epoch == int(epoch)):
            kind = "a number" if self.takes_fractions else "an integer"
            raise ConfigError(
                f"{own}: the epoch to go to is {kind} ≥ 0 (got {brief(epoch)}); leave it out for the next step",
                field="epoch",
            )
        return int(epoch) if epoch == int(epoch) else float(epoch)

    def _owned(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options with members that no other schedule has."""
        return options

    def _enter(self, enclosing: str, steps_per_epoch: int | None) -> None:
        """Count as the schedule around it does, or by epochs where that one counts steps."""
        own, wrong = interval_within(self._options, enclosing)
        if wrong:
            raise ConfigError(said_of(type(self).__name__, INTERVAL.name, wrong), field=INTERVAL.name)
        self._steps_per_epoch = steps_per_epoch or self._steps_per_epoch
        self._divisor = 1 if own == enclosing else self._steps_per_epoch
        for i, member in enumerate(self.members):
            try:
                member._enter(own, self._steps_per_epoch)
            except ConfigError as error:
                raise ConfigError(str(error), field=f"schedulers.{i}.{error.field}") from error

    def _begin(self, lanes: int) -> None:
        """Forget all metrics; there will be those of so many lanes."""
        self._total = np.zeros(lanes)
        for member in self.members:
            member._begin(lanes)

    def _hear(self, t: int, metrics: Array) -> bool:
        return False

    def _heard(self) -> dict[str, Any]:
        """Return what metrics have come to, as JSON has it."""
        total = {"total": listed(self._total)} if self._divisor != 1 else {}
        members = [member._heard() if member.needs_metrics else None for member in self.members]
        return {**total, **({MEMBERS: members} if members else {})}

    def _recall(self, heard: Mapping[str, Any]) -> None:
        """Take over what `_heard` returned; StateError where it does not fit."""
        if self._divisor != 1:
            self._total = numbers(heard.get("total"), len(self._total), "total")
        if self.members:
            states = heard.get(MEMBERS)
            if not isinstance(states, list) or len(states) != len(self.members):
                raise StateError(f"{type(self).__name__}: the state has other schedulers")
            for member, state in zip(self.members, states, strict=True):
                if member.needs_metrics:
                    member._recall(mapping(state, type(member).__name__))

    def _bound(self) -> Binding:
        if self._binding is None:
            raise ConfigError(f"{type(self).__name__}: it is bound to no optimizer")
        return self._binding
