"""Matplotlib figure of a map: each pixel is a run."""

from typing import TYPE_CHECKING, Any

import numpy as np

from optrun.arrays import Array
from optrun.errors import counted
from optrun.plots.figure import legend_above, new_picture
from optrun.plots.look import Look
from optrun.store import Status
from optrun.sweeps.maps import DIVERGED_AT, Map

if TYPE_CHECKING:
    from optrun.plots.picture import Picture

DIVERGED = "#5B1A18"
"""The colour of runs that diverged; no other colour is a red."""

EMPTY = "#D4D4D4"
"""The colour of runs without a value."""

DECADES = 100.0
"""How far positive values have to be apart, the farthest ones aside, so that their scale is one of logarithms."""


def map_figure(
    found: Map, *, x: str, y: str, color: str, title: str, log: bool | None = None, look: Look | None = None
) -> "Picture":
    """Draw the values as colours, low ones bright; runs that diverged are dark red, those without a value grey.

    Colours are on a scale of logarithms where the values span decades, or as ``log`` chooses.
    """
    look = look or Look()
    with new_picture(look, look.inches(6.6, 1)) as picture:
        from matplotlib.colors import ListedColormap

        axes = picture.add_subplot()
        diverged = found.where(Status.DIVERGED) if color != DIVERGED_AT else np.zeros_like(found.status, bool)
        values = np.ma.masked_where(~np.isfinite(found.value) | diverged, found.value)
        shown: dict[str, Any] = {"interpolation": "nearest", "origin": "lower", "aspect": "auto"}
        extent = (*_ends(found.x), *_ends(found.y))
        axes.set_facecolor(EMPTY)
        norm, extend = _norm(values.compressed(), log)
        image = axes.imshow(values, cmap="viridis_r", norm=norm, extent=extent, **shown)
        if diverged.any():
            red = np.ma.masked_where(~diverged, diverged)
            axes.imshow(red, cmap=ListedColormap([DIVERGED]), extent=extent, **shown)
        for axis, which, numbers in (("x", axes.xaxis, found.x), ("y", axes.yaxis, found.y)):
            if is_geometric(numbers):
                which.set_major_formatter(lambda exponent, _: f"{10**exponent:.3g}")
            axes.set(**{f"{axis}label": x if axis == "x" else y})
        axes.grid(False)
        picture.colorbar(image, ax=axes, label=color, extend=extend)
        handles: list[Any] = []
        names: list[str] = []
        if diverged.any():
            handles.append(_patch(DIVERGED))
            names.append("diverged")
        if (values.mask & ~diverged).any():
            handles.append(_patch(EMPTY))
            names.append("no value")
        runs = counted(found.status.size, "run")
        legend_above(picture, handles, names, title=look.named(f"{title} ({runs})"))
    return picture


def _patch(color: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=color)


def is_geometric(numbers: Array) -> bool:
    """Whether numbers are spaced by a factor, so that their axis is one of logarithms."""
    if len(numbers) < 3 or (numbers <= 0).any():
        return False
    factors = np.diff(np.log(numbers))
    return bool(np.ptp(factors) < 1e-6 * abs(factors[0])) and bool(np.ptp(np.diff(numbers)) > 1e-6)


def _ends(numbers: Array) -> tuple[float, float]:
    """Return where the first pixel begins and the last one ends; those of spaced logarithms are logarithms."""
    if len(numbers) == 1:
        return float(numbers[0]) - 0.5, float(numbers[0]) + 0.5
    places = np.log10(numbers) if is_geometric(numbers) else numbers.astype(float)
    half = (places[-1] - places[0]) / (len(places) - 1) / 2
    return float(places[0] - half), float(places[-1] + half)


def _norm(values: Array, log: bool | None) -> tuple[Any, str]:
    """Return the scale of colours, and at which ends values go beyond it: a few far ones would take all colours."""
    from matplotlib.colors import LogNorm, Normalize

    if not len(values):
        return Normalize(0, 1), "neither"
    positive = values[values > 0]
    if log is None:
        log = len(positive) * 2 > len(values) and bool(
            np.quantile(positive, 0.98) > DECADES * np.quantile(positive, 0.02)
        )
    if log and not len(positive):
        log = False
    of = positive if log else values
    low, high = float(of.min()), float(of.max())
    if log:
        low = max(low, float(np.quantile(of, 0.001)))
        high = float(np.quantile(of, 0.999))
    if not low < high:
        low, high = low - 0.5 * abs(low or 1), high + 0.5 * abs(high or 1)
    beyond = bool((values < low).any()), bool((values > high).any())
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}[
        beyond
    ]
    return (LogNorm if log else Normalize)(low, high, clip=True), extend
