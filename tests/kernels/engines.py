"""The engines at hand, to run a test over."""

import importlib.util

import pytest

from optrun.kernels.numba_engine import NumbaEngine
from optrun.kernels.numpy_engine import NumpyEngine

NEEDS_NUMBA = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="Numba is not installed")
EVERY_ENGINE = pytest.mark.parametrize(
    "engine",
    [
        pytest.param(lambda: NumpyEngine(16), id="numpy"),
        pytest.param(lambda: NumpyEngine(16, threads=3), id="numpy-threads"),
        pytest.param(lambda: NumbaEngine(1), id="numba", marks=NEEDS_NUMBA),
        pytest.param(lambda: NumbaEngine(3, shared_above=0), id="numba-threads", marks=NEEDS_NUMBA),
    ],
)
