"""The automatic engine: NumPy until a compiled loop has paid for itself, and the same bits all along."""

import sys

import numpy as np
import pytest

from optrun.arrays import Parameters
from optrun.errors import MissingExtraError
from optrun.kernels import auto_engine, compiled, engine_named
from optrun.kernels.auto_engine import AutoEngine
from optrun.kernels.numpy_engine import NumpyEngine
from optrun.optim import SGD
from tests.kernels.engines import NEEDS_NUMBA


@pytest.fixture(autouse=True)
def _new_process(monkeypatch):
    monkeypatch.setattr(compiled, "_compiled", {})
    auto_engine._saved.clear()


def trained(engine, steps, size=300):
    params = Parameters({"a": (size,)})
    optimizer = SGD(params, lr=0.1, engine=engine)
    for t in range(steps):
        params.grad[:] = np.sin(np.arange(size) + t)
        optimizer.step()
    return params.data.tobytes()


@NEEDS_NUMBA
def test_it_compiles_once_that_has_paid_and_changes_no_bit():
    expected = trained(NumpyEngine(), 30)
    saved_by_a_step = 2 * (auto_engine.CALL_SECONDS + auto_engine.BYTE_SECONDS * 4 * 300)
    for price, compiles in [(0.0, 1), (9.5 * saved_by_a_step, 1), (40 * saved_by_a_step, 0)]:
        auto_engine._saved.clear()
        compiled._compiled.clear()
        assert trained(AutoEngine(price), 30) == expected
        assert len(compiled._compiled) == compiles


@NEEDS_NUMBA
def test_packs_share_an_account():
    price = 29.5 * 2 * (auto_engine.CALL_SECONDS + auto_engine.BYTE_SECONDS * 4 * 300)
    for _ in range(2):
        trained(AutoEngine(price), 10)
        assert not compiled._compiled
    trained(AutoEngine(price), 10)
    assert len(compiled._compiled) == 1


@NEEDS_NUMBA
def test_a_loop_costs_less_once_it_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(compiled, "_root", lambda: tmp_path)
    prices = []
    price = auto_engine._price
    monkeypatch.setattr(auto_engine, "_price", lambda source: prices.append(price(source)) or prices[-1])
    trained(AutoEngine(), 1)
    trained(engine_named("numba"), 1)
    monkeypatch.setattr(compiled, "_compiled", {})
    trained(AutoEngine(), 1)
    assert prices[-1] < prices[0]


def without_numba(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)


def test_without_numba_it_goes_on_with_numpy(monkeypatch):
    without_numba(monkeypatch)
    assert trained(AutoEngine(0.0), 30) == trained(NumpyEngine(), 30)


@NEEDS_NUMBA
def test_where_numba_does_not_work_it_says_so_once(monkeypatch):
    def broken(*_):
        raise RuntimeError("no LLVM")

    monkeypatch.setattr(compiled, "_compile", broken)
    with pytest.warns(RuntimeWarning, match="NumPy goes on: no LLVM") as said:
        found = trained(AutoEngine(0.0), 30)
    assert len(said) == 1
    assert found == trained(NumpyEngine(), 30)


def test_the_numba_engine_says_what_installs_it(monkeypatch):
    without_numba(monkeypatch)
    with pytest.raises(MissingExtraError, match=r"python -m pip install 'numba>=0\.61'"):
        engine_named("numba")
