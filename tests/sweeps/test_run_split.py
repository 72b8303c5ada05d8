"""Sweeps whose split follows the seed: each repeat has data of its own, and every run is the one that it is alone."""

import numpy as np
import pytest

import optrun
from optrun.arrays import Arrays
from optrun.config import from_mapping
from optrun.errors import ConfigError
from optrun.problems import SoftmaxRegression
from optrun.sweeps.plan.packs import divided
from optrun.training.pack import Pack
from tests.sweeps.support import prepared

PROBLEM = {"name": "softmax_regression", "data": "iris", "validation_fraction": 0.2, "split_seed": "seed"}
RUN = {"problem": PROBLEM, "optimizer": "Adam", "steps": 30, "evaluate": {"every": 10}}
GRID = {
    **RUN,
    "checkpoint": {"every": 7},
    "sweep": {
        "parameters": {"optimizer.lr": [1e-2, 3e-2, 1e-1], "problem.batch_size": [None, 20]},
        "repeats": 3,
        "metric": {"name": "val_loss"},
    },
}
HALVING = {**GRID, "sweep": {**GRID["sweep"], "method": "halving", "halving": {"min_steps": 10, "factor": 2}}}


def bits(run):
    arrays = [*run.curves.values(), *run.evaluations.values(), *run.params.values()]
    return [str(run.status), run.summary, *(each.tobytes() for each in arrays)]


@pytest.mark.full
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("data", [GRID, HALVING], ids=["grid", "halving"])
def test_every_run_is_the_one_that_it_is_alone(data, jobs, tmp_path):
    sweep = optrun.sweep(data, directory=tmp_path / "sweep", jobs=jobs)
    for run in sweep.runs:
        document = run.config
        assert document["problem"]["split_seed"] == "seed"
        if run.status == "pruned":
            continue
        alone = optrun.run(document, save=False)
        assert bits(run) == bits(alone)
        numbered = {**document, "problem": {**document["problem"], "split_seed": document["seed"]}}
        assert bits(run) == bits(optrun.run(numbered, save=False))


def test_packs_hold_runs_of_one_seed():
    plan, groups = prepared(GRID)
    packs = divided(groups, range(len(plan.configs)), 1)
    assert sorted(len(pack) for pack in packs) == [3] * 6
    assert all(len({plan.configs[run].seed for run in pack}) == 1 for pack in packs)
    number = {**GRID, "problem": {**PROBLEM, "split_seed": 0}}
    plan, groups = prepared(number)
    assert sorted(map(len, divided(groups, range(len(plan.configs)), 1))) == [9, 9]


def test_each_seed_has_its_own_parts():
    problems = [Pack([from_mapping({**RUN, "seed": seed})]).problem for seed in (0, 1, 0)]
    held_out = [problem.parts["test"][0] for problem in problems]
    assert np.array_equal(held_out[0], held_out[2])
    assert not np.array_equal(held_out[0], held_out[1])
    same = SoftmaxRegression(Arrays(), data="iris", validation_fraction=0.2, split_seed=1)
    assert np.array_equal(held_out[1], same.parts["test"][0])


def test_a_pack_of_several_seeds_is_refused():
    configs = [from_mapping({**RUN, "seed": seed}) for seed in (0, 1)]
    with pytest.raises(ConfigError, match="differ in the seed, which their problem follows"):
        Pack(configs)


def test_a_problem_without_a_run_needs_a_number():
    with pytest.raises(ConfigError, match="split_seed: a problem without a run has no seed to follow"):
        SoftmaxRegression(Arrays(), split_seed="seed")


def test_seeds_count_where_nothing_but_the_split_depends_on_them():
    whole = {**GRID, "sweep": {**GRID["sweep"], "parameters": {"optimizer.lr": [1e-2, 3e-2]}}}
    draws = [
        any("draws nothing" in line for group in groups for line in group.remarks)
        for _, groups in map(prepared, (whole, {**whole, "problem": {**PROBLEM, "split_seed": 0}}))
    ]
    assert draws == [False, True]
