"""What prediction needs is stored with runs: the preparation of their samples, each distinct one once."""

import json

import numpy as np
import pytest

import optrun
from optrun.arrays import Arrays
from optrun.errors import StoreError
from optrun.problems.networks import MLP
from optrun.store import Store
from optrun.store.event_names import PREPARED
from optrun.training.prepared import preparation_of

RUN = {"optimizer": {"name": "Adam", "lr": 0.1}, "steps": 2, "dtype": "float64"}


def stored(path):
    """Return the events of a store, and the preparation of each run as JSON."""
    with Store.open(path) as store:
        found = [preparation_of(store, record) for record in store.runs()]
        return store.events(PREPARED), [each and each.to_json() for each in found]


@pytest.fixture
def flowers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draws = np.random.default_rng(0).normal(size=(30, 2))
    rows = [f"{x},{y},{'ab'[int(x > y)]}" for x, y in draws]
    (tmp_path / "flowers.csv").write_text("\n".join(["x,y,kind", *rows]))
    return tmp_path / "flowers.csv"


def test_a_sweep_over_one_table_stores_one_preparation(flowers):
    problem = {"name": "mlp", "data": str(flowers), "hidden": [3]}
    block = {"parameters": {"optimizer.lr": [0.1, 0.2], "problem.hidden": [[3], [4]]}, "repeats": 2}
    sweep = optrun.sweep({**RUN, "problem": problem, "sweep": block})
    events, found = stored(sweep.path)
    kept = [event.details["preparations"] for event in events]
    assert [len(each) for each in kept] == [1]
    assert len(events[0].details["runs"]) == 2
    expected = MLP(Arrays("numpy", "float64"), data=str(flowers), hidden=[3]).preparation.to_json()
    assert found == [json.loads(json.dumps(expected))] * 8
    optrun.sweep({**RUN, "problem": problem, "sweep": block})
    assert stored(sweep.path)[0] == events


def test_each_split_has_its_own(flowers):
    problem = {"name": "mlp", "data": str(flowers), "hidden": [3], "split_seed": "seed"}
    sweep = optrun.sweep({**RUN, "problem": problem, "sweep": {"repeats": 2}})
    _, found = stored(sweep.path)
    for seed, own in enumerate(found):
        made = MLP(Arrays("numpy", "float64"), data=str(flowers), hidden=[3], split_seed=seed).preparation
        assert own == made.to_json()
    assert found[0] != found[1]


def test_without_data_there_is_none_and_damage_is_told(flowers):
    run = optrun.run({**RUN, "problem": "rosenbrock"})
    assert stored(run.path) == ([], [None])
    run = optrun.run({**RUN, "problem": {"name": "softmax_regression", "data": str(flowers)}})
    with Store.open(run.path, write=True) as store:
        (event,) = store.events(PREPARED)
        (digest,) = event.details["preparations"]
        plain = event.details["preparations"][digest]
        column = plain["columns"][0]
        for wrong in (
            {},
            [1],
            None,
            {**plain, "version": 99},
            {**plain, "shape": [7]},
            {**plain, "shape": [2.0]},
            {**plain, "columns": [column]},
            {**plain, "columns": [{**column, "fill": "x"}, column]},
            {**plain, "columns": [{**column, "more": 1}, column]},
            {**plain, "scaling": {"shift": [0.0], "scale": [1.0]}},
            {**plain, "scaling": {"shift": [0.0, None], "scale": [1.0, 1.0]}},
            {**plain, "target": {**plain["target"], "classes": [["a"], "b"]}},
            {**plain, "target": {**plain["target"], "weights": [1.0]}},
            {**plain, "target": {**plain["target"], "of": "dates"}},
            {**plain, "scaling": {"shift": [0.0, 0.0], "scale": [1.0, 0.0]}},
            {**plain, "decimal": ";"},
        ):
            store.log(PREPARED, runs=event.details["runs"], preparations={digest: wrong})
            store.commit()
            with pytest.raises(StoreError):
                preparation_of(store, store.run(0))
