"""The columns of the runs of a store, by which they are chosen, sorted and exported."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Self

from optrun.analysis.leaderboard import paths_of, plan_of
from optrun.analysis.summaries import state_of
from optrun.config.paths import steps_of
from optrun.errors import ConfigError, did_you_mean
from optrun.store import RunRecord, Store
from optrun.store.run_table import run_table
from optrun.store.types import ListedRun
from optrun.training.curve_figures import with_figure

MISSING = object()
MOST_NAMED = 12
"""The most columns that a message names."""


class RunColumns:
    """The values of runs by name: a column of their table, or a key of their configs."""

    def __init__(
        self,
        records: Sequence[RunRecord | ListedRun],
        statuses: Sequence[str],
        settings: Sequence[Mapping[str, Any]],
        configs: Callable[[], Sequence[Mapping[str, Any]]] | None = None,
    ) -> None:
        self.records, self.statuses, self.settings = records, statuses, settings
        self._read_configs = configs or (lambda: [record.config for record in records])
        self._table = run_table("runs", records, settings, statuses, lambda run: {})
        self._swept = paths_of(settings)

    @classmethod
    def of(cls, store: Store, run: int | None = None) -> Self:
        """Return the columns of all runs of a store, or of one; StoreError where a run is damaged.

        Their configs are read when they are asked for, while the store is open.
        """
        plan = plan_of(store)
        given: list[RunRecord | ListedRun] = [*store.listed()] if run is None else [store.run(run)]
        statuses, records = [], []
        for each in given:
            status, record = state_of(store, each)
            statuses.append(status)
            records.append(record)
        if plan and run is None:
            records = [*with_figure(records, store, plan.metric, plan.goal_of)]
            records = [
                replace(record, summary=record.figures) if record.derived else record for record in records
            ]
        settings: Sequence[Mapping[str, Any]] = plan.settings if plan else []
        if plan is None or run is not None or plan.repeats > 1:
            settings = [plan.setting(record.run) if plan else {} for record in records]
        if run is not None:
            return cls(records, statuses, settings)
        return cls(records, statuses, settings, lambda: [record.config for record in store.runs()])

    @cached_property
    def _configs(self) -> Sequence[Mapping[str, Any]]:
        return self._read_configs()

    @property
    def size(self) -> int:
        """The number of runs."""
        return len(self.records)

    @property
    def names(self) -> list[str]:
        """All names: columns, the keys of the configs, and short names of swept parameters."""
        keys = dict.fromkeys(key for config in self._configs for key in _keys(config))
        short = [path.rpartition(".")[2] for path in self._swept]
        return list(dict.fromkeys([*self._table.columns, *short, *keys]))

    def find(self, name: str) -> list[Any] | None:
        """Return a number, a text, a bool or None (missing, or not finite) for each run; None for an unknown name.

        The end of the path of a swept parameter, such as ``lr``, names it where it is the end of no other.
        """
        if name in self._table.figures:
            return [record.summary.get(name) for record in self.records]
        if name in self._table.heads and name not in self._swept:
            return list(self._table.heads[name])
        if all(name in setting for setting in self.settings):
            return [_plain(setting[name]) for setting in self.settings]
        values = [
            setting[name] if name in setting else _lookup(config, name)
            for config, setting in zip(self._configs, self.settings, strict=True)
        ]
        if any(value is not MISSING for value in values):
            return [None if value is MISSING else _plain(value) for value in values]
        ending = [path for path in self._swept if path.endswith(f".{name}")]
        return self.find(ending[0]) if len(ending) == 1 else None

    def unknown(self, name: str, others: Sequence[str] = ()) -> str:
        """Return the message for an unknown name, and which one may be meant, also of some others."""
        hint = did_you_mean(name, [*others, *self.names])
        if not hint:
            columns = self._table.columns
            more = ", …" if len(columns) > MOST_NAMED else ""
            hint = f" There are: {', '.join(columns[:MOST_NAMED])}{more}."
        return f"unknown name {name!r}.{hint}"

    def order(self, sort: str) -> list[int]:
        """Return the indices of the runs sorted by a name, downwards where ``-`` is before it; missing values are last.

        Raises ConfigError for an unknown name.
        """
        name = sort.removeprefix("-")
        values = self.find(name)
        if values is None:
            raise ConfigError(f"--sort: {self.unknown(name)}")
        have = [index for index, value in enumerate(values) if value is not None]
        lack = [index for index, value in enumerate(values) if value is None]
        have.sort(key=lambda index: (isinstance(values[index], str), values[index]), reverse=sort != name)
        return have + lack


def _plain(value: Any) -> Any:
    """Return a value of a config as a number, a text, a bool or None; a section stands for its name."""
    if isinstance(value, Mapping) and "name" in value:
        return value["name"]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return json.dumps(value, ensure_ascii=False)


def _lookup(config: Any, path: str) -> Any:
    for step in steps_of(path):
        if isinstance(config, Mapping) and step in config:
            config = config[step]
        elif isinstance(config, list) and step.isdecimal() and int(step) < len(config):
            config = config[int(step)]
        else:
            return MISSING
    return config


def _keys(config: Mapping[str, Any], before: str = "") -> list[str]:
    found = []
    for key, value in config.items():
        found.append(f"{before}{key}")
        if isinstance(value, Mapping):
            found += _keys(value, f"{before}{key}.")
    return found
