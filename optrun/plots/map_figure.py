"""Matplotlib figure of a map: each pixel is a run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from optrun.arrays import Array
from optrun.errors import counted
from optrun.plots.figure import legend_above, new_picture, wrapped_label
from optrun.plots.look import COLOURS, Look
from optrun.plots.ticks import FEWEST_TICKS, PlotAxis, base_of, labels, power_of_ten, round_log_values
from optrun.store import Status
from optrun.sweeps.map_file import Pixels
from optrun.sweeps.map_sink import DIVERGED_AT, MINIMUM, STEPS

if TYPE_CHECKING:
    from optrun.plots.picture import Picture

DIVERGED = "#5B1A18"
"""The colour of runs that diverged; no other colour is a dark red."""

EMPTY = "#D4D4D4"
"""The colour of runs without a value."""

DECADES = 100.0
"""How far positive values have to be apart, the farthest ones aside, so that their scale is one of logarithms."""

MOST_LISTED = 8
"""At most so many numbers of an axis have a tick each that are not spaced."""

MOST_NAMED = 11
"""At most so many minima are named in a legend."""

STAR: dict[str, Any] = {"marker": "*", "markersize": 11, "color": "white", "markeredgecolor": "black"}

BOTH = {Status.TARGET_REACHED: ("Blues_r", "steps to target"), Status.DIVERGED: ("YlOrRd_r", "diverged at")}
"""Of runs that reached their target and of those that diverged, the colours of their steps, quick ones dark."""

ENDS = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}


def map_figure(
    found: Pixels,
    *,
    x: str,
    y: str,
    color: str,
    title: str,
    log: bool | None = None,
    look: Look | None = None,
) -> "Picture":
    """Draw the values as colours, low ones bright; runs that diverged are dark red, those without a value grey.

    Colours are on a scale of logarithms where the values span decades, or as ``log`` chooses. Minima have a colour
    each, and a star where they are. Steps have one scale for runs that reached their target, and one for those that
    diverged.
    """
    look = look or Look()
    with new_picture(look, look.inches(6.6, 1)) as picture:
        axes = picture.add_subplot()
        painted = _Painted(picture, axes, found)
        if color == MINIMUM and found.minima is not None:
            _paint_minima(painted, found)
            if found.minima_axes is not None:
                points = found.minima[:, found.minima_axes].T
                stars = [_places(*each) for each in zip((found.x, found.y), points, strict=True)]
                axes.plot(*stars, linestyle="none", **STAR)
        elif color == STEPS:
            for status, (colours, label) in BOTH.items():
                values = np.where(found.where(status), found.value, np.nan)
                painted.scale(values, colours, label, True if log is None else log)
        else:
            painted.scale(found.value, "viridis_r", color, log)
        if color not in (DIVERGED_AT, STEPS):
            painted.flat(found.where(Status.DIVERGED), DIVERGED, "diverged")
        painted.rest({MINIMUM: "at no minimum", STEPS: "neither"}.get(color, "no value"))
        extent = (*_ends(found.x), *_ends(found.y))
        axes.imshow(painted.pixels, interpolation="nearest", origin="lower", aspect="auto", extent=extent)
        for axis, name, numbers in ((axes.xaxis, x, found.x), (axes.yaxis, y, found.y)):
            if is_geometric(numbers) or _is_even(numbers):
                low, high = sorted(10**end if is_geometric(numbers) else end for end in _ends(numbers))
                ticks, texts, label = _ticks(low, high, name, log=is_geometric(numbers))
            else:
                ticks = numbers[:: -(-len(numbers) // MOST_LISTED)].tolist()
                texts, label = _signed(labels(ticks)), name
            axis.set_ticks(_places(numbers, np.array(ticks)), labels=texts)
            axis.set_label_text(wrapped_label(label))
        axes.set(xlim=extent[:2], ylim=extent[2:])
        axes.grid(False)
        runs = counted(found.status.size, "run")
        legend_above(picture, painted.handles, painted.names, title=look.named(f"{title} ({runs})"))
    return picture


class _Painted:
    """Pixels `[Y, X, 4]` that get their colours, and what these mean."""

    def __init__(self, picture: "Picture", axes: Any, found: Pixels) -> None:
        self._picture, self._axes = picture, axes
        self.pixels = np.zeros((*found.status.shape, 4), np.uint8)
        self.handles: list[Any] = []
        self.names: list[str] = []

    def scale(self, values: Array, colours: str, label: str, log: bool | None) -> None:
        """Paint the finite values by a scale, which is drawn beside the axes; where there are none, nothing."""
        from matplotlib import colormaps
        from matplotlib.cm import ScalarMappable

        where = np.isfinite(values)
        if not where.any():
            return
        norm, extend = _norm(values[where], log)
        mapped = ScalarMappable(norm, colormaps[colours])
        self.pixels[where] = mapped.to_rgba(values[where], bytes=True)
        bar = self._picture.colorbar(mapped, ax=self._axes, extend=extend, pad=0.02, fraction=0.05, aspect=30)
        # Texts are given, since TeX takes longer than all else of a picture.
        ticks, texts, label = _ticks(norm.vmin, norm.vmax, label, log="Log" in type(norm).__name__)
        bar.set_ticks(ticks, labels=texts)
        bar.minorticks_off()
        bar.set_label(label)

    def flat(self, where: Array, colour: str, name: str) -> None:
        """Paint pixels in one colour, which is named if there are any."""
        from matplotlib.colors import to_rgba
        from matplotlib.patches import Patch

        if where.any():
            self.pixels[where] = np.round(255 * np.array(to_rgba(colour)))
            self.handles.append(Patch(facecolor=colour))
            self.names.append(name)

    def rest(self, name: str) -> None:
        """Paint what has no colour yet."""
        self.flat(self.pixels[..., 3] == 0, EMPTY, name)


def _paint_minima(painted: _Painted, found: Pixels) -> None:
    assert found.minima is not None
    assert found.minima_loss is not None
    numbers = np.unique(found.value[np.isfinite(found.value)]).astype(int).tolist()
    colours, several = (
        _distinct(len(numbers)),
        np.ptp(np.append(found.minima_loss, 0)[:-1] if len(numbers) else 0) > 1e-6,
    )
    for place, (number, colour) in enumerate(zip(numbers, colours, strict=True)):
        point, loss = found.minima[number], found.minima_loss[number]
        name = (
            f"({', '.join(f'{each:.3g}' for each in np.round(point, 12) + 0.0)})"
            if len(point) <= 3
            else f"minimum {number}"
        )
        painted.flat(found.value == number, colour, f"{name}: {loss:.3g}" if several else name)
        if place >= MOST_NAMED:
            painted.handles.pop()
            painted.names.pop()
    if len(numbers) > MOST_NAMED:
        painted.names[-1] += f" … and {len(numbers) - MOST_NAMED} more"


def _distinct(count: int) -> Sequence[str]:
    """Return so many colours: of the usual ones, or where these are too few, of a scale."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    if count < len(COLOURS):
        return COLOURS[:count]
    return [to_hex(colormaps["viridis_r"](place)) for place in np.linspace(0, 1, count)]


