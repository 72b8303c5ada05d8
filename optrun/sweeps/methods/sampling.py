"""Settings that do not depend on results: every combination, or draws that depend on the sweep's seed alone."""

import itertools
from collections.abc import Iterator
from typing import Any

from optrun.arrays import Array, stream
from optrun.errors import MissingExtraError, install
from optrun.sweeps.methods.method import Sampler
from optrun.sweeps.plan.spaces import Setting, Space, joined


class Grid(Sampler):
    """Every combination of the values, the last parameter the fastest."""

    trials = False

    def sample(self, space: Space) -> Iterator[Setting]:
        """Yield every combination."""
        return map(joined, itertools.product(*(each.choices for each in space.dimensions)))


class Random(Sampler):
    """Independent draws, as many as there are trials."""

    def sample(self, space: Space) -> list[Setting]:
        """Return independent draws; each dimension has a stream of its own."""
        seed = self.swept.sweep.seed
        names = [f"sweep {each.name}" for each in space.dimensions]
        return space.at([stream(seed, name, *space.index).random(space.trials) for name in names])


class Sobol(Sampler):
    """The points of a Sobol' sequence with Owen's scrambling, which fill a space evenly: best at 16, 32, 64 … trials.

    Sobol' (1967), doi:10.1016/0041-5553(67)90144-9; Owen (1998), doi:10.1006/jcom.1998.0487. Needs SciPy.
    """

    def sample(self, space: Space) -> list[Setting]:
        """Return as many points as there are trials; MissingExtraError without SciPy."""
        rng = stream(self.swept.sweep.seed, "sweep sobol", *space.index)
        points = _sobol_engine()(len(space.dimensions), rng=rng)
        # SciPy warns of any other number of points.
        quantiles: Array = points.random_base2((space.trials - 1).bit_length())[: space.trials]
        return space.at(list(quantiles.T))

    def notes(self) -> Iterator[str]:
        """Yield of how many points the sequence is not balanced."""
        for trials in sorted({space.trials for space in self.spaces}):
            if trials.bit_count() != 1:
                more = 1 << trials.bit_length()
                yield f"Sobol' points fill a space evenly at powers of 2: {more // 2} or {more}, not {trials}"


def _sobol_engine() -> Any:
    try:
        from scipy.stats.qmc import Sobol as Engine
    except ImportError as error:
        raise MissingExtraError(f"method: sobol needs SciPy: {install('scipy>=1.15')}") from error
    return Engine
