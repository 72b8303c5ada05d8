"""ReduceLROnPlateau: torch lane by lane, alone, under a warm-up, in its turn."""

import json

import numpy as np
import pytest

from optrun.errors import ConfigError, StateError
from optrun.schedulers import ChainedScheduler, ConstantLR, LinearLR, ReduceLROnPlateau, SequentialLR
from tests.schedulers.test_contract import optimizer

LANES = 5
SETTINGS = [
    {"patience": 2},
    {"patience": 0, "factor": 0.5, "cooldown": 3},
    {"mode": "max", "patience": 4, "threshold": 0.05},
    {"threshold_mode": "abs", "threshold": 0.2, "patience": 1, "min_lr": 0.02},
    {"mode": "max", "threshold_mode": "abs", "threshold": 0.1, "patience": 3, "factor": 0.7},
    {"patience": 1, "factor": 0.6, "eps": 0.01},
    {"patience": 1, "factor": 0.6, "min_lr": 0.5},
]


def told(scheduler, metrics):
    """Return the rates after each of the metrics, `[T, B]`."""
    lanes, rows = metrics.shape[1], []
    for row in metrics:
        scheduler.step(row)
        rows.append(np.broadcast_to(scheduler.get_last_lr()[0], lanes))
    return np.array(rows)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_each_lane_is_torch(settings, rng):
    torch = pytest.importorskip("torch")
    metrics = np.exp(np.cumsum(rng.normal(-0.02, 0.2, (200, LANES)), axis=0))
    metrics[rng.random(metrics.shape) < 0.05] = np.nan
    bases = rng.uniform(0.05, 1, LANES)
    found = told(ReduceLROnPlateau(optimizer(bases, LANES), **settings), metrics)
    for lane in range(LANES):
        theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=bases[lane])
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **settings)
        for row, metric in enumerate(metrics[:, lane].tolist()):
            scheduler.step(metric)
            assert found[row, lane] == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-13)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_lane_has_the_bits_of_its_solo_schedule(settings, rng):
    metrics = rng.normal(0, 1, (100, LANES))
    together = told(ReduceLROnPlateau(optimizer(0.3, LANES), **settings), metrics)
    for lane in range(LANES):
        solo = told(ReduceLROnPlateau(optimizer(0.3), **settings), metrics[:, lane : lane + 1])
        assert together[:, lane].tobytes() == solo[:, 0].tobytes()


@pytest.mark.parametrize(("mode", "worse"), [("min", 0.5), ("max", -0.5)])
def test_a_relative_threshold_works_for_metrics_below_zero(mode, worse):
    scheduler = ReduceLROnPlateau(optimizer(1.0), mode=mode, patience=1, threshold=0.1)
    slightly = -worse * 0.1
    assert told(scheduler, np.array([[-10.0 + worse * i] for i in range(3)]))[-1] == 0.1
    scheduler = ReduceLROnPlateau(optimizer(1.0), mode=mode, patience=1, threshold=0.1)
    assert told(scheduler, np.array([[-10.0 + slightly * i] for i in range(3)]))[-1] == 0.1
    scheduler = ReduceLROnPlateau(optimizer(1.0), mode=mode, patience=1, threshold=0.1)
    assert told(scheduler, np.array([[-10.0 - worse * 4 * i] for i in range(5)]))[-1] == 1.0


def test_what_is_not_finite_is_bad():
    for value in (np.nan, np.inf, -np.inf):
        scheduler = ReduceLROnPlateau(optimizer(1.0), patience=1)
        assert told(scheduler, np.array([[value], [value]]))[-1] == 0.1
        assert told(scheduler, np.array([[1.0], [0.5], [0.25]]))[-1] == 0.1


def test_it_needs_metrics():
    for scheduler in (
        ReduceLROnPlateau(optimizer()),
        ChainedScheduler(optimizer(), schedulers=[LinearLR(), ReduceLROnPlateau()]),
        SequentialLR(optimizer(), schedulers=[LinearLR(), ReduceLROnPlateau()], milestones=[5]),
    ):
        with pytest.raises(ConfigError, match="needs metrics"):
            scheduler.step()
        with pytest.raises(ConfigError, match="metrics must be real numbers"):
            scheduler.step("0.5")
        assert scheduler.last_epoch == 0


def test_under_a_warm_up_the_reductions_count_at_once():
    scheduler = ChainedScheduler(
        optimizer(1.0, 2),
        schedulers=[LinearLR(start_factor=0.0, total_iters=4), ReduceLROnPlateau(patience=1, factor=0.5)],
    )
    metrics = np.array([[5.0, 5.0 - i] for i in range(8)])
    found = told(scheduler, metrics)
    warm = np.minimum(np.arange(1, 9) / 4, 1)
    assert found[:, 1].tolist() == warm.tolist()
    # Reduced after metrics 2, 4 and 6; what is reduced counts from the next step on.
    assert found[:, 0].tolist() == (warm * 0.5 ** np.array([0, 0, 1, 1, 2, 2, 3, 3])).tolist()


