"""The engines at hand, to run a test over."""

import importlib.util
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import pytest

from optrun.kernels.numba import engine as numba_engine
from optrun.kernels.numba.engine import NumbaEngine
from optrun.kernels.numpy_engine import NumpyEngine

HAS_NUMBA = importlib.util.find_spec("numba") is not None
NEEDS_NUMBA = pytest.mark.skipif(not HAS_NUMBA, reason="Numba is not installed")
ENGINES = {"numpy": NumpyEngine, "numba": NumbaEngine}
ON_EVERY_ENGINE = ["numpy", "numba"] if HAS_NUMBA else ["numpy"]
COMPILED_RULES = {"SGD", "ASGD", "Rprop"}
"""Whose state comes and goes, is a number of each lane, and is chosen by conditions."""
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


def interpreted(source, numbers, conditions, integers):
    """Return the loop of a source as Python runs it: its operations, without a compiler, whose second is saved."""

    def flat(array):
        return np.lib.stride_tricks.as_strided(array, (array.size + 64,), (array.itemsize,))

    lines = [line for line in source.splitlines() if not line.startswith("from optrun")]
    made = {
        "BLOCK": 64,
        "block": lambda number: np.zeros(64, number.dtype),
        "bits_of": lambda x: x.view(f"i{x.itemsize}"),
        "number_of": lambda x: x.view(f"f{x.itemsize}"),
        "fetch": lambda numbers, place: None,
        "doubles": lambda x: x,
        "places": lambda x: x,
    }
    exec("\n".join(lines), made)
    return lambda: made["step"]([*map(flat, numbers)], [*map(flat, conditions)], flat(integers))


class NewCompiled(NumbaEngine):
    """Compiles a loop in which an operation reads the result of another for the first time; Python runs the others.

    To compile is what takes most of the time of tests. LLVM knows operations and what they read, and neither rules nor
    functions: a loop of pairs that were all compiled before is compiled rightly, and Python finds what its source says.
    """

    compiled: ClassVar[set[tuple[str, ...]]] = set()

    def bind(self, listing, *given):
        with self._sparingly("loop", listing):
            return super().bind(listing, *given)

    def trajectory(self, function, stretch, watch):
        with self._sparingly("trajectory", function.listing, stretch.rule):
            return super().trajectory(function, stretch, watch)

    @contextmanager
    def _sparingly(self, kind, *listings):
        new = {(kind, *pair) for listing in listings for pair in readings(listing)} - self.compiled
        self.compiled |= new
        with pytest.MonkeyPatch.context() as patch:
            if not new:
                patch.setattr(numba_engine, "bound", interpreted)
            yield


def readings(listing):
    """Yield each operation with what it reads: the result of another one, or the kind of a buffer or a number."""
    results = {}
    for each in listing.instructions:
        for name in each.operands:
            yield each.op, results.get(name) or (name[:2] if name.startswith("_") else "buffer")
        results[each.target] = each.op


def each_on_every_engine(
    names: tuple[str, ...],
    cases: Iterable[tuple[Any, ...]],
    rule_of: Callable[..., Any],
    label: Callable[..., str],
    in_short: Callable[..., bool] = lambda *case: True,
) -> pytest.MarkDecorator:
    """Return the mark of a test that asks for `engine`, over cases; over all engines those of a few rules.

    What a compiled loop computes is compared for every rule by itself. Cases that are not ``in_short`` are left to the
    full run.
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
            if engine == "numpy" or (rule_of(*case).__name__ in COMPILED_RULES and in_short(*case))
        ],
        indirect=["engine"],
    )
