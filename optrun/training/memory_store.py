"""Results of unsaved runs, in memory."""

from collections.abc import Iterator, Mapping, Sequence
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
from optrun.training.segments import Segments

NONE: Mapping[Any, Any] = MappingProxyType({})


class MemoryStore:
    """Has the methods of a store that runs need; it keeps checkpoints of pauses only."""

    resumable = False

    def __init__(self, configs: Sequence[RunConfig], status: Status = Status.RUNNING) -> None:
        self._configs = configs
        self._states = [RunState(status=status)] * len(configs)
        self._segments: dict[tuple[str, int], list[Mapping[str, Array]]] = {}
        self._columns: list[Segments] = []
        """Curves of many runs, of which rows are made when they are asked for."""
        self._params: dict[int, Mapping[str, Array]] = {}
        self._snapshots: dict[int, dict[int, Mapping[str, Array]]] = {}
        self._checkpoints: dict[int, Checkpoint | None] = {}
        self.preparations: dict[str, Preparation] = {}
        """How samples are prepared, by what the configs of runs have in common."""

    def add(self, configs: Sequence[RunConfig]) -> None:
        """Add runs that wait."""
        self._configs = [*self._configs, *configs]
        self._states += [RunState(status=Status.WAITING)] * len(configs)

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
        if isinstance(curves, Segments):
            self._columns.append(curves)
            curves = NONE
        for kind, segments in (("curve", curves), ("evaluation", evaluations)):
            for run, columns in segments.items():
                self._segments.setdefault((kind, run), []).append(columns)
        for run, state in states.items():
            self._states[run] = state
        self._params.update(params)
        for run, taken in snapshots.items():
            self._snapshots.setdefault(run, {}).update(taken)
        self._checkpoints.update(checkpoints)

    def columns(self, runs: Sequence[int]) -> PackColumns | None:
        """Return all that runs have left, as those of these numbers; None where they are few, or not alike.

        All of them have ended.
        """
        lanes, states = range(len(self._states)), States.of(self._states)
        params = [self._params.get(lane, {}) for lane in lanes]
        named = {name: [each[name] for each in params if name in each] for name in params[0]}
        is_alike = all(each.keys() == named.keys() for each in params)
        evaluations = CurveColumns.joined([self.evaluations(lane) for lane in lanes]) if is_alike else None
        if (
            len(lanes) < LEAST_LANES
            or states.are(Status.FAILED).any()
            or self._snapshots
            or evaluations is None
        ):
            return None
        series = {CURVE: Segments.joined(self._columns, len(lanes)), EVALUATION: evaluations}
        found = PackColumns(runs, states, series, {name: np.stack(of) for name, of in named.items()})
        return found if found.nbytes <= MOST_BYTES * len(lanes) else None

    def run(self, run: int) -> RunRecord:
        config, state = self._configs[run], self._states[run]
        return RunRecord.of(run, config.seed, config.to_dict(), state)

    def state(self, run: int) -> RunState:
        return self._states[run]

    def states(self) -> list[RunState]:
        return list(self._states)

    def curves(self, run: int = 0) -> dict[str, Array]:
        """Return a run's curves, each ``[n]``."""
        return self._joined("curve", run)

    def evaluations(self, run: int = 0) -> dict[str, Array]:
        """Return a run's evaluations, each ``[n]``."""
        return self._joined("evaluation", run)

    def series(self, names: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Array]]]:
        """Yield each run that was evaluated by all of these metrics, and its evaluations."""
        for run in range(len(self._states)):
            rows = self.evaluations(run)
            if rows and rows.keys() >= set(names):
                yield run, rows

    def seconds(self) -> dict[int, float | None]:
        """Return how long runs took; None for those that shared a pack."""
        return {run: state.seconds for run, state in enumerate(self._states)}

    def params(self, run: int = 0) -> dict[str, Array]:
        """Return a run's final parameters by name."""
        return dict(self._params.get(run, {}))

    def snapshot_steps(self, run: int = 0) -> list[int]:
        """Return the steps whose parameters a run has kept."""
        return list(self._snapshots.get(run, {}))

    def snapshot(self, run: int, step: int) -> dict[str, Array]:
        """Return the parameters that a run has kept at a step, by name; nothing where it has none."""
        return dict(self._snapshots.get(run, {}).get(step, {}))

    def checkpoint(self, run: int = 0) -> Checkpoint | None:
        """Return a run's latest checkpoint; None without one."""
        return self._checkpoints.get(run)

    def _joined(self, kind: str, run: int) -> dict[str, Any]:
        segments = self._segments.get((kind, run), [])
        if len(segments) == 1 and kind != "curve":
            return dict(segments[0])
        if kind == "curve":
            segments = [*(each[run] for each in self._columns if run in each), *segments]
        return {
            name: np.concatenate([segment[name] for segment in segments]) for name in (segments or [{}])[0]
        }
