"""The engines at hand, to run a test over."""

import importlib.util
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from optrun.kernels.numba.engine import NumbaEngine
from optrun.kernels.numpy_engine import NumpyEngine

HAS_NUMBA = importlib.util.find_spec("numba") is not None
NEEDS_NUMBA = pytest.mark.skipif(not HAS_NUMBA, reason="Numba is not installed")
ENGINES = {"numpy": NumpyEngine, "numba": NumbaEngine}
ON_EVERY_ENGINE = ["numpy", "numba"] if HAS_NUMBA else ["numpy"]
_MADE = {
    "numpy": lambda: NumpyEngine(16),
    "numpy-threads": lambda: NumpyEngine(16, threads=3),
    "numba": lambda: NumbaEngine(1),
    "numba-threads": lambda: NumbaEngine(3, shared_above=0, piece_bytes=512),
}
EVERY_ENGINE = pytest.mark.parametrize(
    "engine",
    [
        pytest.param(make, id=name)
        for name, make in _MADE.items()
        if name.partition("-")[0] in ON_EVERY_ENGINE
    ],
)


def _is_loop(rule: Any) -> bool:
    return not (rule.per_tensor or (rule.needs_closure and not rule.probe()))


def each_on_every_engine(
    names: tuple[str, ...],
    cases: Iterable[tuple[Any, ...]],
    rule_of: Callable[..., Any],
    label: Callable[..., str],
    in_short: Callable[..., bool] = lambda *case: True,
) -> pytest.MarkDecorator:
    """Return the mark of a test that asks for `engine`, over cases; over all engines those whose rule is a loop.

    Cases that are not ``in_short`` are left to the full run.
    """
    return pytest.mark.parametrize(
        ("engine", *names),
        [
            pytest.param(
                engine,
                *case,
                id=f"{engine}-{label(*case)}",
                marks=() if in_short(*case) else pytest.mark.full,
            )
            for case in cases
            for engine in ON_EVERY_ENGINE
            if engine == "numpy" or _is_loop(rule_of(*case))
        ],
        indirect=["engine"],
    )
