"""Parameter groups with their own hyperparameters."""

from collections.abc import Collection, Iterator, Mapping, MutableMapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from optrun.errors import ConfigError, did_you_mean
from optrun.hyperparameters import Value, checked, option_named, without_tuples
from optrun.registry import Option

INITIAL = "initial_"


def matching(patterns: str | Sequence[str], names: Collection[str]) -> list[str]:
    """Return the names that match one of the globs; a glob that equals a name, such as ``w[0]``, matches only that."""
    globs = [patterns] if isinstance(patterns, str) else patterns
    exact = {glob for glob in globs if glob in names}
    return [
        name
        for name in names
        if name in exact or any(fnmatchcase(name, glob) for glob in globs if glob not in exact)
    ]


def selected(patterns: str | Sequence[str], names: Collection[str], owner: str) -> list[str]:
    """Return the names that match one of the globs; ConfigError for a glob without a match."""
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        if not matching(pattern, names):
            hint = did_you_mean(pattern, names) or f" There are: {', '.join(names)}."
            raise ConfigError(f"{owner}: no parameter matches {pattern!r}.{hint}", field="params")
    return matching(patterns, names)


class ParamGroup(MutableMapping[str, Any]):
    """Parameters that share hyperparameters, like an entry of torch's ``param_groups``; assignments are validated.

    Keys are the hyperparameters, ``params`` (the parameters' names) and, if a scheduler is bound, ``initial_lr`` or
    ``initial_`` + another hyperparameter. A hyperparameter is a float, or an array `[B]` with one value per lane.
    """

    def __init__(
        self,
        owner: str,
        options: Mapping[str, Option],
        tuples: Mapping[str, tuple[str, ...]],
        lanes: int,
        names: Sequence[str],
        values: Mapping[str, Any],
    ) -> None:
        self._owner = owner
        self.options = options
        self._tuples = tuples
        self.lanes = lanes
        self._values: dict[str, Any] = {"params": list(names)}
        self.version = 0
        """Number of assignments by hand, and of hyperparameters that became scheduled."""
        self.forecasts: dict[str, tuple[Sequence[Value], int]] = {}
        """The coming values of scheduled hyperparameters, and the index of the current value."""
        self.schedules: dict[str, object] = {}
        """The scheduler of each scheduled hyperparameter, by name."""
        for name, value in values.items():
            self[name] = value

    def __getstate__(self) -> dict[str, Any]:
        # A copy has no schedulers; a copied scheduler binds itself again.
        return {**vars(self), "forecasts": {}, "schedules": {}}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        for value in self._values.values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name in self._tuples:
            for part, number in without_tuples({name: value}, self._tuples, self._owner).items():
                self[part] = number
            return
        if name == "params":
            raise ConfigError(f"{self._owner}: the parameters of a group cannot be changed", field=name)
        scheduled = name.removeprefix(INITIAL)
        own = scheduled if name not in self.options and scheduled in self.options else name
        option = option_named(own, self.options, self._tuples, self._owner)
        self._values[name] = checked(option, value, self.lanes, self._owner)
        self.forecasts.pop(name, None)
        self.version += 1

    def __delitem__(self, name: str) -> None:
        raise ConfigError(f"{self._owner}: a hyperparameter cannot be deleted", field=name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(self._values)

    def unscheduled(self) -> dict[str, Any]:
        """Return the hyperparameters as given: the initial values of scheduled ones."""
        return {
            name: self._values.get(f"initial_{name}", self._values[name])
            for name in self.options
            if name in self._values
        }

    def assign(self, other: "ParamGroup") -> None:
        """Copy all values of another group of the same rule."""
        self._values = dict(other)
        self.forecasts.clear()
        self.version += 1

    def set_scheduled(self, name: str, values: Sequence[Value], index: int) -> None:
        """Set a scheduled hyperparameter to ``values[index]``; the later values are those of the coming steps.

        Thanks to these, the coefficients of many steps are evaluated at once.
        """
        if name not in self.forecasts:
            self.version += 1
        self._values[name] = values[index]
        self.forecasts[name] = (values, index)
