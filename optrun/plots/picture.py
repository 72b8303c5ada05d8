"""Figures of Matplotlib in optrun's style; to be imported when one is drawn."""

import warnings
from io import BytesIO
from typing import Any

from matplotlib.figure import Figure

from optrun.plots.look import Look, matplotlib_in_style

COLLAPSED = "constrained_layout not applied"
"""The beginning of Matplotlib's warning about a pass of the layout; there are two."""

LEAST = 0.2
"""The least height of axes in inches."""


class Picture(Figure):  # type: ignore[misc, unused-ignore]  # where Matplotlib is not installed
    """A figure that is saved in optrun's style, whatever Matplotlib's settings are then; notebooks show it."""

    crowded = False
    """Whether the texts left no room for the axes when it was saved last."""

    def __init__(self, look: Look, inches: tuple[float, float]) -> None:
        self.look = look
        super().__init__(figsize=inches, dpi=look.dpi, layout="constrained")

    def savefig(self, fname: Any, **options: Any) -> None:
        """Save the figure as Matplotlib does."""
        with matplotlib_in_style(self.look), warnings.catch_warnings(record=True) as given:
            warnings.filterwarnings("always", message=COLLAPSED)
            super().savefig(fname, **options)
        others = [each for each in given if not str(each.message).startswith(COLLAPSED)]
        for each in others:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        heights = [each.get_position().height for each in self.axes if each.axison]
        too_flat = min(heights, default=1.0) * self.get_figheight() < LEAST
        self.crowded = too_flat or len(given) - len(others) > 1  # the second pass mends much of the first one

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        self.savefig(stream, format="png")
        return stream.getvalue()
