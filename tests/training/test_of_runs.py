"""What many runs leave as columns, against the same of each run by itself."""

import numpy as np
import pytest

from optrun.config import from_mapping
from optrun.store import RunState, Status
from optrun.store.blocks import LEAST_LANES
from optrun.store.curve_columns import CurveColumns
from optrun.store.states import States
from optrun.training import memory_store, recorder
from optrun.training.evaluations import Evaluations
from optrun.training.memory_store import MemoryStore
from optrun.training.of_runs import ParamsOfRuns, SeriesOfRuns, StatesOfRuns
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer

RUNS = np.array([7, 3, 5, 9])


def lists(series):
    return {run: {name: values.tolist() for name, values in of.items()} for run, of in series.items()}


def test_each_run_has_its_evaluations_up_to_its_end():
    evaluations = Evaluations(4, steps=10, every=3)
    evaluations.add(0, {"loss": np.array([1.0, 2.0, 3.0, 4.0])})
    evaluations.add(3, {"loss": np.array([1.5, 2.5, 3.5, 4.5])})
    # The first ended at step 3, at which all were evaluated; the last at step 1, when the others went on.
    first = evaluations.take(np.array([0, 3]), np.array([3, 1]), {"loss": np.array([1.5, 4.2])}, RUNS)
    assert lists(first) == {
        7: {"step": [0, 3], "loss": [1.0, 1.5]},
        3: {"step": [0, 3], "loss": [2.0, 2.5]},
        5: {"step": [0, 3], "loss": [3.0, 3.5]},
        9: {"step": [0, 1], "loss": [4.0, 4.2]},
    }
    evaluations.add(6, {"loss": np.array([0.0, 2.6, 3.6, 0.0])})
    last = evaluations.take(np.array([1, 2]), np.array([10, 4]), {"loss": np.array([2.7, 3.7])}, RUNS)
    assert lists(last) == {3: {"step": [6, 10], "loss": [2.6, 2.7]}, 5: {"step": [4], "loss": [3.7]}}
    assert not evaluations.take(np.array([], np.int64), np.array([], np.int64), {}, RUNS)
    # After the last update there is no step at which all are evaluated.
    whole = Evaluations(1, steps=9, every=3).take(
        np.array([0]), np.array([9]), {"loss": np.ones(1)}, RUNS[:1]
    )
    assert lists(whole) == {7: {"step": [9], "loss": [1.0]}}


def test_a_run_that_failed_has_what_was_kept():
    evaluations = Evaluations(2, steps=10, every=1)
    evaluations.add(0, {"loss": np.array([1.0, 2.0])})
    found = evaluations.take(np.array([0, 1]), np.array([0, 0]), {}, np.arange(2))
    assert lists(found) == {0: {"step": [0], "loss": [1.0]}, 1: {"step": [0], "loss": [2.0]}}


def test_parts_are_joined_run_by_run():
    parts = [
        (np.array([2, 0]), CurveColumns(np.array([2, 1]), {"step": np.array([0, 1, 0])})),
        (np.array([0, 1]), CurveColumns(np.array([1, 1]), {"step": np.array([9, 8])})),
    ]
    joined = CurveColumns.of_parts(parts, 3)
    assert [joined.of(run).get("step", np.empty(0)).tolist() for run in range(3)] == [[0, 9], [8], [0, 1]]
    assert lists(SeriesOfRuns(np.array([4]), parts[0][1].part(slice(0, 1)))) == {4: {"step": [0, 1]}}
    parts.append((np.array([1]), CurveColumns(np.array([1]), {"step": np.array([0]), "loss": np.ones(1)})))
    assert CurveColumns.of_parts(parts, 3) is None
    for runs, size, found in (([1, 0], 2, [[0], [0, 1]]), ([2, 5], 6, [[], [], [0, 1], [], [], [0]])):
        alone = [(np.array(runs), parts[0][1]), (np.array([0]), CurveColumns(np.zeros(1, np.int64), {}))]
        joined = CurveColumns.of_parts(alone, size)
        assert [joined.of(run).get("step", np.empty(0)).tolist() for run in range(size)] == found


