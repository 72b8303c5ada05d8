"""How the buffers of a listing lie: rows that are contiguous in memory, lanes or, where those are, elements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optrun.arrays import Array
from optrun.kernels.lower import Listing

ROW, COLUMN = "row", "column"
"""Along what a coefficient varies where it is not the same everywhere."""


def is_lane_fast(buffer: Array) -> bool:
    """Return whether neighbours in memory are the lanes of one element of a buffer `[B, n]`."""
    return buffer.strides[0] < buffer.strides[1]


@dataclass(frozen=True)
class Rows:
    """The rows of every buffer, which all have one layout, and the coefficients of a listing."""

    rows: int
    columns: int
    distance: int
    """Of two rows in memory, in elements."""
    values: Mapping[str, Array]
    """The coefficients that are used, by name."""
    varying: Mapping[str, str]
    """Of those that are not the same everywhere, whether there is one for each row or for each column."""

    @classmethod
    def of(cls, listing: Listing, parameters: Array, coefficients: Sequence[Array]) -> "Rows":
        """Return the rows of buffers that lie like the parameters: a single one where nothing is between them."""
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
        """Return the coefficients that vary along rows, or columns."""
        return [name for name, along in self.varying.items() if along == axis]
