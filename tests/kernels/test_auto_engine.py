"""The automatic engine: NumPy until a compiled loop has paid for itself, and the same bits all along."""

import itertools
import sys
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest

from optrun.arrays import Parameters
from optrun.errors import MissingExtraError
from optrun.kernels import auto_engine, engine_named
from optrun.kernels.auto_engine import AutoEngine
from optrun.kernels.numba import code_cache
from optrun.kernels.numpy_engine import NumpyEngine
from optrun.optim import SGD
from tests.kernels.engines import NEEDS_NUMBA


@pytest.fixture(autouse=True)
def _new_process(monkeypatch):
    """Nothing is loaded or saved; and NumPy takes a second for a step."""
    monkeypatch.setattr(code_cache, "_loaded", {})
    monkeypatch.setattr(auto_engine, "_failures", [])
    auto_engine._saved.clear()
    monkeypatch.setattr(auto_engine, "perf_counter", itertools.count(0.0).__next__)


def trained(engine, steps, size=300):
    params = Parameters({"a": (size,)})
    optimizer = SGD(params, lr=0.1, engine=engine)
    for t in range(steps):
        params.grad[:] = np.sin(np.arange(size) + t)
        optimizer.step()
    return params.data.tobytes()


@NEEDS_NUMBA
@pytest.mark.parametrize(
    ("steps_it_costs", "compiles"), [(0, True), (3, True), (29, True), (30, False), (400, False)]
)
def test_it_compiles_once_that_has_paid_and_changes_no_bit(steps_it_costs, compiles):
    price = auto_engine.SAVED * (steps_it_costs - 0.5)
    assert trained(AutoEngine(price), 30) == trained(NumpyEngine(), 30)
    assert bool(code_cache._loaded) == compiles


@NEEDS_NUMBA
def test_packs_share_an_account():
    price = auto_engine.SAVED * 28.5
    for _ in range(2):
        trained(AutoEngine(price), 10)
        assert not code_cache._loaded
    trained(AutoEngine(price), 10)
    assert code_cache._loaded


@NEEDS_NUMBA
def test_the_time_of_a_few_steps_is_taken(monkeypatch):
    def times(steps):
        calls = []
        monkeypatch.setattr(auto_engine, "perf_counter", lambda: calls.append(0) or 0.0)
        trained(AutoEngine(), steps)
        return len(calls)

    assert 0 < times(50) == times(100) < 50


@NEEDS_NUMBA
def test_a_loop_costs_less_once_it_is_kept(monkeypatch, tmp_path):
    monkeypatch.setattr(code_cache, "directory", lambda: tmp_path)
    prices = []
    price = auto_engine._price
    monkeypatch.setattr(auto_engine, "_price", lambda loop: prices.append(price(loop)) or prices[-1])
    trained(AutoEngine(), 1)
    trained(engine_named("numba"), 1)
    monkeypatch.setattr(code_cache, "_loaded", {})
    trained(AutoEngine(), 1)
    assert prices[-1] < prices[0]


def without_numba(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)


def without_llvm(monkeypatch, tmp_path):
    def broken(*_):
        raise RuntimeError("no LLVM")

    monkeypatch.setattr(code_cache, "directory", lambda: tmp_path)
    monkeypatch.setattr(code_cache, "machine_code", broken)


def test_without_numba_it_goes_on_with_numpy(monkeypatch):
    without_numba(monkeypatch)
    assert trained(AutoEngine(0.0), 30) == trained(NumpyEngine(), 30)


@NEEDS_NUMBA
def test_where_numba_does_not_work_it_says_so_once(monkeypatch, tmp_path):
    without_llvm(monkeypatch, tmp_path)
    with pytest.warns(
        RuntimeWarning, match="does not work here: RuntimeError: no LLVM; NumPy goes on"
    ) as said:
        found = trained(AutoEngine(0.0), 30)
    assert len(said) == 1
    assert trained(AutoEngine(0.0), 30) == found  # a second pack does not try: it would warn
    assert found == trained(NumpyEngine(), 30)


@NEEDS_NUMBA
def test_where_numba_does_not_work_its_engine_says_so(monkeypatch, tmp_path):
    without_llvm(monkeypatch, tmp_path)
    with pytest.raises(MissingExtraError, match="Numba does not work here: RuntimeError: no LLVM"):
        trained(engine_named("numba"), 1)


def without_metadata(package):
    raise PackageNotFoundError(package)


@NEEDS_NUMBA
def test_a_numba_of_no_known_version_is_none(monkeypatch):
    monkeypatch.setattr(code_cache, "version", without_metadata)
    for cached in (code_cache._versions, code_cache._machine):
        monkeypatch.setattr(code_cache, cached.__name__, cached.__wrapped__)
    assert trained(AutoEngine(0.0), 30) == trained(NumpyEngine(), 30)
    assert not code_cache._loaded
    with pytest.raises(MissingExtraError, match="python -m pip install"):
        engine_named("numba")


def test_the_numba_engine_says_what_installs_it(monkeypatch):
    without_numba(monkeypatch)
    with pytest.raises(MissingExtraError, match=r"python -m pip install 'numba>=0\.61'"):
        engine_named("numba")


@NEEDS_NUMBA
def test_loops_pay_together_for_what_they_all_need(monkeypatch):
    monkeypatch.setattr(auto_engine, "_price", lambda _: (0.5, "a module that is not there"))
    monkeypatch.setitem(auto_engine.IMPORT_SECONDS, "a module that is not there", 10.0)
    trained(AutoEngine(), 10)
    assert not code_cache._loaded
    auto_engine._saved["another loop"] = 10.0
    trained(AutoEngine(), 1)
    assert len(code_cache._loaded) == 1
