"""The memory layout of a listing's buffers: contiguous rows, one per lane or one per element."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optrun.arrays import Array
from optrun.kernels.lower import Listing

ROW, COLUMN = "row", "column"
"""The axis along which a coefficient varies."""


def is_lane_fast(buffer: Array) -> bool:
    """Return whether the lane is the fastest axis in memory of a buffer `[B, n]`."""
    return buffer.strides[0] < buffer.strides[1]


@dataclass(frozen=True)
class Rows:
    """The common row layout of all buffers, and the coefficients of a listing."""

    rows: int
    columns: int
    distance: int
    """Distance of two rows in memory, in elements."""
    values: Mapping[str, Array]
    """The coefficients in use, by name."""
    varying: Mapping[str, str]
    """The axis of each coefficient that varies: one value per row or per column."""

    @classmethod
    def of(cls, listing: Listing, parameters: Array, coefficients: Sequence[Array]) -> "Rows":
        """Return the layout of the parameters, which all buffers share; a single row if memory is contiguous."""
        lane_fast = is_lane_fast(parameters)
        across, along = (1, 0) if lane_fast else (0, 1)
        rows, columns = parameters.shape[across], parameters.shape[along]
        distance = parameters.strides[across] // parameters.itemsize
        values = {name: coefficients[int(name[2:])] for name in listing.names("_c")}
        axis = COLUMN if lane_fast else ROW
        varying = {name: axis for name, value in values.items() if value.size > 1}
        if not varying and distance == columns:
            rows, columns = 1, parameters.size
        return cls(rows, columns, distance, values, varying)

    def along(self, axis: str) -> list[str]:
        """Return the coefficients that vary along an axis."""
        return [name for name, along in self.varying.items() if along == axis]

    def conditions(self) -> list[str]:
        """Return the coefficients that are true or false."""
        return [name for name, value in self.values.items() if value.dtype == bool]