def test_runs_have_parameters_of_their_own_names():
    more = {"average/x": np.array([[0.0], [5.0]])}
    mixed = ParamsOfRuns([6, 2], {"x": np.array([[1.0], [2.0]])}, more, np.array([False, True]))
    assert lists(mixed) == {6: {"x": [1.0]}, 2: {"x": [2.0], "average/x": [5.0]}}
    assert mixed.columns is None
    assert ParamsOfRuns.joined([mixed], 2) is None
    plain = [ParamsOfRuns([run], {"x": np.array([[float(run)]])}, {}, np.zeros(1, bool)) for run in (1, 0)]
    assert ParamsOfRuns.joined(plain, 2)["x"].tolist() == [[0.0], [1.0]]
    turned = ParamsOfRuns([1, 0], {"x": np.array([[1.0], [0.0]])}, {}, np.zeros(2, bool))
    assert ParamsOfRuns.joined([turned], 2)["x"].tolist() == [[0.0], [1.0]]


def test_only_a_run_that_was_alone_has_a_time_of_its_own():
    assert [StatesOfRuns([4], States(1), seconds)[4].seconds for seconds in (2.5, None)] == [2.5, None]


def left_by(*statuses):
    """Return a store in memory with runs of which each has one row, and some parameters."""
    configs = [from_mapping({"problem": "beale", "optimizer": "SGD", "steps": 1})] * len(statuses)
    store, runs, states = MemoryStore(configs), np.arange(len(statuses)), States(len(statuses))
    for run, status in enumerate(statuses):
        states[run] = RunState(status=status)
    rows = CurveColumns(np.ones(len(statuses), np.int64), {"step": 0 * runs, "loss": 1.0 * runs})
    params = ParamsOfRuns(runs, {"x": np.ones((len(statuses), 2))}, {}, np.zeros(len(statuses), bool))
    store.commit(evaluations=SeriesOfRuns(runs, rows), states=StatesOfRuns(runs, states), params=params)
    return store


def test_only_many_runs_that_have_ended_well_are_taken_as_columns(monkeypatch):
    done = [Status.COMPLETED] * (LEAST_LANES - 1)
    found = left_by(*done, Status.DIVERGED).columns(range(LEAST_LANES))
    assert found is not None
    for few in (done, [*done, Status.FAILED], [*done, Status.RUNNING]):
        assert left_by(*few).columns(range(len(few))) is None
    for most, is_left in ((found.nbytes, False), (found.nbytes + LEAST_LANES, True)):
        monkeypatch.setattr(memory_store, "MOST_BYTES", most // LEAST_LANES - (not is_left))
        assert (left_by(*done, Status.DIVERGED).columns(range(LEAST_LANES)) is not None) == is_left


def test_a_lane_that_has_ended_is_committed_once(monkeypatch):
    monkeypatch.setattr(recorder, "BYTES", 0)  # so that a commit comes after a few rows
    more = {"problem": "rosenbrock", "steps": 60, "evaluate": {"every": 7}}
    rates = (1e-4, 1e2, 2e-4)
    configs = [from_mapping({**more, "optimizer": {"name": "SGD", "lr": rate}}) for rate in rates]
    commits, memory = [], MemoryStore(configs)
    commit = memory.commit
    memory.commit = lambda **given: (commits.append([*given["states"]]), commit(**given))
    Trainer(Pack(configs), memory).run()
    assert memory.state(1).status is Status.DIVERGED
    assert len(commits) > 2
    assert sum(1 in runs for runs in commits) == 1
    steps = memory.evaluations(1)["step"].tolist()
    assert steps == sorted({*steps})


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_run_that_has_shared_a_pack_has_no_time_of_its_own(lanes):
    more = {"problem": "rosenbrock", "steps": 30}
    configs = [
        from_mapping({**more, "optimizer": {"name": "SGD", "lr": rate}}) for rate in (1e-4, 1e2)[:lanes]
    ]
    memory = MemoryStore(configs)
    Trainer(Pack(configs), memory).run()  # the first of two is alone at the end
    assert [seconds is None for seconds in memory.seconds().values()] == [lanes > 1] * lanes
