"""The search for a learning rate: on curves whose best rate, range and edge are known, and against full sweeps."""

import math
from itertools import pairwise

import pytest

import optrun
from optrun.analysis.leaderboard import Standing
from optrun.analysis.learning_rates import FoundRates, Search
from optrun.errors import ConfigError


def standing(loss, seeds):
    diverged = seeds if loss is None else 0
    return Standing({}, 0, seeds, diverged, 0, 0, None, 0, loss, loss, loss)


def searched(loss, given, *, maximize=False, initial=1.0, of_three=None, rounding=None, highest=math.inf):
    """Return what a search finds of a loss over rates, and the rates that it tried."""
    tried = []

    def trial(rates, seeds):
        tried.extend((rate, seeds) for rate in rates)
        of = of_three if of_three and seeds == 3 else loss
        return [standing(of(rate), seeds) for rate in rates]

    search = Search(
        trial, given, 3, maximize, lambda: initial, lambda: rounding, lambda rate: rate <= highest
    )
    outcomes = search.outcomes()
    found = FoundRates("lr", "final_loss", maximize, 3, given, initial, outcomes, rounding=rounding)
    return found, tried


def valley(best, edge):
    """A loss that is least at a rate, and diverges from another one on."""
    return lambda rate: None if rate >= edge else 0.01 + 0.1 * math.log10(rate / best) ** 2


@pytest.mark.parametrize("given", [3e-3, 1e-5, 0.2], ids=["near", "far below", "far above"])
def test_the_range_and_the_edge_are_those_of_the_loss(given):
    found, tried = searched(valley(4e-3, 0.05), given)
    # 0.1 · x² ≤ 5 % of 0.01 within 0.071 decades, and somewhat farther where no rate is the best one itself.
    low, high = found.range
    assert 4e-3 / 10**0.08 <= low <= found.best.rate <= high <= 4e-3 * 10**0.08
    assert low <= found.recommended <= high
    assert 0.05 <= found.diverges_from <= 0.05 * 10 ** (1 / 8)
    assert len(set(tried)) == len(tried) <= 40
    assert [each.rate for each in found.outcomes] == sorted({rate for rate, _ in tried})
    assert not found.is_at_edge


def test_a_wide_range_is_followed_to_its_ends():
    found, _ = searched(lambda rate: 0.1 if 1e-5 <= rate <= 20 else 0.2, 1e-3)
    low, high = found.range
    assert 1e-5 <= low < 4e-5
    assert 5 < high <= 20
    assert 1e-3 < found.recommended < 0.1
    assert found.diverges_from is None
    bounded, tried = searched(lambda rate: 0.1 if 1e-5 <= rate <= 20 else 0.2, 1e-3, highest=5.0)
    assert max(rate for rate, _ in tried) == bounded.range[1] == 3.16  # two and three coarse places above 0.1
    assert bounded.is_at_edge


def test_where_the_loss_is_rounding_the_lowest_rate_is_taken():
    """It falls to 10⁻⁸ at 0.01 and to 0 at 0.1, and rises above 2: with a rounding of 10⁻⁷ these are one plateau."""

    def loss(rate):
        return 0.0 if 0.1 <= rate <= 2 else 1e-8 if 0.01 <= rate < 2 else 1e-3

    found, _ = searched(loss, 1e-3, rounding=1e-7)
    assert found.is_rounding
    assert 0.01 <= found.recommended == found.range[0] < 0.01 * 10**0.5
    assert 1 <= found.range[1] <= 2
    assert "final_loss is 0 but for rounding at these rates: the lowest is recommended" in str(found)
    assert "no more than rounding, 1e-07 (final_loss, 3 seeds)" in str(found)
    apart, _ = searched(loss, 1e-3, rounding=1e-9)
    assert 0.1 <= apart.recommended == apart.range[0] < 0.1 * 10**0.5
    accurate, _ = searched(lambda rate: 0.0 if rate < 0.1 else -1.0, 1e-3, maximize=True, initial=None)
    assert not accurate.is_rounding  # a figure that is no loss, whose best value may be 0


def test_what_ends_above_its_beginning_has_not_trained():
    found, _ = searched(lambda rate: 3.0 if rate > 0.1 else 0.5, 1e-2)
    assert 0.1 < found.diverges_from <= 0.1 * 10 ** (1 / 8)
    assert found.recommended <= found.diverges_from / 2
    nothing, tried = searched(lambda rate: None, 1e-2)
    assert (nothing.best, nothing.range, nothing.recommended) == (None, None, None)
    assert min(rate for rate, _ in tried) == pytest.approx(1e-9)
    assert str(nothing).startswith("no lr trains")


def test_a_rate_that_trains_with_one_seed_alone_is_not_taken():
    """Its median over the seeds is a divergence; the next best rate is tried, until none is left."""
    lucky, _ = searched(valley(4e-3, 0.05), 3e-3, of_three=lambda rate: None)
    assert (lucky.best, lucky.range, lucky.recommended) == (None, None, None)
    assert str(lucky).endswith("end no better than they begin in the median of 3 seeds")
    lower, _ = searched(valley(4e-3, 0.05), 3e-3, of_three=valley(4e-3, 1e-4))
    assert lower.range[0] < lower.recommended < lower.diverges_from
    assert 0.7e-4 < lower.best.rate < 1e-4


