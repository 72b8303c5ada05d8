"""Results of runs as one table: each row has the run, its setting, its seed, how it ended, and figures."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

from optrun.arrays import Array
from optrun.errors import ConfigError, did_you_mean
from optrun.store.setting_columns import MISSING, SettingColumns
from optrun.store.types import FIRST_COLUMNS, ListedRun, RunRecord

What = Literal["runs", "curves", "evaluations"]
WHAT: tuple[What, ...] = get_args(What)

RUN, SEED, STATUS, STEP = "run", "seed", "status", "step"
GROUP_ROWS = 1 << 17
"""Rows that are in memory at a time, of a run whose curves are longer."""


def check_what(what: str) -> What:
    """Return what a table has rows of; ConfigError for anything else."""
    for each in WHAT:
        if what == each:
            return each
    raise ConfigError(f"there is no table of {what!r}, only of {', '.join(WHAT)}.{did_you_mean(what, WHAT)}")


@dataclass(frozen=True)
class Part:
    """Rows of one run: what is equal in all of them, by column, and arrays ``[count]`` of the figures it has."""

    heads: Mapping[str, Any]
    figures: Mapping[str, Array]
    count: int


@dataclass(frozen=True)
class RunTable:
    """A table whose rows are read run by run."""

    what: What
    heads: Mapping[str, Sequence[Any]]
    """By column, one value of a config for each run."""
    figures: Sequence[str]
    """The columns that arrays fill, most of them numbers."""
    read: Callable[[int], tuple[int, Mapping[str, Array]]]
    """Return the number of rows and the figures of the run at an index; a figure that it lacks is null."""
    single: Mapping[str, Sequence[float | None]] | None = None
    """The figures of all runs, where each has one row."""

    @property
    def size(self) -> int:
        """The number of runs."""
        return len(self.heads[RUN])

    @property
    def columns(self) -> list[str]:
        """The columns in their order."""
        return [*self.heads, *self.figures]

    @cached_property
    def kinds(self) -> Mapping[str, type]:
        """The type of each head: bool, int, float, or str for anything else; that of a figure that is no float."""
        whole = {STEP: int} if STEP in self.figures else {}
        return {name: _kind(values) for name, values in self.heads.items()} | whole

    def parts(self, most: int = GROUP_ROWS) -> Iterator[Part]:
        """Yield the rows, at most so many of a run at once."""
        for index in range(self.size):
            heads = {name: values[index] for name, values in self.heads.items()}
            count, figures = self.read(index)
            for start in range(0, count, most):
                taken = {name: values[start : start + most] for name, values in figures.items()}
                yield Part(heads, taken, min(most, count - start))

    def typed(self, name: str, value: Any) -> Any:
        """Return the value of a head in the type of its column; what is no number is text, null is None."""
        kind = self.kinds[name]
        if value is None or isinstance(value, kind):
            return value
        return float(value) if kind is float else json.dumps(value, ensure_ascii=False)


def run_table(
    what: What,
    records: Sequence[RunRecord | ListedRun],
    settings: Sequence[Mapping[str, Any]],
    statuses: Sequence[str],
    read: Callable[[int], Mapping[str, Array]],
    names: Callable[[int], Iterable[str]] | None = None,
) -> RunTable:
    """Return a table of runs: a row for each, or for each row of their curves or evaluations.

    ``settings`` has the swept parameters of each run. ``read`` and ``names`` return the curves or evaluations of the
    run of a number, and their names; a table of ``runs`` calls neither.
    """
    columns = settings if isinstance(settings, SettingColumns) else SettingColumns.of(settings)
    paths = columns.paths
    if what == "runs":
        figures = list(dict.fromkeys(name for record in records for name in record.summary))
    else:
        found = dict.fromkeys(name for record in records for name in (names or read)(record.run))
        figures = in_order(found or FIRST_COLUMNS[: 3 if what == "curves" else 1])
    heads: dict[str, Sequence[Any]] = {RUN: [record.run for record in records]}
    heads |= {
        path: [None if value is MISSING else value for value in columns.values(path)]
        for path in paths
        if path not in (RUN, SEED, STATUS, *figures)
    }
    heads |= {SEED: [record.seed for record in records], STATUS: list(statuses)}

    def of_run(index: int) -> tuple[int, Mapping[str, Array]]:
        columns = read(records[index].run)
        return len(columns.get(STEP, ())), {name: columns[name] for name in figures if name in columns}

    def summary(index: int) -> tuple[int, Mapping[str, Array]]:
        import numpy as np

        found = records[index].summary.items()
        return 1, {name: np.array([float(value)]) for name, value in found if value is not None}

    if what == "runs":
        # Where steps are swept, those that a run has made are another column.
        steps = "steps_made" if "steps" in heads else "steps"
        heads[steps] = [record.steps for record in records]
    # A metric of a plugin may have any name, but a column has one meaning.
    figures = [name for name in figures if name not in heads]
    if what != "runs":
        return RunTable(what, heads, figures, of_run)
    single = {name: [record.summary.get(name) for record in records] for name in figures}
    return RunTable(what, heads, figures, summary, single)


def in_order(names: Iterable[str]) -> list[str]:
    """Return the columns of curves: step, loss, lr, then the other metrics as they were recorded."""
    return sorted(names, key=lambda name: (*FIRST_COLUMNS, name).index(name))


def _kind(values: Sequence[Any]) -> type:
    """Return the type of a column that holds some values of a config; text for what is no number."""
    found = {type(value) for value in values if value is not None}
    if len(found) == 1 and found <= {bool, int, float}:
        return found.pop()
    return float if found == {int, float} else str
