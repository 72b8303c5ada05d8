"""BLAS runs on one thread within a block, whatever number of threads each library of the process had."""

import sys
from types import ModuleType

import pytest
import threadpoolctl

from optrun.arrays import _OneBlasThread, one_blas_thread


def test_libraries_of_different_numbers_of_threads_have_one_and_get_their_own_back():
    pytest.importorskip("scipy.linalg")
    libraries = threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers
    if len(libraries) < 2:
        pytest.skip("SciPy has the BLAS of NumPy here")
    before = [each.num_threads for each in libraries]
    try:
        for number, each in enumerate(libraries, 2):
            each.set_num_threads(number)
        own = [each.num_threads for each in libraries]
        with one_blas_thread:
            assert [each.num_threads for each in libraries] == [1] * len(libraries)
        assert [each.num_threads for each in libraries] == own
    finally:
        for each, number in zip(libraries, before, strict=True):
            each.set_num_threads(number)


def test_libraries_are_looked_for_again_where_a_module_has_come(monkeypatch):
    looked, look = [], threadpoolctl.ThreadpoolController._load_libraries
    monkeypatch.setattr(
        threadpoolctl.ThreadpoolController, "_load_libraries", lambda self: looked.append(1) or look(self)
    )
    block = _OneBlasThread()
    found = []
    for name in ("before", "before", "since"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
        with block:
            found.append(len(looked))
    assert found == [1, 1, 2]
