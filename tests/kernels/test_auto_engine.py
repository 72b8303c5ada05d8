"""The automatic engine: NumPy until there has been work enough for a compiled loop, and the same bits all along."""

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
from optrun.optim import SGD, Adam
from tests.kernels.engines import NEEDS_NUMBA


@pytest.fixture(autouse=True)
def _new_process(monkeypatch):
    """Nothing is loaded or counted; and a loop is compiled at once."""
    monkeypatch.setattr(code_cache, "_loaded", {})
    monkeypatch.setattr(auto_engine, "_failures", [])
    monkeypatch.setattr(auto_engine, "_work", auto_engine.Counter())
    monkeypatch.setattr(auto_engine, "THRESHOLD", 0)


def trained(engine, steps, size=300):
    params = Parameters({"a": (size,)})
    optimizer = SGD(params, lr=0.1, engine=engine)
    for t in range(steps):
        params.grad[:] = np.sin(np.arange(size) + t)
        optimizer.step()
    return params.data.tobytes()


WORK = 2 * (300 + auto_engine.CALL)
"""Of a step, which is a product and a difference."""


@NEEDS_NUMBA
@pytest.mark.parametrize(
    ("steps_before", "compiles"), [(0, True), (3, True), (29, True), (30, False), (400, False)]
)
def test_it_compiles_once_the_threshold_is_reached_and_changes_no_bit(steps_before, compiles, monkeypatch):
    monkeypatch.setattr(auto_engine, "THRESHOLD", steps_before * WORK)
    assert trained(AutoEngine(), 30) == trained(NumpyEngine(), 30)
    assert bool(code_cache._loaded) == compiles


@NEEDS_NUMBA
def test_the_work_of_packs_adds_up(monkeypatch):
    monkeypatch.setattr(auto_engine, "THRESHOLD", 25 * WORK)
    for _ in range(2):
        trained(AutoEngine(), 10)
        assert not code_cache._loaded
    trained(AutoEngine(), 10)
    assert code_cache._loaded


@NEEDS_NUMBA
def test_the_work_of_loops_is_counted_apart(monkeypatch):
    monkeypatch.setattr(auto_engine, "THRESHOLD", 25 * WORK)
    for size in (300, 400):
        trained(AutoEngine(), 10, size)
    assert len(auto_engine._work) == 1  # one loop, whatever the size
    Adam(Parameters({"a": (300,)}), engine=AutoEngine()).step()
    assert len(auto_engine._work) == 2


def without_numba(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)


def without_llvm(monkeypatch, tmp_path):
    def broken(*_):
        raise RuntimeError("no LLVM")

    monkeypatch.setattr(code_cache, "directory", lambda: tmp_path)
    monkeypatch.setattr(code_cache, "machine_code", broken)


def test_without_numba_it_goes_on_with_numpy(monkeypatch):
    without_numba(monkeypatch)
    assert trained(AutoEngine(), 30) == trained(NumpyEngine(), 30)


@NEEDS_NUMBA
def test_where_numba_does_not_work_it_says_so_once(monkeypatch, tmp_path):
    without_llvm(monkeypatch, tmp_path)
    with pytest.warns(
        RuntimeWarning, match="does not work here: RuntimeError: no LLVM; NumPy goes on"
    ) as said:
        found = trained(AutoEngine(), 30)
    assert len(said) == 1
    assert trained(AutoEngine(), 30) == found  # a second pack does not try: it would warn
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
    monkeypatch.setattr(code_cache, "_versions", code_cache._versions.__wrapped__)
    assert trained(AutoEngine(), 30) == trained(NumpyEngine(), 30)
    assert not code_cache._loaded
    with pytest.raises(MissingExtraError, match="python -m pip install"):
        engine_named("numba")


def test_the_numba_engine_says_what_installs_it(monkeypatch):
    without_numba(monkeypatch)
    with pytest.raises(MissingExtraError, match=r"python -m pip install 'numba>=0\.61'"):
        engine_named("numba")
