"""What is drawn of a setting: the median of its seeds' curves."""

import numpy as np
import pytest

from optrun.analysis.leaderboard import SweepPlan
from optrun.analysis.setting_curves import best_settings, curves_of, merged
from optrun.store import RunState, Status


def test_the_best_settings_are_drawn_by_their_runs_that_ended_well():
    plan = SweepPlan([{"lr": lr} for lr in range(4)], 2, "final_loss", False)
    good, best = (RunState(status=Status.COMPLETED, summary={"final_loss": value}) for value in (2.0, 1.0))
    gone, left = RunState(status=Status.DIVERGED), RunState(status=Status.RUNNING)
    states = [good, good, best, left, gone, gone, good, gone]
    assert best_settings(plan, states, 9) == [[2], [0, 1], [6], [4, 5]]
    assert best_settings(plan, states, 2) == [[2], [0, 1]]
    assert best_settings(plan, [left] * 8, 3) == []


def test_medians_and_quartiles_are_taken_at_the_steps_that_all_have():
    rng = np.random.default_rng(1)
    tables = [
        {"step": np.arange(0, stop, 2), "loss": rng.random(stop // 2), "lr": np.full(stop // 2, 0.1)}
        for stop in (20, 16, 18)
    ]
    tables[0]["grad_norm"] = np.ones(10)
    medians, bands = merged(tables)
    assert medians["step"].tolist() == list(range(0, 16, 2))
    assert list(medians) == ["step", "loss", "lr"]
    losses = np.stack([table["loss"][:8] for table in tables])
    assert (medians["loss"] == np.median(losses, axis=0)).all()
    assert (bands["loss"][0] == np.quantile(losses, 0.25, axis=0)).all()
    assert (bands["loss"][1] == np.quantile(losses, 0.75, axis=0)).all()
    assert merged([tables[0], {}]) == ({}, {})


@pytest.mark.parametrize("count", [1, 2, 7, 20, 500])
def test_a_running_mean_is_that_of_each_run_before_the_median(count):
    rng = np.random.default_rng(2)
    losses = 10.0 ** rng.uniform(-12, 12, (3, 20))
    runs = [
        ({"step": np.arange(0, 40, 2), "loss": loss, "lr": np.arange(20.0), "lr.1": np.ones(20)}, {})
        for loss in losses
    ]
    means = np.array(
        [[loss[max(0, row - count + 1) : row + 1].mean() for row in range(20)] for loss in losses]
    )
    found = curves_of(runs, count, "three")
    np.testing.assert_allclose(found.curves["loss"], np.median(means, axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.bands["loss"][1], np.quantile(means, 0.75, axis=0), rtol=1e-12)
    assert (found.curves["lr"] == np.arange(20.0)).all()
    assert found.label == "three"
    np.testing.assert_allclose(curves_of(runs[:1], count).curves["loss"], means[0], rtol=1e-12)
