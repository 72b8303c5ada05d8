"""BLAS runs on one thread within a block, whatever number of threads each library of the process had."""

import pytest

from optrun.arrays import one_blas_thread


def test_libraries_of_different_numbers_of_threads_have_one_and_get_their_own_back():
    pytest.importorskip("scipy.linalg")
    from threadpoolctl import ThreadpoolController

    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
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
