"""A sweep grows: the runs that are there are kept, and it ends as the large sweep would have ended at once."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import optrun
from optrun.errors import StoreError
from optrun.store import Status, Store, verified
from optrun.store.blocks import LEAST_RUNS
from optrun.store.check import faults
from optrun.sweeps.sweep_store import directory_of
from tests.sweeps.support import digest_of, prepared

BASE = {
    "name": "s",
    "problem": {"name": "quadratic", "dim": 3, "noise": 0.1},
    "optimizer": {"name": "Adam", "lr": 0.1},
    "steps": 6,
    "evaluate": {"every": 3},
}


UPWARDS = {"name": "final_loss", "goal": "maximize"}


def sweep_of(**block):
    return BASE | {"sweep": block}


def over(*rates, **block):
    return sweep_of(parameters={"optimizer.lr": list(rates)}, **block)


def asked(trials, **block):
    method = {"method": "optuna", "trials": trials, "optuna": {"batch": 4}}
    return sweep_of(parameters={"optimizer.lr": {"uniform": [0, 1]}}, **method, **block)


def drawn(method, trials, **block):
    parameters = {"optimizer.lr": {"loguniform": [1e-3, 1]}, "optimizer.beta1": {"uniform": [0, 0.99]}}
    return sweep_of(method=method, trials=trials, parameters=parameters, **block)


GROWN = {
    "values before": (over(0.2, 0.3), over(0.1, 0.2, 0.25, 0.3)),
    "repeats": (over(0.2, 0.3, repeats=2), over(0.2, 0.3, repeats=3)),
    "other repeats": (over(0.2, 0.3, repeats=[4, 5]), over(0.2, 0.3, repeats=[1, 5, 4])),
    "a second parameter": (
        over(0.1, 0.2),
        sweep_of(parameters={"optimizer.beta1": [0.5, 0.9], "optimizer.lr": [0.1, 0.2]}),
    ),
    "random draws": (drawn("random", 3, repeats=2), drawn("random", 7, repeats=2)),
    "points of Sobol'": (drawn("sobol", 4), drawn("sobol", 8)),
    "trials of Optuna": (asked(6, repeats=2), asked(11, repeats=2)),
    "included": (over(0.2), over(0.2, include=[{"optimizer": "SGD"}])),
    "optimizers": (
        sweep_of(parameters={"optimizer": ["Adam", "SGD"]}),
        sweep_of(parameters={"optimizer": ["RMSprop", "SGD", "Adam"]}),
    ),
}


@pytest.mark.parametrize("kind", [kind for kind in GROWN if kind != "a second parameter"])
def test_a_grown_sweep_has_the_same_place(kind):
    if "Optuna" in kind:
        pytest.importorskip("optuna")
    if "Sobol" in kind:
        pytest.importorskip("scipy")
    small, large = (directory_of(prepared(data)[0], Path("runs")) for data in GROWN[kind])
    assert small == large


def test_a_sweep_of_other_fixed_options_has_another_place():
    one, other = over(0.2), over(0.2) | {"optimizer": {"name": "Adam", "beta1": 0.5}}
    assert len({directory_of(prepared(data)[0], Path("runs")) for data in (one, other)}) == 2


def files_of(path):
    return Path(path, "summary.csv").read_bytes(), Path(path, "config.yaml").read_bytes()


@pytest.mark.parametrize("limit", [None, pytest.param(1, marks=pytest.mark.full)])
@pytest.mark.parametrize("kind", GROWN)
def test_a_grown_sweep_is_the_large_one(kind, limit):
    if "Optuna" in kind:
        pytest.importorskip("optuna")
    if "Sobol" in kind:
        pytest.importorskip("scipy")
    small, large = GROWN[kind]
    before = optrun.sweep(small, directory="d", limit=limit)
    grown = optrun.sweep(large, directory="d")
    whole = optrun.sweep(large, directory="whole")
    assert grown.left == 0
    assert grown.executed == whole.executed - before.executed
    assert digest_of("d") == digest_of("whole")
    assert files_of("d") == files_of("whole")
    assert [each.to_dict() for each in grown.standings()] == [each.to_dict() for each in whole.standings()]
    with Store.open(Path("d")) as store, Store.open(Path("whole")) as other:
        assert not store.kept()
        for run in range(store.size):
            kinds = [[e.kind for e in each.events_of(run) if e.run == run] for each in (store, other)]
            assert kinds[0] == kinds[1] == ["completed"]


@pytest.mark.full
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plans=st.lists(
        st.tuples(
            st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]), min_size=1, max_size=4, unique=True),
            st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True),
            st.one_of(st.none(), st.integers(1, 6)),
        ),
        min_size=2,
        max_size=4,
    )
)
def test_whatever_plans_a_directory_has_had_it_holds_the_last_one_and_loses_no_run(plans, tmp_path_factory):
    path = tmp_path_factory.mktemp("grown")
    made = set()
    for rates, seeds, limit in plans:
        found = optrun.sweep(over(*rates, repeats=seeds), directory=path / "d", limit=limit)
        wanted = [(rate, seed) for rate in rates for seed in seeds]
        ended = [run for run, state in enumerate(found.states) if state.status.final]
        left_out = [pair for pair in wanted if pair not in made]
        assert found.executed == len(left_out[:limit])
        made |= {wanted[run] for run in ended}
        with Store.open(path / "d") as store:
            kept = {(r.config["optimizer"]["lr"], r.seed) for r in store.kept()}
            assert kept == made - set(wanted)
    assert optrun.sweep(over(*rates, repeats=seeds), directory=path / "d").left == 0
    optrun.sweep(over(*rates, repeats=seeds), directory=path / "whole")
    assert digest_of(path / "d") == digest_of(path / "whole")


def test_a_run_that_was_kept_aside_and_has_a_place_again_is_there_once():
    for seeds, kept in (([1], []), ([0], [1]), ([1], [0]), ([0], [1]), ([0, 1], [])):
        found = optrun.sweep(over(0.1, repeats=seeds), directory="d")
        assert [len(run.curves["loss"]) for run in found.runs] == [6] * len(seeds)
        with Store.open(Path("d")) as store:
            assert [record.seed for record in store.kept()] == kept
        assert faults(Path("d")) == (len(seeds), [])
    optrun.sweep(over(0.1, repeats=[0, 1]), directory="whole")
    assert digest_of("d") == digest_of("whole")


def test_it_is_ranked_by_another_figure_without_a_run():
    data = BASE | {"problem": {"name": "mlp", "data": "digits", "hidden": [4]}, "steps": 2}
    block = {"parameters": {"optimizer.lr": [0.01, 0.1]}}
    first = optrun.sweep(data | {"sweep": block})
    written = (first.path / "config.yaml").read_text()
    metric = {"name": "test_accuracy", "goal": "maximize"}
    other = optrun.sweep(data | {"sweep": block | {"metric": metric}})
    assert "test_accuracy" in (first.path / "config.yaml").read_text()
    assert (other.path, other.executed, other.metric.name) == (first.path, 0, "test_accuracy")
    best = max(run.summary["test_accuracy"] for run in other.runs)
    assert other.standings()[0].median == best
    optrun.sweep(data | {"sweep": block})
    assert (first.path / "config.yaml").read_text() == written


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "t"},
        {"expect": {"final_loss": {"max": 1}}},
        {"checkpoint": {"every": 7}},
        {"engine": "numpy"},
    ],
    ids=str,
)
@pytest.mark.parametrize("data", [over(0.1, 0.2), asked(5)], ids=["grid", "optuna"])
def test_what_determines_no_result_is_no_part_of_a_sweep(data, changes):
    if data["sweep"].get("method"):
        pytest.importorskip("optuna")
    optrun.sweep(data, directory="d", limit=1)
    again = optrun.sweep(data | changes, directory="d")
    assert (again.left, again.executed) == (0, again.plan.size - 1)
    assert optrun.sweep(data, directory="d").executed == 0


def test_a_file_that_has_moved_is_the_same_data_and_another_one_is_not(rng):
    rows = [f"{a},{b},{a + b}" for a, b in rng.normal(size=(20, 2))]
    for name, content in (("a", rows), ("b", rows), ("c", rows[:-1])):
        Path(f"{name}.csv").write_text("\n".join(["x,y,z", *content]))

    def data(*names):
        parameters = {"problem.data": [f"{name}.csv" for name in names], "optimizer.lr": [0.1, 0.2]}
        return BASE | {"problem": "linear_regression", "sweep": {"parameters": parameters}}

    assert optrun.sweep(data("a"), directory="d").executed == 2
    assert optrun.sweep(data("b"), directory="d").executed == 0
    assert optrun.sweep(data("c", "b"), directory="d").executed == 2


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            over(0.1, 0.2),
            BASE | {"steps": 7, "sweep": over(0.1)["sweep"]},
            "holds other runs than this sweep",
        ),
        (
            over(0.1, 0.2, 0.3, method="halving", halving={"min_steps": 2}),
            over(0.1, 0.2, 0.3, 0.4, method="halving", halving={"min_steps": 2}),
            "on which depends which runs go on",
        ),
        (
            over(0.1, 0.2, 0.3, method="halving", halving={"min_steps": 2}),
            over(0.1, 0.2, 0.3),
            "on which depends which runs go on",
        ),
        (asked(6), asked(6, seed=1), "on which depends which runs go on"),
        (asked(6, repeats=2), asked(4, repeats=2), "holds a sweep of 6 settings: fewer are another sweep"),
        (
            over(0.1, 0.2, 0.3, method="halving", halving={"min_steps": 2}),
            over(0.1, 0.2, 0.3, method="halving", halving={"min_steps": 2}, metric=UPWARDS),
            "on which depends which runs go on",
        ),
    ],
)
def test_what_is_another_sweep_is_refused_and_has_another_place(before, after, said):
    if "optuna" in str(before):
        pytest.importorskip("optuna")
    optrun.sweep(before, directory="d")
    kept = digest_of("d"), Path("d/config.yaml").read_bytes()
    with pytest.raises(StoreError, match=f"^d: .*{said}.* -o"):
        optrun.sweep(after, directory="d")
    assert kept == (digest_of("d"), Path("d/config.yaml").read_bytes())
    if "fewer" not in said:
        assert optrun.sweep(before).path != optrun.sweep(after).path


def test_as_many_trials_as_a_sweep_has_grown_to_are_the_least():
    pytest.importorskip("optuna")
    for trials in (4, 9):
        optrun.sweep(asked(trials), directory="d")
    with pytest.raises(StoreError, match="holds a sweep of 9 settings"):
        optrun.sweep(asked(6), directory="d")


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ({"plan": {"runs": "many"}}, "the plan of the sweep is damaged"),
        ({"rung": {"promoted": [0, -1], "until": 4}}, "a decision at a rung is damaged"),
    ],
)
def test_damaged_notes_of_a_sweep_are_told(events, said):
    data = over(0.1, 0.2, 0.3, method="halving", halving={"min_steps": 2})
    optrun.sweep(data, directory="d", limit=1)
    with Store.open(Path("d"), write=True) as store:
        store.commit(events=events)
    with pytest.raises(StoreError, match=f"d: {said}"):
        optrun.sweep(data, directory="d")


@pytest.mark.full
@pytest.mark.parametrize("point", range(6))
def test_an_error_within_leaves_the_old_plan_whole(point, monkeypatch):
    small, large = over(0.2, 0.3, repeats=2), over(0.1, 0.3, 0.2, repeats=3)
    optrun.sweep(small, directory="d", limit=3)
    before = digest_of("d")
    tables = []
    real = verified.checksum

    def checksum(parts):
        parts = list(parts)
        tables.append(parts)
        if len(tables) == 1 + 7 * point:
            raise sqlite3.OperationalError("database or disk is full")
        return real(parts)

    with Store.open(Path("d"), write=True) as store, monkeypatch.context() as patch:
        runs = [(record.config, record.seed) for record in store.runs()]
        patch.setattr(verified, "checksum", checksum)
        with pytest.raises((StoreError, sqlite3.OperationalError)):
            store.rearrange(runs[::-1], {0: 3, 1: 0, 3: 2}, {"plan": {}})
        assert store.size == 4
    assert digest_of("d") == before
    assert optrun.sweep(large, directory="d").left == 0
    optrun.sweep(large, directory="whole")
    assert digest_of("d") == digest_of("whole")


def test_runs_change_places_with_all_that_they_have(rng):
    data = over(*np.linspace(0.1, 0.4, 4).tolist(), repeats=2)
    optrun.sweep(data, directory="d", limit=5)
    with Store.open(Path("d"), write=True) as store:
        there = store.size
        runs = [(record.config, record.seed) for record in store.runs()]
        had = [(store.run(run), store.curves(run), store.params(run)) for run in range(there)]
        order = rng.permutation(there).tolist()
        store.rearrange([runs[old] for old in order], dict(enumerate(order)))
        for new, old in enumerate(order):
            record, curves, params = had[old]
            assert store.run(new).config == record.config
            assert store.run(new).status == record.status
            for name, values in curves.items():
                np.testing.assert_array_equal(store.curves(new)[name], values)
            for name, values in params.items():
                np.testing.assert_array_equal(store.params(new)[name], values)
            kinds = [event.kind for event in store.events_of(new) if event.run == new]
            assert kinds == ([] if record.status is Status.WAITING else ["completed"])
    assert faults(Path("d"))[1] == []


@pytest.mark.parametrize("trials", [3, LEAST_RUNS])
def test_a_sweep_that_is_asked_for_again_is_left_as_it_is(trials, monkeypatch):
    def refused(*_):
        raise AssertionError

    optrun.sweep(drawn("random", trials) | {"steps": 1}, directory="s")
    written = Path("s", "config.yaml").stat()
    monkeypatch.setattr(Store, "rearrange", refused)
    assert optrun.sweep(drawn("random", trials) | {"steps": 1}, directory="s").executed == 0
    assert Path("s", "config.yaml").stat().st_ino == written.st_ino


def test_what_ended_at_an_earlier_time_is_not_executed_now():
    optrun.sweep(over(0.1, 0.2, 0.3), directory="s", limit=2)
    seen = []
    optrun.sweep(over(0.1, 0.2, 0.3, 0.4), directory="s", observe=seen.append)
    assert [(now.runs, now.executed) for now in (seen[0], seen[-1])] == [(2, 0), (4, 2)]
