"""Axes for each of several problems, in rows and columns."""

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

from optrun.plots.figure import wrapped_label
from optrun.plots.look import Look

if TYPE_CHECKING:
    from optrun.plots.picture import Picture

HEIGHTS = {1: 4.5, 2: 2.9, 3: 2.3}
"""The height of axes in inches by how many are side by side."""

MOST_SIDE_BY_SIDE = 4
"""How many axes are in two columns; more are in three."""


def columns_of(count: int) -> int:
    """Return how many axes are side by side."""
    return 1 if count == 1 else 2 if count <= MOST_SIDE_BY_SIDE else 3


def inches_of(look: Look, count: int, lines: float) -> tuple[float, float]:
    """Return the size of a picture with so many axes and, above them, lines of a legend."""
    columns = columns_of(count)
    return look.inches(HEIGHTS[columns] * ceil(count / columns), lines)


def panel_axes(picture: "Picture", titles: Sequence[str]) -> list[Any]:
    """Return axes with these titles."""
    columns = columns_of(len(titles))
    every = picture.subplots(ceil(len(titles) / columns), columns, squeeze=False).ravel()
    for title, axes in zip(titles, every, strict=False):
        shown = wrapped_label(title, picture.look.characters // columns - 6)
        axes.set_title(shown, fontsize=0.9 * picture.look.font)
    for axes in every[len(titles) :]:
        axes.set_axis_off()
    return list(every[: len(titles)])
