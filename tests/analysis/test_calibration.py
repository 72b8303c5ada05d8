"""Comparisons say what they promise: of equals rarely that they differ, of different ones mostly."""

import numpy as np
import pytest

import optrun
from optrun.analysis.best_settings import ComparedSweep
from optrun.analysis.compare import comparison_of
from optrun.analysis.leaderboard import SweepPlan
from optrun.store import RunRecord, Status

pytestmark = pytest.mark.full

CONFIG = {
    "problem": {"name": "quadratic", "noise": 0.5},
    "optimizer": {"name": "SGD", "lr": 1e-3},
    "steps": 20,
    "dtype": "float64",
}
COMPARISONS, MOST_RUNS = 400, 40


@pytest.fixture(scope="module")
def losses():
    """The final losses of runs that differ in their seeds alone, `[comparisons, runs]`."""
    repeats = COMPARISONS * MOST_RUNS
    found = optrun.sweep({**CONFIG, "seed": 1000, "sweep": {"repeats": repeats}}, save=False)
    return np.array([state.summary["final_loss"] for state in found.states]).reshape(COMPARISONS, MOST_RUNS)


def told_apart(costs):
    """Say whether a comparison tells any optimizer from the first; costs are `[optimizers, seeds]`."""
    names = [f"optimizer {place}" for place in range(len(costs))]
    runs = [
        RunRecord(
            run=place * len(of) + seed,
            seed=seed,
            config={"problem": {"name": "a"}, "optimizer": {"name": name}},
            status=Status.COMPLETED,
            summary={"final_loss": float(cost)},
        )
        for place, (name, of) in enumerate(zip(names, costs, strict=True))
        for seed, cost in enumerate(of)
    ]
    plan = SweepPlan([{"optimizer.name": name} for name in names], len(costs[0]), "final_loss", False)
    found = comparison_of([ComparedSweep("study", plan, runs)], baseline=names[0])
    return any(row.separable for row in found.problems[0].rows)


@pytest.mark.parametrize(("optimizers", "seeds"), [(2, 10), (4, 10)])
def test_equal_optimizers_are_told_apart_in_one_of_twenty_comparisons_at_most(optimizers, seeds, losses):
    equal = losses[:, : optimizers * seeds].reshape(COMPARISONS, optimizers, seeds)
    assert 0 < np.mean([told_apart(costs) for costs in equal]) <= 0.05


def test_a_difference_of_the_noise_is_found_with_the_seeds_that_noise_names(losses):
    noise = optrun.noise(CONFIG, seeds=400)
    seeds = next(n for n, least in noise.detectable.items() if least is not None and least <= noise.deviation)
    costs = losses[:, : 2 * seeds].reshape(COMPARISONS, 2, seeds).copy()
    costs[:, 1] += noise.deviation
    assert np.mean([told_apart(of) for of in costs]) >= 0.8
