"""The states of many runs as columns, of which one is made when it is asked for."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any, overload

import numpy as np

from optrun.arrays import Array
from optrun.store import schema
from optrun.store.blocks import Block, shared
from optrun.store.types import NO_FIGURES, STEPS_TO_TARGET, RunState, Status

STATUSES = tuple(Status)
CODES = {status: code for code, status in enumerate(STATUSES)}
_FINAL = np.array([status.final for status in STATUSES])
MOST_NAMES = 1 << 16


class States(Sequence[RunState]):
    """The states of runs, in columns ``[n]``."""

    def __init__(self, size: int = 0, status: Status = Status.WAITING) -> None:
        self.codes = np.full(size, CODES[status], np.uint8)
        """The places of the statuses in STATUSES."""
        self.steps = np.zeros(size, np.int64)
        self.reasons: Array = np.full(size, "", object)
        self.figures: dict[str, Array] = {}
        """By name, NaN where there is none, or no finite one."""
        self.derived: dict[str, dict[int, float | None]] = {}
        """Figures by name that are computed, of the runs that have them."""
        self._names: list[tuple[str, ...]] = [()]
        """The names in summaries, in their order."""
        self._named = np.zeros(size, np.uint16)
        """Which of the names each run has."""

    @classmethod
    def of(cls, states: Iterable[RunState]) -> "States":
        """Return the columns of states; their derived figures are left out."""
        if isinstance(states, States):
            return states.copy()
        listed = list(states)
        found = cls(len(listed))
        found.codes[:] = [CODES[state.status] for state in listed]
        found.steps[:] = [state.steps for state in listed]
        found.reasons[:] = [state.reason for state in listed]
        for place, state in enumerate(listed):
            for name, value in state.derived.items():
                found.derived.setdefault(name, {})[place] = value
        summaries = [state.summary for state in listed]
        alike = {tuple(summary): None for summary in {id(each): each for each in summaries}.values()}
        if len(alike) == 1:
            (names,) = alike
            found._named[:] = found._number(names)
            for name in names:
                values = np.array([each[name] for each in summaries], np.float64)  # None is NaN
                found.figures[name][:] = np.where(np.isfinite(values), values, np.nan)
        else:
            for place, summary in enumerate(summaries):
                if summary:
                    found._put_summary(place, summary)
        return found

    def copy(self) -> "States":
        """Return states that may be changed."""
        return self._mapped(np.copy)

    def put(self, runs: Any, states: "States") -> None:
        """Have runs, by their indices, these states."""
        self.codes[runs], self.steps[runs] = states.codes, states.steps
        self.reasons[runs] = states.reasons
        numbers = np.array([self._number(names) for names in states._names], np.uint16)
        self._named[runs] = numbers[states._named]
        for name, values in self.figures.items():
            values[runs] = states.figures.get(name, np.nan)

    def put_figures(self, runs: Array, figures: Mapping[str, Array]) -> None:
        """Have runs ``[n]``, by their indices, these figures ``[n]`` and no others; one that is not finite is none."""
        self._named[runs] = self._number(tuple(figures))
        for name, values in self.figures.items():
            given = figures.get(name, np.nan)
            values[runs] = np.where(np.isfinite(given), given, np.nan)

    def extend(self, states: "States") -> None:
        """Add the states of more runs."""
        size = len(self)
        grown = States(size + len(states))
        grown.put(slice(size), self)
        grown.put(slice(size, None), states)
        self.__dict__ = grown.__dict__

    @property
    def ended(self) -> Array:
        """Which runs have ended."""
        return _FINAL[self.codes]

    @property
    def in_turn(self) -> list[Status]:
        """The statuses that runs have, in the order in which they come."""
        codes, first = np.unique(self.codes, return_index=True)
        return [STATUSES[code] for code in codes[np.argsort(first)]]

    @property
    def statuses(self) -> set[Status]:
        """The statuses that runs have."""
        return {STATUSES[code] for code in np.flatnonzero(np.bincount(self.codes))}

    def are(self, *statuses: Status) -> Array:
        """Return which runs have one of these statuses."""
        return np.isin(self.codes, [CODES[status] for status in statuses])

    def chosen(self, runs: Any) -> "States":
        """Return the states of some runs, by their indices."""
        return self._mapped(lambda column: column[runs])

    def alike(self, repeats: int) -> list[int]:
        """Return the groups of so many runs that have ended well, as others have: by their figures and steps."""
        size = len(self) // repeats
        ended = (self.ended & ~self.are(Status.DIVERGED, Status.FAILED)).reshape(size, repeats).all(axis=1)
        columns = [self.codes.astype(np.int64), self.steps, self._named.astype(np.int64)]
        columns += [values.view(np.int64) for values in self.figures.values()]
        keys = np.stack(columns, axis=1).reshape(size, repeats * len(columns))[ended]
        raw = np.ascontiguousarray(keys).view(np.dtype((np.void, keys.shape[1] * 8))).reshape(-1)
        _, found, counts = np.unique(raw, return_inverse=True, return_counts=True)
        places: list[int] = np.flatnonzero(ended)[counts[found] > 1].tolist()
        return places

    def count(self, value: object) -> int:
        """Return how many runs have a status, or are in a state."""
        return int(self.are(value).sum()) if isinstance(value, Status) else super().count(value)

    def has(self, figure: str) -> Array:
        """Return which runs have a figure in their summary, be it one that is not finite."""
        return np.array([figure in names for names in self._names])[self._named]

    def values(self, figure: str) -> tuple[Array, Array]:
        """Return a figure of all runs as `RunState.figure` has it, NaN for none, and whether it counts."""
        bad = self.are(Status.DIVERGED, Status.FAILED)
        if figure == STEPS_TO_TARGET:
            reached = self.are(Status.TARGET_REACHED)
            return np.where(reached, self.steps.astype(np.float64), np.nan), np.ones(len(self), bool)
        values = self.figures.get(figure, np.full(len(self), np.nan)).copy()
        counts = bad | self.has(figure)
        for run, value in self.derived.get(figure, {}).items():
            if figure not in self._names[self._named[run]]:
                values[run], counts[run] = np.nan if value is None else value, True
        values[bad | ~np.isfinite(values)] = np.nan
        return values, counts

    def shown(self, figure: str) -> Array:
        """Return a figure of all runs as summaries have it, NaN where there is none."""
        values = self.figures.get(figure, np.full(len(self), np.nan)).copy()
        for run, value in self.derived.get(figure, {}).items():
            values[run] = np.nan if value is None else value
        return values

    @property
    def names(self) -> list[str]:
        """The figures of all summaries, in the order in which they come."""
        numbers, first = np.unique(self._named, return_index=True)
        in_turn = numbers[np.argsort(first)]
        return list(dict.fromkeys(name for number in in_turn for name in self._names[number]))

    def to_block(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what a block has of these states."""
        texts = {text: code for code, text in enumerate(dict.fromkeys(self.reasons.tolist()))}
        numbers, named = np.unique(self._named, return_inverse=True)
        names = [list(self._names[number]) for number in numbers]
        columns = list(dict.fromkeys(name for of in names for name in of))
        meta = {"statuses": list(STATUSES), "reasons": list(texts), "figures": columns, "names": names}
        arrays: dict[str, Array] = {
            "status": self.codes,
            "steps": self.steps,
            "reason": np.array([texts[text] for text in self.reasons], np.int32),
            "names": named.astype(np.uint16),
            **{f"figure{i}": self.figures[name] for i, name in enumerate(columns)},
        }
        return meta, {name: shared(values) for name, values in arrays.items()}

    @classmethod
    def of_block(cls, block: Block) -> "States":
        """Return the states in a block; StoreError where it is damaged."""
        statuses, reasons, columns, names = block.lists("statuses", "reasons", "figures", "names")
        if not all(map(_are_texts, (statuses, reasons, columns, *names))):
            raise block.fault("does not tell what its codes mean")
        if unknown := [each for each in statuses if each not in set(map(str, STATUSES))]:
            raise block.fault(f"has the unknown status {unknown[0]!r}")
        if len(names) > MOST_NAMES or any(len({*of}) < len(of) or not {*of} <= {*columns} for of in names):
            raise block.fault("has other figures than it names")
        found = cls(len(block.runs))
        codes = np.array([CODES[Status(each)] for each in statuses], np.uint8)
        found.codes = codes[block.codes("status", len(statuses))]
        found.steps = block.column("steps", "i").astype(np.int64)
        if ((found.steps < 0) | (found.steps > schema.LAST_STEP)).any():
            raise block.fault("has impossible steps")
        found.reasons = _objects(reasons)[block.codes("reason", len(reasons))]
        found._names = [tuple(of) for of in names]
        found._named = block.codes("names", len(names)).astype(np.uint16)
        for i, name in enumerate(columns):
            values = block.column(f"figure{i}", "f").astype(np.float64)
            found.figures[name] = np.where(np.isfinite(values), values, np.nan)
        return found

    @overload
    def __getitem__(self, index: int) -> RunState: ...
    @overload
    def __getitem__(self, index: slice) -> "States": ...
    def __getitem__(self, index: int | slice) -> "RunState | States":
        if isinstance(index, slice):
            return self._mapped(lambda column: column[index])
        names = self._names[self._named[index]]
        place = range(len(self))[index]
        derived = {name: found[place] for name, found in self.derived.items() if place in found}
        return RunState(
            status=STATUSES[self.codes[index]],
            reason=self.reasons[index],
            steps=int(self.steps[index]),
            summary={name: _finite(float(self.figures[name][index])) for name in names}
            if names
            else NO_FIGURES,
            derived=derived or NO_FIGURES,
        )

    def __setitem__(self, run: int, state: RunState) -> None:
        self.codes[run], self.steps[run] = CODES[state.status], state.steps
        self.reasons[run] = state.reason
        self._put_summary(run, state.summary)

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[RunState]:
        return map(self.__getitem__, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == its for one, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))

    def _mapped(self, change: Callable[[Array], Array]) -> "States":
        found = States()
        found.codes, found.steps = change(self.codes), change(self.steps)
        found.reasons = change(self.reasons)
        found.figures = {name: change(values) for name, values in self.figures.items()}
        found._names, found._named = list(self._names), change(self._named)
        if self.derived:
            places = change(np.arange(len(self))).tolist()
            found.derived = {
                name: {new: of[old] for new, old in enumerate(places) if old in of}
                for name, of in self.derived.items()
            }
        return found

    def _put_summary(self, run: int, summary: Mapping[str, float | None]) -> None:
        self._named[run] = self._number(tuple(summary))
        for name, values in self.figures.items():
            value = summary.get(name)
            values[run] = np.nan if value is None or not isfinite(value) else value

    def _number(self, names: tuple[str, ...]) -> int:
        """Return the number of the names of figures, which are columns from now on."""
        if names not in self._names:
            self._names.append(names)
            for name in names:
                self.figures.setdefault(name, np.full(len(self), np.nan))
        return self._names.index(names)


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None


def _objects(texts: Sequence[str]) -> Array:
    found: Array = np.empty(len(texts), object)
    found[:] = texts
    return found


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(each, str) for each in values)
