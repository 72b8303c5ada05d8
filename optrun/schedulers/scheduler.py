"""The LRScheduler contract on top of schedules that are functions of time.

A schedule is a class with one static method, whose signature is the schema::

    class ExponentialLR(LRScheduler):
        @staticmethod
        def value(t, base, /, *, gamma: NonNegative):
            return base * power(gamma, t)

``t`` counts from 0 and is `[T, 1]`, ``base`` is the group's initial rate, `[1]` or `[B]`, and so is every float
option; the result is `[T, 1]` or `[T, B]`. The rate at a step never depends on how the step was reached.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np

from optrun.arrays import Array, steps_ahead
from optrun.errors import ConfigError, StateError
from optrun.hyperparameters import checked, option_named
from optrun.registry import Option, options_of, schedulers


class Group(Protocol):
    """What a scheduler needs of a parameter group."""

    @property
    def lanes(self) -> int:
        """The number of lanes."""
        ...

    def __getitem__(self, name: str, /) -> Any: ...

    def setdefault(self, key: str, default: Any, /) -> Any:
        """Return the value of a key, set first where it is missing."""

    def follow(self, name: str, values: Sequence[Any], index: int) -> None:
        """Set a hyperparameter to one of the values, which the following ones will replace."""


class HasGroups(Protocol):
    """What a scheduler needs of an optimizer."""

    scheduler: object | None

    @property
    def param_groups(self) -> Sequence[Group]:
        """The groups, in order."""
        ...


class LRScheduler:
    """Sets the rate of every group of an optimizer to a function of the number of steps taken.

    Without an optimizer it is the function alone, to be a part of another one.

    Raises ConfigError for options that are unknown or out of range, for rates below zero, and where the optimizer
    has a scheduler.
    """

    value: ClassVar[Callable[..., Any]]
    """Returns the rates at the steps t for the initial rates; a static method of every schedule."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if hasattr(cls, "value") and not cls.__name__.startswith("_"):
            schedulers.add(cls, cls.__name__)

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Return the options, by name."""
        return options_of(cls.value)

    @classmethod
    def validate_options(cls, options: Mapping[str, Any]) -> None:
        """Raise ConfigError for values that are impossible together."""

    def __init__(self, optimizer: HasGroups | None = None, *args: Any, **options: Any) -> None:
        self.optimizer = optimizer
        self.last_epoch = 0
        names = list(self.options())
        if len(args) > len(names):
            raise ConfigError(f"{type(self).__name__}: at most {len(names)} options, {', '.join(names)}")
        self._options = self._checked({**dict(zip(names, args, strict=False)), **options})
        self._first = 0
        self._rates: list[Sequence[Any]] = []
        if optimizer is not None:
            if optimizer.scheduler is not None:
                raise ConfigError(
                    f"{type(self).__name__}: the optimizer has a scheduler already; combine them in a "
                    "SequentialLR, whose parts are made without the optimizer"
                )
            self._apply()
            optimizer.scheduler = self

    def at(self, t: Any, base: Any) -> Array:
        """Return the rates `[T, 1 or B]` at the steps ``t`` `[T]` for an initial rate, a number or `[B]`."""
        steps = np.asarray(t, np.float64).reshape(-1, 1)
        rates = self.value(steps, np.atleast_1d(np.asarray(base, np.float64)), **self._options)
        return np.broadcast_to(rates, (len(steps), np.shape(rates)[-1]))

    def step(self) -> None:
        """Go one step on: set the rates that the optimizer's next step uses."""
        self.last_epoch += 1
        self._apply()

    def get_last_lr(self) -> list[Any]:
        """Return the current rate of each group: a float, or `[B]` where it differs between lanes."""
        return [group["lr"] for group in self._bound().param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return all that is not a function of the options: the number of steps taken."""
        return {"scheduler": type(self).__name__, "last_epoch": self.last_epoch}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go to the step of a state, and set the rates of the optimizer that belong to it.

        Raises StateError for the state of another scheduler.
        """
        if state_dict.get("scheduler") != type(self).__name__:
            raise StateError(
                f"this is the state of {state_dict.get('scheduler')}, not of {type(self).__name__}"
            )
        self.last_epoch = int(state_dict["last_epoch"])
        self._rates = []
        self._apply()

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self._options.items())})"
        )

    def _checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        owner, known = type(self).__name__, self.options()
        options = {name: option.default for name, option in known.items() if not option.required} | dict(
            given
        )
        missing = [name for name in known if name not in options]
        if missing:
            raise ConfigError(f"{owner}: {missing[0]} is required", field=missing[0])
        for name, value in options.items():
            options[name] = checked(option_named(name, known, {}, owner), value, np.size(value), owner)
        self.validate_options(options)
        return options

    def _apply(self) -> None:
        groups = self._bound().param_groups
        row = self.last_epoch - self._first
        if len(self._rates) != len(groups) or not 0 <= row < len(self._rates[0]):
            self._first, row = self.last_epoch, 0
            bases = [group.setdefault("initial_lr", group["lr"]) for group in groups]
            steps = np.arange(self._first, self._first + steps_ahead(groups[0].lanes))
            self._rates = [self._rows(steps, base, groups[0].lanes) for base in bases]
        for group, rates in zip(groups, self._rates, strict=True):
            group.follow("lr", rates, row)

    def _rows(self, steps: Array, base: Any, lanes: int) -> list[Any]:
        """Return the rate of each step: a float, or `[B]` where it differs between lanes."""
        rates = self.at(steps, base)
        if rates.shape[1] not in (1, lanes):
            raise ConfigError(
                f"{type(self).__name__}: its options are for {rates.shape[1]} lanes, not {lanes}"
            )
        wrong = ~(np.isfinite(rates) & (rates >= 0)).all(axis=1)
        if wrong.any():
            t, rate = steps[wrong][0], rates[wrong][0].min()
            raise ConfigError(
                f"{type(self).__name__}: lr must be ≥ 0 and finite (got {rate} at step {t})", field="lr"
            )
        return rates[:, 0].tolist() if rates.shape[1] == 1 else list(rates)

    def _bound(self) -> HasGroups:
        if self.optimizer is None:
            raise ConfigError(f"{type(self).__name__}: it is bound to no optimizer")
        return self.optimizer
