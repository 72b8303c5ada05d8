"""What of a config determines results: that which runs leave changes with it alone."""

from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.config import from_mapping
from optrun.config.identity import canonical, determining

CONFIG = {
    "name": "one",
    "problem": {"name": "quadratic", "dim": 4, "noise": 0.1},
    "optimizer": {"name": "Adam", "lr": 0.1},
    "steps": 20,
}


def identity(**changes):
    return canonical(determining(from_mapping({**CONFIG, **changes}).to_dict()))


INERT = [
    {"name": "two"},
    {"expect": {"final_loss": {"max": 1e9}}},
    {"checkpoint": {"every": 3}},
    {"checkpoint": None},
    {"engine": "numpy"},
]


@pytest.mark.parametrize("changes", INERT, ids=str)
def test_what_changes_no_number_is_no_part_of_it(changes):
    assert identity(**changes) == identity()
    one, other = (optrun.run({**CONFIG, **each}, save=False) for each in ({}, changes))
    assert one.summary == other.summary
    for name in one.curves:
        np.testing.assert_array_equal(one.curves[name], other.curves[name])


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"steps": 21},
        {"dtype": "float64"},
        {"optimizer": {"name": "Adam", "lr": 0.2}},
        {"record": {"every": 2}},
        {"evaluate": {"every": 5}},
        {"stop": {"target": 0.0}},
    ],
    ids=str,
)
def test_what_changes_what_a_run_leaves_is_part_of_it(changes):
    assert identity(**changes) != identity()


def test_the_place_of_a_file_is_no_part_of_it_and_the_name_of_a_set_is():
    def of(data):
        return identity(problem={"name": "mlp", "data": data})

    assert of("here/data.csv") == of(str(Path("elsewhere/other.csv").absolute()))
    assert len({of("here/data.csv"), of("digits"), of("blobs(samples=20)"), of("blobs(samples=30)")}) == 4
