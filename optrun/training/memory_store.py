"""Results of unsaved runs, in memory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from optrun.arrays import Array
from optrun.config import RunConfig
from optrun.problems.data import Preparation
from optrun.store import Checkpoint, RunRecord, RunState, Status
from optrun.store.blocks import LEAST_LANES, MOST_BYTES
from optrun.store.curve_columns import CURVE, EVALUATION, CurveColumns
from optrun.store.pack_columns import PackColumns
from optrun.store.states import States
from optrun.training.of_runs import ParamsOfRuns, SeriesOfRuns, StatesOfRuns
from optrun.training.segments import Segments

NONE: Mapping[Any, Any] = MappingProxyType({})


class MemoryStore:
    """Has the methods of a store that runs need; it keeps checkpoints of pauses only."""

    resumable = False

    def __init__(self, configs: Sequence[RunConfig], status: Status = Status.RUNNING) -> None:
        self._configs = configs
        self._states = States(len(configs), status)
        self._seconds: dict[int, float] = {}
        self._series: dict[str, dict[int, list[Mapping[str, Array]]]] = {CURVE: {}, EVALUATION: {}}
        self._columns: dict[str, list[Segments | SeriesOfRuns]] = {CURVE: [], EVALUATION: []}
        """The same of many runs, whose rows are made when they are asked for."""
        self._params: dict[int, Mapping[int, Mapping[str, Array]]] = {}
        """What has the parameters of a run."""
        self._snapshots: dict[int, dict[int, Mapping[str, Array]]] = {}
        self._checkpoints: dict[int, Checkpoint | None] = {}
        self.preparations: dict[str, Preparation] = {}
        """How samples are prepared, by what the configs of runs have in common."""

    def add(self, configs: Sequence[RunConfig]) -> None:
        """Add runs that wait."""
        self._configs = [*self._configs, *configs]
        self._states.extend(States(len(configs)))

    def commit(
        self,
        *,
        curves: Mapping[int, Mapping[str, Array]] = NONE,
        evaluations: Mapping[int, Mapping[str, Array]] = NONE,
        states: Mapping[int, RunState] = NONE,
        params: Mapping[int, Mapping[str, Array]] = NONE,
        snapshots: Mapping[int, Mapping[int, Mapping[str, Array]]] = NONE,
        checkpoints: Mapping[int, Checkpoint | None] = NONE,
    ) -> None:
        """Keep what was recorded since the last commit."""
        for kind, series in ((CURVE, curves), (EVALUATION, evaluations)):
            if isinstance(series, Segments | SeriesOfRuns):
                self._columns[kind].append(series)
                continue
            for run, columns in series.items():
                self._series[kind].setdefault(run, []).append(columns)
        if isinstance(states, StatesOfRuns) and states.seconds is None:
            self._states.put(states.runs, states.states)
        else:
            for run, state in states.items():
                self._states[run] = state
                if state.seconds is not None:
                    self._seconds[run] = state.seconds
        self._params.update(dict.fromkeys(params, params))
        for run, taken in snapshots.items():
            self._snapshots.setdefault(run, {}).update(taken)
        self._checkpoints.update(checkpoints)

    def columns(self, runs: Sequence[int]) -> PackColumns | None:
        """Return all that runs have left, as those of these numbers.

        None where they are few or not alike, where one has failed, or has not ended.
        """
        states, size = self._states, len(self._states)
        is_few = size < LEAST_LANES or self._snapshots
        if is_few or states.are(Status.FAILED).any() or not states.ended.all():
            return None
        series: dict[str, CurveColumns] = {}
        for kind, parts in self._columns.items():
            joined = CurveColumns.of_parts([(each.runs, each.joined()) for each in parts], size)
            if joined is None:
                return None
            series[kind] = joined
        left = {id(each): each for each in self._params.values() if isinstance(each, ParamsOfRuns)}
        params = ParamsOfRuns.joined([*left.values()], size)
        if params is None:
            return None
        found = PackColumns(runs, states.copy(), series, params)
        return found if found.nbytes <= MOST_BYTES * size else None

    def run(self, run: int) -> RunRecord:
        config = self._configs[run]
        return RunRecord.of(run, config.seed, config.to_dict(), self.state(run))

    def state(self, run: int) -> RunState:
        return replace(self._states[run], seconds=self._seconds.get(run))

    def states(self) -> States:
        """Return the states of all runs."""
        return self._states.copy()

    def curves(self, run: int = 0) -> dict[str, Array]:
        """Return a run's curves, each ``[n]``."""
        return self._joined(CURVE, run)

    def evaluations(self, run: int = 0) -> dict[str, Array]:
        """Return a run's evaluations, each ``[n]``."""
        return self._joined(EVALUATION, run)

    def series(self, names: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Array]]]:
        """Yield each run that was evaluated by all of these metrics, and its evaluations."""
        for run in range(len(self._states)):
            rows = self.evaluations(run)
            if rows and rows.keys() >= set(names):
                yield run, rows

    def seconds(self) -> dict[int, float | None]:
        """Return how long runs took; None for those that shared a pack."""
        return {run: self._seconds.get(run) for run in range(len(self._states))}

    def params(self, run: int = 0) -> dict[str, Array]:
        """Return a run's final parameters by name."""
        return dict(self._params.get(run, {run: NONE})[run])

    def snapshot_steps(self, run: int = 0) -> list[int]:
        """Return the steps whose parameters a run has kept."""
        return list(self._snapshots.get(run, {}))

    def snapshot(self, run: int, step: int) -> dict[str, Array]:
        """Return the parameters that a run has kept at a step, by name; nothing where it has none."""
        return dict(self._snapshots.get(run, {}).get(step, {}))

    def checkpoint(self, run: int = 0) -> Checkpoint | None:
        """Return a run's latest checkpoint; None without one."""
        return self._checkpoints.get(run)

    def _joined(self, kind: str, run: int) -> dict[str, Array]:
        parts = [
            *(each[run] for each in self._columns[kind] if run in each),
            *self._series[kind].get(run, []),
        ]
        if len(parts) == 1 and kind == EVALUATION:
            return dict(parts[0])
        return {name: np.concatenate([part[name] for part in parts]) for name in (parts or [{}])[0]}