def _ticks(low: float, high: float, name: str, *, log: bool) -> tuple[list[float], list[str], str]:
    """Return round values within a range, their texts, and the label of the axis.

    Of a range that is narrow beside its numbers, texts are distances from a round number, which the label has.
    """
    if base := base_of(low, high):
        offsets = PlotAxis(low - base, high - base).ticks(6)
        (text,) = labels([abs(base)])
        return [base + each for each in offsets], _signed(labels(offsets)), f"{name} {'−+'[base < 0]} {text}"
    values = round_log_values(low, high) if log else PlotAxis(low, high).ticks(6)
    powers = [round(np.log10(each)) for each in values] if log else []
    if len(values) >= FEWEST_TICKS and [10.0**each for each in powers] == values:
        return values, [power_of_ten(each) for each in powers], name
    return values, _signed(labels(values)), name


def _signed(texts: Sequence[str]) -> list[str]:
    return [text.replace("-", "−") for text in texts]


def is_geometric(numbers: Array) -> bool:
    """Whether numbers are spaced by a factor, so that their axis is one of logarithms."""
    if len(numbers) < 3 or (numbers <= 0).any():
        return False
    factors = np.diff(np.log(numbers))
    return bool(np.ptp(factors) < 1e-6 * abs(factors[0])) and bool(
        np.ptp(np.diff(numbers)) > 1e-6 * numbers.max()
    )


def _is_even(numbers: Array) -> bool:
    """Whether numbers are at equal distances, as far as a picture shows."""
    steps = np.diff(numbers)
    return len(steps) > 0 and bool(np.ptp(steps) < 0.1 * abs(steps.mean()) + 1e-11 * abs(numbers).max())


def _places(numbers: Array, values: Array) -> Array:
    """Return where on an axis of numbers values are.

    Numbers that are spaced evenly, or by a factor, are at these distances; others are listed one by one, and nothing is
    between them.
    """
    if is_geometric(numbers):
        return np.log10(np.where(values > 0, values, np.nan))
    if _is_even(numbers):
        return values.astype(float)
    listed = {number: place for place, number in enumerate(numbers.tolist())}
    return np.array([listed.get(value, np.nan) for value in values.tolist()])


def _ends(numbers: Array) -> tuple[float, float]:
    """Return where the first pixel begins and the last one ends."""
    places = _places(numbers, numbers)
    half = (places[-1] - places[0]) / max(len(places) - 1, 1) / 2 or 0.5
    return float(places[0] - half), float(places[-1] + half)


def _norm(values: Array, log: bool | None) -> tuple[Any, str]:
    """Return the scale of colours, and at which ends values go beyond it: a few far ones would take all colours."""
    from matplotlib.colors import LogNorm, Normalize

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
    return (LogNorm if log else Normalize)(low, high, clip=True), ENDS[beyond]