def test_between_steep_neighbours_it_looks_closer():
    steep, _ = searched(lambda rate: math.exp(60 * abs(math.log10(rate / 4.3e-3)) - 40), 1e-3)
    assert steep.best.rate == pytest.approx(4.3e-3, rel=0.04)
    higher, _ = searched(lambda rate: 0.9 - abs(math.log10(rate)), 1e-3, maximize=True, initial=None)
    assert higher.range[0] < 1 < higher.range[1]
    assert higher.best.median == max(each.median for each in higher.outcomes)


PROBLEMS = {
    "valley": {"problem": "rosenbrock", "optimizer": {"name": "Adam", "lr": 1e-3}, "steps": 300},
    "quadratic": {
        "problem": {"name": "quadratic", "dim": 8, "condition": 50, "noise": 0.1},
        "optimizer": {"name": "SGD", "lr": 0.3, "momentum": 0.9},
        "steps": 200,
    },
    "convex": {
        "problem": {"name": "softmax_regression", "data": "iris", "batch_size": 32},
        "optimizer": {"name": "AdamW", "lr": 1e-2},
        "scheduler": {"name": "CosineAnnealingLR", "T_max": 100, "warmup": 10},
        "steps": 100,
    },
    "logistic": {
        "problem": {"name": "logistic_regression", "data": "breast_cancer"},
        "optimizer": {"name": "RMSprop", "lr": 1e-4},
        "steps": 60,
    },
    "network": {
        "problem": {"name": "mlp", "data": "digits", "hidden": [16], "batch_size": 64},
        "optimizer": {"name": "SGD", "lr": 1e-4, "momentum": 0.9},
        "steps": 60,
    },
    "signs": {
        "problem": {"name": "mlp", "data": "wine", "hidden": [8], "batch_size": 32},
        "optimizer": {"name": "Lion", "lr": 1.0},
        "steps": 100,
    },
}


@pytest.mark.full
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_rate_reaches_what_a_full_sweep_reaches(name):
    config = PROBLEMS[name]
    found = optrun.lr_find(config)
    grid = {"optimizer.lr": {"logspace": [1e-6, 1e2, 65]}}
    full = optrun.sweep({**config, "sweep": {"parameters": grid, "repeats": 3}}, save=False)
    best = full.table()[0]["median"]
    reached = next(each.median for each in found.outcomes if each.rate == found.recommended)
    assert reached <= 2 * max(best, found.rounding)  # below which a loss tells nothing
    assert len(found.outcomes) < 40


def test_only_rates_that_matter_are_looked_for():
    config = {**PROBLEMS["valley"], "steps": 20}
    found = optrun.lr_find(config, overrides=["dtype=float64"])
    assert found.seeds == 1  # it draws nothing
    assert all(low.rate < high.rate for low, high in pairwise(found.outcomes))
    alone = optrun.run(
        {**config, "dtype": "float64"}, overrides=[f"optimizer.lr={found.best.rate}"], save=False
    )
    assert alone.summary["final_loss"] == found.best.median  # the same run to the bit
    cycle = {"name": "OneCycleLR", "max_lr": 0.1, "total_steps": 20}
    with pytest.raises(
        ConfigError, match="OneCycleLR sets the learning rate itself: give --parameter scheduler.max_lr"
    ):
        optrun.lr_find({**config, "scheduler": cycle})
    with pytest.raises(ConfigError, match="DoG finds the learning rate itself"):
        optrun.lr_find({**config, "optimizer": "DoG"})
    by_peak = optrun.lr_find({**config, "scheduler": cycle}, parameter="scheduler.max_lr")
    assert by_peak.given == 0.1
    with pytest.raises(ConfigError, match="optimizer.weight_decay changes nothing: final_loss is "):
        optrun.lr_find(config, parameter="optimizer.weight_decay", overrides=["optimizer.weight_decay=1e-30"])
    with pytest.raises(ConfigError, match="give it a positive number"):
        optrun.lr_find(config, overrides=["optimizer.lr=0"])


def test_a_loss_is_rounding_relative_to_the_initial_one():
    """Of x² from x = 3 gradient descent leaves 9 · (1 - 2η)¹² after 6 steps, which is rounding near η = 1/2."""
    config = {
        "problem": {"name": "expression", "f": "x**2", "start": {"x": 3.0}},
        "optimizer": {"name": "SGD", "lr": 0.01},
        "steps": 6,
    }
    found = optrun.lr_find(config)
    assert found.rounding == pytest.approx(9 * 2.0**-23)
    assert (1 - 2 * found.recommended) ** 12 <= 2.0**-23
    assert all(
        (1 - 2 * each.rate) ** 12 > 2.0**-23 for each in found.outcomes if each.rate < found.recommended
    )
    assert found.cautions == ["fewer --steps tell more"]
    assert optrun.lr_find(config, overrides=["dtype=float64"]).rounding == 9 * 2.0**-52


def test_where_there_is_a_validation_part_its_loss_is_taken():
    config = {**PROBLEMS["convex"], "scheduler": None}
    held = {**config, "problem": {**config["problem"], "validation_fraction": 0.2}}
    found = optrun.lr_find(held, steps=2, seeds=1)
    assert found.metric == "val_loss"
    assert found.initial == pytest.approx(math.log(3))  # of zero weights
    assert any("val_loss is taken, since" in each for each in found.cautions)
    assert optrun.lr_find(held, steps=2, seeds=1, metric="final_loss").metric == "final_loss"
    assert optrun.lr_find(config, steps=2, seeds=1).metric == "final_loss"
