"""Figures of Matplotlib in optrun's style; to be imported when one is drawn."""

from io import BytesIO
from typing import Any

from matplotlib.figure import Figure

from optrun.plots.look import Look, matplotlib_in_style


class Picture(Figure):  # type: ignore[misc, unused-ignore]  # where Matplotlib is not installed
    """A figure that is saved in optrun's style, whatever Matplotlib's settings are then; notebooks show it."""

    def __init__(self, look: Look, inches: tuple[float, float]) -> None:
        self.look = look
        super().__init__(figsize=inches, dpi=look.dpi, layout="constrained")

    def savefig(self, fname: Any, **options: Any) -> None:
        """Save the figure as Matplotlib does."""
        with matplotlib_in_style(self.look):
            super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        stream = BytesIO()
        self.savefig(stream, format="png")
        return stream.getvalue()