def test_in_a_sequence_it_observes_only_the_metrics_of_its_own_steps():
    scheduler = SequentialLR(
        optimizer(1.0),
        schedulers=[
            ConstantLR(factor=0.5, total_iters=99),
            ReduceLROnPlateau(patience=1),
            ConstantLR(factor=0.25),
        ],
        milestones=[10, 20],
    )
    found = told(scheduler, np.full((30, 1), 3.0))[:, 0]
    assert found[:9].tolist() == [0.5] * 9
    # Steps 10 (the first, hence the best), 11 and 12 are observed.
    assert found[9:14] == pytest.approx([1, 1, 1, 0.1, 0.1])
    assert found[19:24].tolist() == [0.25] * 5


def test_with_epochs_it_observes_their_means():
    per_epoch = 4
    losses = np.array([[4.0, 0, 0, 0], [0, 0, 0, 4.0], [2.0, 2.0, 0, 0.0], [0, 0, 0, 1.0]]).reshape(-1, 1)
    scheduler = ReduceLROnPlateau(
        optimizer(1.0), patience=1, interval="epoch", steps_per_epoch=per_epoch, threshold=0.0
    )
    found = told(scheduler, losses)[:, 0]
    assert found.tolist() == [1.0] * 11 + [0.1] * 5
    assert scheduler.best.tolist() == [0.25]


def test_the_epochs_of_a_member_begin_with_its_turn():
    plateau = ReduceLROnPlateau(patience=0, interval="epoch", threshold=0.0)
    scheduler = SequentialLR(
        optimizer(1.0),
        schedulers=[ConstantLR(factor=0.5, total_iters=99), plateau],
        milestones=[3],
        steps_per_epoch=2,
    )
    found = told(scheduler, np.array([9.0, 9, 9, 4, 0, 5, 1, 1, 1]).reshape(-1, 1))[:, 0]
    assert scheduler.members[1].best.tolist() == [1.0]
    assert found.tolist() == [0.5, 0.5, 1, 1, 1, 1, 0.1, 0.1, 0.1]


def test_a_member_that_stands_in_two_places_is_told_each_metric_once():
    plateau = ReduceLROnPlateau(patience=0, factor=0.5)
    first = ChainedScheduler(optimizer(1.0), schedulers=[plateau, plateau])
    second = ChainedScheduler(optimizer(1.0), schedulers=[plateau])
    assert told(first, np.ones((3, 1)))[:, 0].tolist() == [1.0, 0.25, 0.0625]
    assert told(second, np.ones((3, 1)))[:, 0].tolist() == [1.0, 0.5, 0.25]


def test_metrics_for_another_number_of_lanes_are_refused():
    with pytest.raises(ConfigError, match=r"one number or 1, one per lane \(got \(3,\)\)"):
        ReduceLROnPlateau(optimizer(1.0)).step(np.ones(3))


def test_the_rates_of_many_steps_are_renewed_only_where_a_lane_was_reduced(monkeypatch):
    scheduler = ReduceLROnPlateau(optimizer(1.0, 2), patience=5)
    tables, at = [], scheduler.at
    monkeypatch.setattr(scheduler, "at", lambda t, base: tables.append(len(t)) or at(t, base))
    for step in range(60):
        scheduler.step([1.0, -step])
    # A single step tells how wide a table is.
    assert sum(length > 1 for length in tables) == 59 // 6


@pytest.mark.full
@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_its_state_is_plain_and_complete(interval, rng):
    def made():
        return ChainedScheduler(
            optimizer(np.array([0.1, 0.2]), 2),
            schedulers=[
                LinearLR(),
                SequentialLR(
                    schedulers=[ReduceLROnPlateau(patience=1), ReduceLROnPlateau(patience=2)], milestones=[40]
                ),
            ],
            interval=interval,
            steps_per_epoch=3,
        )

    metrics = rng.normal(0, 1, (300, 2))
    whole = told(made(), metrics)
    for stop in (0, 1, 7, 50, 119, 120, 121, 200):
        first, second = made(), made()
        told(first, metrics[:stop])
        second.load_state_dict(json.loads(json.dumps(first.state_dict(), allow_nan=False)))
        assert told(second, metrics[stop:]).tobytes() == whole[stop:].tobytes()


@pytest.mark.parametrize(
    "change",
    [
        {"heard": None},
        {"heard": {}},
        {"best": [1.0]},
        {"best": [1.0, "a"]},
        {"best": 1.0},
        {"reductions": [1, -1]},
        {"reductions": [1, 0.5]},
        {"num_bad_epochs": [10**30, 0]},
    ],
    ids=str,
)
def test_a_damaged_state_is_refused(change):
    scheduler = ReduceLROnPlateau(optimizer(0.1, 2))
    state = scheduler.state_dict()
    with pytest.raises(StateError):
        scheduler.load_state_dict(
            {**state, **change} if "heard" in change else {**state, "heard": {**state["heard"], **change}}
        )
