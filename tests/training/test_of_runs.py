"""What many runs leave as columns, against the same of each run by itself."""

import numpy as np

from optrun.store.curve_columns import CurveColumns
from optrun.training.evaluations import Evaluations
from optrun.training.of_runs import ParamsOfRuns, SeriesOfRuns

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


def test_runs_have_parameters_of_their_own_names():
    more = {"average/x": np.array([[0.0], [5.0]])}
    mixed = ParamsOfRuns([6, 2], {"x": np.array([[1.0], [2.0]])}, more, np.array([False, True]))
    assert lists(mixed) == {6: {"x": [1.0]}, 2: {"x": [2.0], "average/x": [5.0]}}
    assert mixed.columns is None
    assert ParamsOfRuns.joined([mixed], 2) is None
    plain = [ParamsOfRuns([run], {"x": np.array([[float(run)]])}, {}, np.zeros(1, bool)) for run in (1, 0)]
    assert ParamsOfRuns.joined(plain, 2)["x"].tolist() == [[0.0], [1.0]]
