"""What a store keeps of a sweep's plan: all of it or nothing, and its runs are never of two kinds of data."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.analysis.leaderboard import plan_of
from optrun.errors import ChangedError, StoreError
from optrun.store import Store, attempts
from optrun.store.locate import RESULTS
from optrun.sweeps.sweep_store import open_store
from tests.sweeps.support import digest_of, prepared

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
    said = "the data of softmax_regression .*own.csv have changed since the sweep began: restore the old ones"
    for directory in (None, path):
        with pytest.raises(ChangedError, match=said):
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

    with pytest.raises(ChangedError, match="have changed since the sweep began"):
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


HALVED = SWEEP | {
    "steps": 8,
    "sweep": SWEEP["sweep"] | {"method": "halving", "halving": {"min_steps": 2, "factor": 2}},
}


@pytest.mark.full
@pytest.mark.parametrize("error", [sqlite3.OperationalError("database or disk is full"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    ("data", "kind", "time"),
    [
        (SWEEP, "plan", 1),
        (SWEEP, "data", 1),
        (HALVED, "rung", 1),
        (HALVED, "rung", 2),
        (ASKED, "plan", 2),
        (ASKED, "plan", 3),
        (ASKED, "data", 2),
    ],
)
def test_what_is_noted_of_a_sweep_is_written_with_what_it_tells_of_or_not_at_all(
    data, kind, time, error, monkeypatch
):
    if data is ASKED:
        pytest.importorskip("optuna")
    written(0)
    whole = optrun.sweep(data, directory="whole")
    real, times = attempts.write_events, []

    def write(db, events):
        noted = list(events)
        real(db, noted)
        times.extend(event.kind for event in noted if event.kind == kind)
        if len(times) == time:
            times.append("and no other time")
            raise error

    with monkeypatch.context() as patch:
        patch.setattr(attempts, "write_events", write)
        with pytest.raises((StoreError, KeyboardInterrupt)):
            optrun.sweep(data, directory="d")
    if (kind, time) in (("plan", 1), ("data", 1)):  # those are written with the directory
        assert [path.name for path in Path().iterdir() if path.is_dir()] == ["whole"]
    else:
        with Store.open(Path("d")) as store:
            assert len(store.events(kind)) == time - 1
    again = optrun.sweep(data, directory="d")
    assert (again.left, digest_of(again)) == (0, digest_of(whole))
    with Store.open(Path("d")) as store, Store.open(Path("whole")) as other:
        assert plan_of(store) == plan_of(other)
        for each in ("plan", "rung", "data"):
            assert len(store.events(each)) == len(other.events(each))


def changed(data, **block):
    return data | {"sweep": data["sweep"] | block}


OTHER_SWEEP = "^d: holds a sweep with other runs, another metric, .*: name another directory with -o$"
OTHER_METRIC = {"metric": {"name": "test_accuracy", "goal": "maximize"}}


@pytest.mark.full
@pytest.mark.parametrize(
    ("data", "block"),
    [
        (SWEEP, {"method": "halving", "halving": {"min_steps": 2}}),
        (HALVED, OTHER_METRIC),
        (HALVED, {"metric": {"name": "final_loss", "goal": "maximize"}}),
        (HALVED, {"halving": {"min_steps": 2, "factor": 3}}),
        (HALVED, {"halving": {"min_steps": 3, "factor": 2}}),
        (ASKED, OTHER_METRIC),
        (ASKED, {"seed": 1}),
    ],
)
@pytest.mark.parametrize("limit", [2, None])
def test_a_sweep_does_not_go_on_as_another_one(data, block, limit):
    if data is ASKED:
        pytest.importorskip("optuna")
    written(0)
    optrun.sweep(data, directory="d", limit=limit)
    before = digest_of("d")
    with pytest.raises(StoreError, match=OTHER_SWEEP):
        optrun.sweep(changed(data, **block), directory="d")
    assert digest_of("d") == before
    # What is no part of it may differ.
    with ThreadPoolExecutor(2) as executor:
        rest = optrun.sweep(data, directory="d", jobs=2, executor=executor, fail_fast=True)
    assert (rest.left, digest_of(rest)) == (0, digest_of(optrun.sweep(data, directory="whole")))


@pytest.mark.parametrize("data", [SWEEP, HALVED], ids=["grid", "halving"])
@pytest.mark.parametrize("oldest", [False, True])
def test_a_sweep_of_an_older_version_is_known_by_its_runs(data, oldest):
    written(0)
    plan, groups = prepared(data)
    open_store(plan, groups, Path("runs"), Path("new")).close()
    with Store.open(Path("new")) as store:
        (noted,) = store.events("plan")
    details = {name: value for name, value in noted.details.items() if name not in ("digest", "family")}
    assert len(details) == len(noted.details) - 2
    runs = [(document, document["seed"]) for document in plan.documents]
    with Store.create(Path("runs"), "s", directory=Path("old"), config_yaml="", runs=runs) as store:
        if not oldest:
            store.commit(events={"plan": details})
    assert optrun.sweep(data, directory="old").left == 0
    assert digest_of("old") == digest_of(optrun.sweep(data, directory="new"))
    grown = changed(data, parameters=data["sweep"]["parameters"] | {"optimizer.lr": [0.1, 0.3, 0.2]})
    if data is HALVED and not oldest:
        with pytest.raises(StoreError, match="holds other runs than this sweep"):
            optrun.sweep(grown, directory="old")
        with pytest.raises(StoreError, match="with other runs, another metric"):
            optrun.sweep(changed(data, **OTHER_METRIC), directory="old")


@pytest.mark.parametrize("data", [SWEEP, HALVED, ASKED], ids=["grid", "halving", "optuna"])
def test_a_sweep_goes_on_by_the_config_that_its_directory_has(data):
    if data is ASKED:
        pytest.importorskip("optuna")
    written(0)
    path = optrun.sweep(data, directory="d", limit=2).path
    again = optrun.sweep(path / "config.yaml", directory=path)
    assert (again.left, digest_of(again)) == (0, digest_of(optrun.sweep(data, directory="whole")))
