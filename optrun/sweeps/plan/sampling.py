"""The settings of a space: every combination, or draws that depend on the sweep's seed alone."""

import itertools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from optrun.arrays import Array, stream
from optrun.errors import MissingExtraError
from optrun.sweeps.plan.spaces import Setting, Space, joined


def combinations(space: Space, seed: int = 0) -> Iterator[Setting]:
    """Yield every combination, the last dimension the fastest; no seed changes them."""
    return map(joined, itertools.product(*(each.choices for each in space.dimensions)))


def random(space: Space, seed: int) -> Iterator[Setting]:
    """Yield independent draws; each dimension has a stream of its own."""
    columns = [
        each.at(stream(seed, f"sweep {each.name}", *space.index).random(space.trials))
        for each in space.dimensions
    ]
    return map(joined, zip(*columns, strict=True))


def sobol(space: Space, seed: int) -> Iterator[Setting]:
    """Yield the points of a Sobol' sequence with Owen's scrambling, which fill the space evenly.

    Sobol' (1967), doi:10.1016/0041-5553(67)90144-9; Owen (1998), doi:10.1006/jcom.1998.0487. Raises
    MissingExtraError without SciPy.
    """
    points = _sobol_engine()(len(space.dimensions), rng=stream(seed, "sweep sobol", *space.index))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The balance properties of Sobol' points")
        quantiles: Array = points.random(space.trials)
    columns = [each.at(quantiles[:, i]) for i, each in enumerate(space.dimensions)]
    return map(joined, zip(*columns, strict=True))


SAMPLERS: dict[str, Callable[[Space, int], Iterator[Setting]]] = {
    "grid": combinations,
    "random": random,
    "sobol": sobol,
}


def _sobol_engine() -> Any:
    try:
        from scipy.stats.qmc import Sobol
    except ImportError as error:
        raise MissingExtraError("method: sobol needs SciPy: python -m pip install 'scipy>=1.15'") from error
    return Sobol
