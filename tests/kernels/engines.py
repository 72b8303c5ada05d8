"""The engines at hand, to run a test over."""

import importlib.util
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from optrun.kernels.numba_engine import NumbaEngine
from optrun.kernels.numpy_engine import NumpyEngine

NEEDS_NUMBA = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="Numba is not installed")
ENGINES = {"numpy": NumpyEngine, "numba": NumbaEngine}
ON_EVERY_ENGINE = [pytest.param("numpy", id="numpy"), pytest.param("numba", id="numba", marks=NEEDS_NUMBA)]
EVERY_ENGINE = pytest.mark.parametrize(
    "engine",
    [
        pytest.param(lambda: NumpyEngine(16), id="numpy"),
        pytest.param(lambda: NumpyEngine(16, threads=3), id="numpy-threads"),
        pytest.param(lambda: NumbaEngine(1), id="numba", marks=NEEDS_NUMBA),
        pytest.param(
            lambda: NumbaEngine(3, shared_above=0, piece_bytes=512), id="numba-threads", marks=NEEDS_NUMBA
        ),
    ],
)


def each_on_every_engine(
    names: tuple[str, ...],
    cases: Iterable[tuple[Any, ...]],
    rule_of: Callable[..., Any],
    label: Callable[..., str],
) -> pytest.MarkDecorator:
    """Return the mark of a test that asks for `engine`, over cases; over all engines those whose rule is a loop."""
    return pytest.mark.parametrize(
        ("engine", *names),
        [
            pytest.param(*engine.values, *case, id=f"{engine.id}-{label(*case)}", marks=engine.marks)
            for case in cases
            for engine in ON_EVERY_ENGINE
            if engine.id == "numpy" or not (rule_of(*case).per_tensor or rule_of(*case).needs_closure)
        ],
        indirect=["engine"],
    )
