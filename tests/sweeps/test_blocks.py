"""Sweeps whose configs, states and results are in blocks are those whose runs have rows of their own."""

from pathlib import Path

import numpy as np
import pytest

import optrun
from optrun.store import Store, blocks
from optrun.store.check import faults
from tests.sweeps.support import digest_of


def over(count, **more):
    """Return a sweep of two optimizers with so many rates each, of which the largest diverge."""
    return {
        "name": "s",
        "problem": "rosenbrock",
        "optimizer": {"name": "SGD"},
        "steps": 20,
        "record": {"every": 3},
        "evaluate": {"every": 8},
        "sweep": {
            "parameters": {
                "optimizer.lr": [float(each) for each in np.geomspace(1e-5, 10, 40)[:count]],
                "optimizer.name": ["SGD", "Adam"],
            },
            **more,
        },
    }


def kinds_in(path):
    with Store.open(Path(path)) as store:
        return {kind for (kind,) in store._db.execute("SELECT kind FROM blocks")}


EVERY = {"runs", "settings", "states", "curve", "evaluation", "params"}


@pytest.fixture
def rows(monkeypatch):
    """Return what executes a sweep whose runs have rows of their own."""

    def execute(data):
        with monkeypatch.context() as patch:
            patch.setattr(blocks, "LEAST_RUNS", 1000)
            patch.setattr("optrun.training.memory_store.LEAST_LANES", 1000)
            done = optrun.sweep(data, directory="rows")
        assert not kinds_in("rows")
        return done

    return execute


def test_a_sweep_in_blocks_is_that_in_rows(rows):
    data = over(40)
    alone, packed = rows(data), optrun.sweep(data, directory="packed")
    assert kinds_in("packed") == EVERY
    assert digest_of("packed") == digest_of("rows")
    assert Path("packed/summary.csv").read_bytes() == Path("rows/summary.csv").read_bytes()
    assert packed.states == alone.states
    assert {str(state.status) for state in packed.states} == {"completed", "diverged"}
    assert [each.to_dict() for each in packed.standings()] == [each.to_dict() for each in alone.standings()]
    assert faults(Path("packed")) == (80, [])
    for run in (0, 33, 79):
        single = optrun.run(packed.runs[run].config, save=False)
        for own, its in (
            (packed.runs[run].curves, single.curves),
            (packed.runs[run].evaluations, single.evaluations),
        ):
            assert list(own) == list(its)
            assert all(own[name].tobytes() == its[name].tobytes() for name in its)


@pytest.mark.parametrize("limit", [pytest.param(None, marks=pytest.mark.full), 25])
def test_it_goes_on_and_grows(rows, limit):
    rows(over(40, repeats=2))
    optrun.sweep(over(35), directory="d", limit=limit)
    assert limit or kinds_in("d") == EVERY
    grown = optrun.sweep(over(40, repeats=2), directory="d")
    assert grown.left == 0
    assert grown.executed == 160 - (limit or 70)
    assert digest_of("d") == digest_of("rows")
    assert faults(Path("d")) == (160, [])
    smaller = optrun.sweep(over(33), directory="d")
    assert (smaller.executed, smaller.left) == (0, 0)
    with Store.open(Path("d")) as store:
        assert (store.size, len(store.kept())) == (66, 94)
    again = optrun.sweep(over(40, repeats=2), directory="d")
    assert again.executed == 0
    assert digest_of("d") == digest_of("rows")
    with Store.open(Path("d")) as store:
        assert not store.kept()


def test_runs_that_failed_are_repeated_beside_blocks(rows):
    rows(over(40))
    optrun.sweep(over(40), directory="d")
    with Store.open(Path("d"), write=True) as store:
        store.reset([3, 50])
        assert store.curves(3) == {}
    assert optrun.sweep(over(40), directory="d").executed == 2
    assert digest_of("d") == digest_of("rows")
