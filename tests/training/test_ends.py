"""Why a run ends, what it records, and what a row means."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest

import optrun
from optrun.store import Status
from optrun.training import trainer


def run(**config):
    base = {
        "problem": "rosenbrock",
        "optimizer": {"name": "SGD", "lr": 1e-3},
        "steps": 50,
        "dtype": "float64",
    }
    return optrun.run({**base, **config}, save=False)


def rosenbrock(x, y):
    return 100 * (y - x * x) ** 2 + (1 - x) ** 2, np.array(
        [-400 * x * (y - x * x) - 2 * (1 - x), 200 * (y - x * x)]
    )


def test_a_row_is_the_loss_before_the_update_that_uses_its_rate():
    """Against plain gradient descent: row k, norms included, and the final loss after the last update."""
    done = run(
        scheduler={"name": "ExponentialLR", "gamma": 0.9},
        record={"metrics": ["grad_norm", "update_norm", "param_norm"]},
    )
    point = np.array([-1.2, 1.0])
    for k in range(50):
        loss, gradient = rosenbrock(*point)
        rate = 1e-3 * 0.9**k
        row = {name: values[k] for name, values in done.curves.items()}
        assert row["step"] == k
        assert row["loss"] == pytest.approx(loss, rel=1e-12)
        assert row["lr"] == pytest.approx(rate, rel=1e-13)
        assert row["grad_norm"] == pytest.approx(np.linalg.norm(gradient), rel=1e-12)
        assert row["param_norm"] == pytest.approx(np.linalg.norm(point), rel=1e-12)
        assert row["update_norm"] == pytest.approx(rate * np.linalg.norm(gradient), rel=1e-9)
        point = point - rate * gradient
    assert done.summary["final_loss"] == pytest.approx(rosenbrock(*point)[0], rel=1e-12)
    np.testing.assert_allclose(done.params["x"], point, rtol=1e-12)
    assert (done.status, done.steps) == (Status.COMPLETED, 50)


def test_rows_are_recorded_every_so_many_steps():
    done = run(record={"every": 7, "metrics": ["update_norm"]})
    every = run(record={"every": 1, "metrics": ["update_norm"]})
    assert done.curves["step"].tolist() == list(range(0, 50, 7))
    for name in done.curves:
        np.testing.assert_array_equal(done.curves[name], every.curves[name][::7])


def test_evaluations_have_steps_of_their_own_and_the_end():
    done = run(steps=25, evaluate={"every": 10})
    assert done.evaluations["step"].tolist() == [0, 10, 20, 25]
    np.testing.assert_array_equal(done.evaluations["loss"][:3], done.curves["loss"][[0, 10, 20]])
    assert done.evaluations["loss"][3] == done.summary["final_loss"]
    assert run(steps=20, evaluate={"every": 10}).evaluations["step"].tolist() == [0, 10, 20]


def test_target_reached():
    done = run(optimizer={"name": "Adam", "lr": 0.05}, steps=5000, stop={"target": 0.5})
    assert done.status is Status.TARGET_REACHED
    assert done.curves["loss"][-1] <= 0.5 < done.curves["loss"][:-1].min()
    assert done.steps == done.curves["step"][-1]
    assert done.summary["final_loss"] == done.curves["loss"][-1]


def test_a_target_that_the_last_update_reaches_counts():
    losses = run(steps=11).curves["loss"]
    done = run(steps=10, stop={"target": float(losses[10])})
    assert (done.status, done.steps) == (Status.TARGET_REACHED, 10)


def test_a_loss_of_single_precision_is_compared_with_the_target_as_it_is_given():
    losses = run(steps=20, dtype="float32").curves["loss"]
    target = np.nextafter(
        np.float64(losses[10]), -np.inf
    )  # the nearest number of single precision is the loss
    assert run(steps=20, dtype="float32", stop={"target": float(target)}).steps == 11


def test_diverged_names_the_first_bad_step():
    done = run(optimizer={"name": "SGD", "lr": 1.0}, stop={"divergence": None})
    assert done.status is Status.DIVERGED
    assert not math.isfinite(done.curves["loss"][-1])
    assert np.isfinite(done.curves["loss"][:-1]).all()
    assert done.reason in {f"loss is nan at step {done.steps}", f"loss is inf at step {done.steps}"}
    assert done.summary["final_loss"] is None


def test_diverged_by_a_limit_of_ones_own():
    done = run(optimizer={"name": "SGD", "lr": 0.01}, stop={"divergence": 1e4})
    assert done.status is Status.DIVERGED
    assert done.curves["loss"][-1] > 1e4 >= done.curves["loss"][:-1].max()


@pytest.mark.parametrize(
    ("start", "words"),
    [(100.0, "more than 1000 times the first, "), (0.0, "more than 1000 (the first is 0.")],
)
def test_diverged_beside_the_first_loss_or_one(start, words):
    """Gradient descent on (x - x*)² / 2 multiplies the loss by (1 - lr)² in each step, here by 4."""
    case = {
        "problem": {"name": "quadratic", "dim": 1, "condition": 1.0, "start": [start]},
        "optimizer": {"name": "SGD", "lr": 3.0},
    }
    done = run(**case)
    first = done.curves["loss"][0]
    steps = math.floor(math.log(1000 * max(1, first) / first, 4)) + 1
    assert (done.status, done.steps) == (Status.DIVERGED, steps)
    assert words in done.reason
    assert done.summary["final_loss"] == pytest.approx(first * 4**steps)
    last = run(**case | {"steps": steps})
    assert (last.status, last.steps) == (Status.DIVERGED, steps)
    assert words in last.reason
    free = run(**case, stop={"divergence": None})
    assert (free.status, free.steps) == (Status.COMPLETED, 50)


def test_each_lane_diverges_beside_its_own_first_loss_wherever_it_is_resumed():
    """A pack of lanes of which some diverge has the rows of each alone."""
    config = {
        "problem": {"name": "quadratic", "condition": 10},
        "optimizer": "SGD",
        "steps": 60,
        "dtype": "float64",
        "sweep": {"parameters": {"optimizer.lr": [0.01, 0.25, 0.3, 0.5]}, "repeats": 2},
    }
    done = optrun.sweep(config, save=False)
    alone = [optrun.run(each.to_dict(), save=False) for each in done.configs]
    assert {each.status for each in alone} == {Status.COMPLETED, Status.DIVERGED}
    for lane, single in zip(done.runs, alone, strict=True):
        assert (lane.status, lane.reason, lane.steps) == (single.status, single.reason, single.steps)
        np.testing.assert_array_equal(lane.curves["loss"], single.curves["loss"])


def test_diverged_in_the_last_update():
    wild = {"name": "SGD", "lr": 1.0}
    bad = run(optimizer=wild).steps
    done = run(optimizer=wild, steps=bad)
    assert (done.status, done.steps) == (Status.DIVERGED, bad)
    assert f"after step {bad - 1}" in done.reason


@pytest.mark.parametrize(("patience", "said"), [(12, "12 steps"), (1, "1 step")])
def test_early_stopped_after_steps_without_a_better_loss(patience, said):
    done = run(optimizer={"name": "SGD", "lr": 0.0}, stop={"patience": patience})
    assert (done.status, done.steps) == (Status.EARLY_STOPPED, patience)
    assert done.reason.endswith(f" at step 0 for {said}")


def test_timed_out(monkeypatch):
    """By a clock that goes on by a millisecond whenever it is looked at."""
    milliseconds = itertools.count()
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: next(milliseconds) / 1000))
    done = run(steps=10**8, stop={"time": "50ms"})
    assert done.status is Status.TIMED_OUT
    assert done.steps == done.curves["step"][-1] > 0


def test_epochs_are_passes_over_the_data():
    problem = {"name": "softmax_regression", "data": "iris", "batch_size": 50, "test_fraction": 0.2}
    done = run(problem=problem, steps=None, epochs=4)
    assert done.steps == 4 * math.ceil(120 / 50)


def test_every_groups_rate_is_recorded():
    done = run(
        problem={"name": "softmax_regression", "data": "iris"},
        optimizer={"name": "SGD", "lr": 0.1, "param_groups": [{"params": "bias", "lr": 0.3}]},
        scheduler={"name": "StepLR", "step_size": 10, "gamma": 0.5},
    )
    np.testing.assert_allclose(done.curves["lr"], 0.1 * 0.5 ** (np.arange(50) // 10))
    np.testing.assert_allclose(done.curves["lr.1"], 0.3 * 0.5 ** (np.arange(50) // 10))


@pytest.mark.parametrize("record", ["none", {"every": None}])
def test_nothing_but_the_first_step_is_recorded_where_no_rows_are_asked_for(record):
    result = run(record=record)
    assert result.curves["step"].tolist() == [0]
    assert result.config["record"]["every"] is None
