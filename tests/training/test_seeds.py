"""The seeds of initialisation and of data may differ from the run's."""

import numpy as np
import pytest

import optrun
from optrun.arrays import Arrays
from optrun.config import from_mapping
from optrun.problems import MLP
from optrun.training.config_notes import ineffective_options
from optrun.training.pack import Pack
from tests.sweeps.support import prepared

RUN = {
    "problem": {"name": "mlp", "data": "iris", "hidden": [4], "batch_size": 16},
    "optimizer": {"name": "SGD", "lr": 0.1},
    "steps": 12,
    "checkpoint": {"every": 5},
}
NOISY = {**RUN, "problem": {"name": "quadratic", "dim": 3, "noise": 0.1}, "optimizer": "SGD"}


def bits(run):
    arrays = [*run.curves.values(), *run.evaluations.values(), *run.params.values()]
    return [run.summary, *(each.tobytes() for each in arrays)]


def result(base=RUN, **keys):
    return bits(optrun.run({**base, **keys}, save=False))


def test_each_seed_replaces_that_of_the_run_for_its_part():
    assert result(seed=5, seeds={"init": 3, "data": 3}) == result(seed=3)
    assert result(NOISY, seed=5, seeds={"data": 3}) == result(NOISY, seed=3)
    assert (
        result(seed=5, seeds={"init": "seed", "data": "seed"}) == result(seed=5, seeds=None) == result(seed=5)
    )
    mixed = [result(seed=3, seeds=seeds) for seeds in ({}, {"init": 4}, {"data": 4}, {"init": 4, "data": 4})]
    assert len({repr(each) for each in mixed}) == 4


def test_the_first_loss_is_that_of_the_two_streams():
    """By hand: a network of one hidden layer at the start of seed 4, on the first batch of seed 7."""
    run = optrun.run({**RUN, "dtype": "float64", "seed": 1, "seeds": {"init": 4, "data": 7}}, save=False)
    problem = MLP(Arrays("numpy", "float64"), data="iris", hidden=[4], batch_size=16)
    start, rows = problem.initial(4), problem.batches([7])[0][0]
    x, y = (each[rows] for each in problem.parts["train"])
    hidden = np.maximum(x @ start["layer1.weight"] + start["layer1.bias"], 0)
    outputs = hidden @ start["layer2.weight"] + start["layer2.bias"]
    losses = np.log(np.exp(outputs).sum(axis=1)) - outputs[np.arange(16), y.astype(int)]
    np.testing.assert_allclose(run.curves["loss"][0], losses.mean(), rtol=1e-12)


def test_lanes_of_other_seeds_are_the_runs_that_they_are_alone(tmp_path):
    swept = {
        **RUN,
        "sweep": {"parameters": {"seeds.init": [0, 1], "seeds.data": ["seed", 0, 8]}, "repeats": 2},
    }
    _, groups = prepared(swept)
    assert [len(group.runs) for group in groups] == [12]
    sweep = optrun.sweep(swept, directory=tmp_path / "sweep", jobs=1)
    for run in sweep.runs:
        assert bits(run) == bits(optrun.run(run.config, save=False))


def test_seeds_are_a_part_of_the_config_where_they_differ_from_the_run_s():
    config = from_mapping({**RUN, "seed": 2, "seeds": {"init": 0, "data": "seed"}})
    assert config.to_dict()["seeds"] == {"init": 0}
    assert from_mapping(config.to_dict()) == config
    assert "seeds" not in from_mapping({**RUN, "seeds": {"init": "seed"}}).to_dict()


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        ({"name": "quadratic"}, ["init", "data"]),
        ({"name": "quadratic", "noise": 0.1}, ["init"]),
        ({"name": "mlp", "data": "iris", "hidden": [3]}, ["data"]),
        (RUN["problem"], []),
    ],
)
def test_seeds_of_what_a_problem_does_not_draw_have_no_effect(problem, expected):
    pack = Pack([from_mapping({**RUN, "problem": problem, "seeds": {"init": 1, "data": 1}})])
    found = [line.partition(" has no effect")[0] for line in ineffective_options(pack)]
    assert found == [f"note: seeds.{purpose}" for purpose in expected]
    base = result({**RUN, "problem": problem})
    same = [result({**RUN, "problem": problem}, seeds={purpose: 1}) == base for purpose in ("init", "data")]
    assert same == [purpose in expected for purpose in ("init", "data")]


def test_repeats_of_a_run_whose_seeds_are_both_set_are_pointed_out():
    repeated = {**RUN, "seeds": {"init": 0, "data": 0}, "sweep": {"repeats": 2}}
    _, (group,) = prepared(repeated)
    assert group.remarks == [
        "note: seeds.init and seeds.data are set, so that the seed of the run has no effect"
    ]
    _, (group,) = prepared({**repeated, "seeds": {"init": 0}})
    assert group.remarks == []
