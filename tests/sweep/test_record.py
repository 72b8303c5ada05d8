"""What a store keeps of a sweep's plan: its runs are never of two kinds of data."""

import numpy as np
import pytest

import optrun
from optrun.errors import StoreError
from optrun.store import Store
from optrun.store.schema import RESULTS

SWEEP = {
    "name": "s",
    "problem": {"name": "softmax_regression", "data": "own.csv", "target": "y"},
    "optimizer": "SGD",
    "steps": 4,
    "sweep": {"parameters": {"optimizer.lr": [0.1, 0.2], "problem.batch_size": [4, 8]}},
}
ASKED = SWEEP | {
    "sweep": {
        "method": "optuna",
        "trials": 6,
        "optuna": {"batch": 2},
        "parameters": {"optimizer.lr": {"uniform": [0, 1]}, "problem.batch_size": {"int": [2, 9]}},
    }
}


def written(seed):
    rng = np.random.default_rng(seed)
    rows = [f"{a:.6f},{b:.6f},{'uv'[int(a > b)]}" for a, b in rng.normal(size=(40, 2))]
    with open("own.csv", "w") as file:
        file.write("\n".join(["a,b,y", *rows]) + "\n")


@pytest.mark.parametrize("data", [SWEEP, ASKED], ids=["grid", "optuna"])
@pytest.mark.parametrize("limit", [1, 3, None])
def test_a_sweep_does_not_go_on_with_other_data(data, limit):
    if data is ASKED:
        pytest.importorskip("optuna")
    written(0)
    path = optrun.sweep(data, limit=limit).path
    with Store.open(path) as store:
        before = store.results_digest()
    written(1)
    said = (
        "the data of softmax_regression .*own.csv have changed since the sweep began: bring the old ones back"
    )
    for directory in (None, path):
        with pytest.raises(StoreError, match=said):
            optrun.sweep(data, directory=directory)
    with Store.open(path) as store:
        assert store.results_digest() == before
    assert optrun.sweep(data, directory="elsewhere").left == 0
    written(0)
    assert optrun.sweep(data).left == 0


def test_data_that_change_while_optuna_asks_end_the_sweep():
    pytest.importorskip("optuna")
    block = ASKED["sweep"] | {"parameters": {"optimizer.lr": {"uniform": [0, 1]}}}
    written(0)

    def change(progress):
        if progress.runs == 2:
            written(1)

    with pytest.raises(StoreError, match="have changed since the sweep began"):
        optrun.sweep(ASKED | {"sweep": block}, observe=change)


def test_data_are_noted_once_and_those_of_formulas_not_at_all():
    written(0)
    path = optrun.sweep(SWEEP, limit=1).path
    optrun.sweep(SWEEP)
    with Store.open(path) as store:
        (noted,) = store.events("data")
    assert len(noted.details["fingerprints"]) == 2
    formula = {"problem": "quadratic", "optimizer": "SGD", "steps": 2, "sweep": {"repeats": 2}}
    with Store.open(optrun.sweep(formula).path) as store:
        assert not store.events("data")
    assert (path / RESULTS).exists()
