"""The parameters of each lane at its best evaluation, which `stop.restore_best` gives back at the end."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from optrun.arrays import Array
from optrun.training.pack import Pack

PREFIX = "best/"
"""Of the arrays in a checkpoint."""

_PARAMS, _AVERAGE = "params/", "average/"


class BestParameters:
    """Copies of the parameters `[B, *shape]` by name, and of their average, each lane's of its own step."""

    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self._kept: dict[str, Array] = {}
        self.has_average = np.zeros(pack.lanes, bool)
        """Whether the average existed at the best evaluation of a lane."""

    def keep(self, lanes: Sequence[int]) -> None:
        """Copy the current parameters of lanes."""
        average = self._pack.averaged()
        now = {_PARAMS + name: values for name, values in self._pack.evaluated().items()}
        now |= {_AVERAGE + name: values for name, values in (average or {}).items()}
        for name, values in now.items():
            self._kept.setdefault(name, self._pack.arrays.xp.zeros_like(values))[lanes] = values[lanes]
        self.has_average[lanes] = average is not None

    @property
    def params(self) -> Iterator[tuple[str, Array]]:
        """The parameters by name."""
        return self._named(_PARAMS)

    @property
    def average(self) -> Iterator[tuple[str, Array]]:
        """Their average by name."""
        return self._named(_AVERAGE)

    def _named(self, prefix: str) -> Iterator[tuple[str, Array]]:
        for name, values in self._kept.items():
            if name.startswith(prefix):
                yield name.removeprefix(prefix), values

    def state(self) -> dict[str, Array]:
        """Return the arrays to resume from."""
        if not self._kept:
            return {}
        kept = {PREFIX + name: self._pack.arrays.to_host(values) for name, values in self._kept.items()}
        return {**kept, f"{PREFIX}has_average": self.has_average}

    def load_state(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Restore what `state` returned from the arrays of a checkpoint, and return the others."""
        own = {
            name.removeprefix(PREFIX): values for name, values in arrays.items() if name.startswith(PREFIX)
        }
        if own:
            self.has_average = np.array(own.pop("has_average"), bool)
            self._kept = {name: self._pack.arrays.array(values) for name, values in own.items()}
        return {name: values for name, values in arrays.items() if not name.startswith(PREFIX)}
