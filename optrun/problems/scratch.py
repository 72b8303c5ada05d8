"""Arrays that are used again at every step, so that steps allocate nothing."""

from optrun.arrays import Array, Arrays


class Scratch:
    """Arrays by name and shape."""

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays
        self._kept: dict[tuple[str, tuple[int, ...]], Array] = {}

    def __call__(self, name: str, *shape: int) -> Array:
        """Return the array of this name and shape, allocated on first use."""
        if (name, shape) not in self._kept:
            self._kept[name, shape] = self._arrays.empty(shape)
        return self._kept[name, shape]
