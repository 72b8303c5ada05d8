"""Rasterise curves into braille characters of 2 × 4 dots; dots in a column span the minimum to the maximum there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optrun.arrays import Array
from optrun.plots.ticks import PlotAxis

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
NO_SERIES = -1
# Unicode numbers the braille dots by column, except for the lowest row, which was added later.
DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint8)


@dataclass(frozen=True)
class Mark:
    """A character at a point; an infinite `y` is drawn at the edge."""

    x: float
    y: float
    character: str


def plot(
    curves: Sequence[tuple[Array, Array]], x_axis: PlotAxis, y_axis: PlotAxis, rows: int, columns: int
) -> tuple[list[str], list[list[int]]]:
    """Return lines of text, and the index of the curve of each character; several curves are marked by letters."""
    dots = np.zeros((rows, columns), np.uint8)
    owners = np.full((rows, columns), NO_SERIES)
    heights = np.arange(4 * rows - 1, -1, -1)[:, None]
    traces = []
    for index, (x, y) in enumerate(curves):
        low, high = _trace(x, y, x_axis, y_axis, 2 * columns, 4 * rows)
        filled = ((heights >= low) & (heights <= high)).reshape(rows, 4, columns, 2)
        own = (filled * DOTS[:, None, :]).sum((1, 3), dtype=np.uint8)
        dots |= own
        owners[own > 0] = index
        traces.append(own > 0)
    characters = np.where(dots > 0, dots.astype(np.uint32) + 0x2800, ord(" "))
    if len(traces) > 1:
        _mark(traces, characters, owners)
    return ["".join(map(chr, row)) for row in characters.tolist()], owners.tolist()


def put_mark(
    mark: Mark, index: int, x_axis: PlotAxis, y_axis: PlotAxis, characters: list[str], owners: list[list[int]]
) -> None:
    """Draw a mark into the lines of `plot`; an infinite height is clipped to the edge, NaN is not drawn."""
    with np.errstate(invalid="ignore", divide="ignore"):
        height = float(y_axis.place(np.array(mark.y)))
    if np.isnan(height):
        return
    row = round((1 - min(max(height, 0.0), 1.0)) * (len(owners) - 1))
    column = round(float(x_axis.place(np.array(mark.x))) * (len(owners[0]) - 1))
    line = characters[row]
    characters[row] = line[:column] + mark.character + line[column + 1 :]
    owners[row][column] = index


def _trace(
    x: Array, y: Array, x_axis: PlotAxis, y_axis: PlotAxis, columns: int, rows: int
) -> tuple[Array, Array]:
    """Return the lowest and the highest dot `[columns]` of a curve in each column; low > high if it is empty."""
    low, high = np.full(columns, np.nan), np.full(columns, np.nan)
    # Compare steps as integers: converting them to floats costs more than everything else here.
    edges = np.ceil(np.linspace(x_axis.low, x_axis.high, columns + 1)).astype(np.int64)
    starts = np.searchsorted(x, edges)
    starts[-1] = x.size
    used = np.flatnonzero(starts[1:] > starts[:-1])
    if used.size:
        first = starts[used]
        scale = rows - 1
        low[used] = y_axis.place(np.fmin.reduceat(y, first)) * scale
        high[used] = y_axis.place(np.fmax.reduceat(y, first)) * scale
        # Interpolate columns between two points linearly; a gap (NaN) at either end makes them NaN.
        middle = (low[used] + high[used]) / 2
        between = np.setdiff1d(np.arange(used[0], used[-1]), used, assume_unique=True)
        low[between] = high[between] = np.interp(between, used, middle)
    # Connect neighbours: extend each column up or down to where the previous one ends.
    low[1:] = np.where(low[1:] > high[:-1] + 1, high[:-1] + 1, low[1:])
    high[1:] = np.where(high[1:] < low[:-1] - 1, low[:-1] - 1, high[1:])
    empty = np.isnan(low)
    return (
        np.where(empty, rows, np.rint(np.where(empty, 0, low))),
        np.where(empty, -1, np.rint(np.where(empty, 0, high))),
    )


def _mark(traces: Sequence[Array], characters: Array, owners: Array) -> None:
    """Put letters on the curves, so that they can be distinguished without colours."""
    every = max(16, 2 * len(traces))
    for index, trace in enumerate(traces):
        used = np.flatnonzero(trace.any(0))
        for column in used[::-1][min(2 * index, max(used.size - 1, 0)) :: every].tolist():
            cells = np.flatnonzero(trace[:, column])
            row = cells[cells.size // 2]
            characters[row, column] = ord(letter(index))
            owners[row, column] = index


def letter(index: int) -> str:
    return LETTERS[index % len(LETTERS)]
