"""What many runs leave as columns, which are mappings by run: what one has left is made when it is asked for."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

import numpy as np

from optrun.arrays import Array
from optrun.store import RunState
from optrun.store.curve_columns import CurveColumns
from optrun.store.states import States

T = TypeVar("T")


class OfRuns(Mapping[int, T]):
    """What each of some runs has left, by its number."""

    def __init__(self, runs: Sequence[int] | Array) -> None:
        self.runs = np.asarray(runs, np.int64)
        """The numbers of the runs ``[n]``."""

    @abstractmethod
    def at(self, place: int) -> T:
        """Return what the run at this place of `runs` has left."""

    def __getitem__(self, run: int) -> T:
        return self.at(self._places[run])

    def __contains__(self, run: object) -> bool:
        return run in self._places

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self.runs)

    @cached_property
    def _places(self) -> dict[int, int]:
        return dict(zip(self.runs.tolist(), range(len(self.runs)), strict=True))


class StatesOfRuns(OfRuns[RunState]):
    """The states of runs; ``seconds`` is how long the only one took, if it was alone and has ended."""

    def __init__(self, runs: Sequence[int] | Array, states: States, seconds: float | None = None) -> None:
        super().__init__(runs)
        self.states, self.seconds = states, seconds

    def at(self, place: int) -> RunState:
        state = self.states[place]
        return state if self.seconds is None else replace(state, seconds=self.seconds)


class SeriesOfRuns(OfRuns[Mapping[str, Array]]):
    """The evaluations of runs."""

    def __init__(self, runs: Sequence[int] | Array, columns: CurveColumns) -> None:
        super().__init__(runs)
        self.columns = columns

    def at(self, place: int) -> Mapping[str, Array]:
        return self.columns.of(place)

    def joined(self) -> CurveColumns:
        """Return the evaluations of the runs, one run after another."""
        return self.columns


class ParamsOfRuns(OfRuns[Mapping[str, Array]]):
    """The parameters of runs by name, ``[n, *shape]``; of those in a mask ``[n]`` more by other names."""

    def __init__(
        self,
        runs: Sequence[int] | Array,
        own: Mapping[str, Array],
        more: Mapping[str, Array],
        has_more: Array,
    ) -> None:
        super().__init__(runs)
        self.own, self._more, self._has_more = own, more, has_more

    @property
    def columns(self) -> Mapping[str, Array] | None:
        """All of them by name; None where runs have other names."""
        if not self._has_more.any():
            return self.own
        return {**self.own, **self._more} if self._has_more.all() else None

    def at(self, place: int) -> Mapping[str, Array]:
        named = {**self.own, **self._more} if self._has_more[place] else self.own
        return {name: values[place] for name, values in named.items()}

    @staticmethod
    def joined(parts: "Sequence[ParamsOfRuns]", size: int) -> Mapping[str, Array] | None:
        """Return the parameters of the runs 0 … size - 1, each of which a part has; None if names differ."""
        found: dict[str, Array] = {}
        assert sum(map(len, parts)) == size, "a run has its parameters once"
        for part in parts:
            columns = part.columns
            if columns is None or (found and found.keys() != columns.keys()):
                return None
            if len(part) == size and (np.diff(part.runs) > 0).all():
                return columns
            for name, values in columns.items():
                if name not in found:
                    found[name] = np.empty((size, *values.shape[1:]), values.dtype)
                found[name][part.runs] = values
        return found
