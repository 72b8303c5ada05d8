"""Matplotlib figure of a function of two numbers as contours, with the ways that runs take, still or moving."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optrun.analysis.landscape import Landscape, Trajectory
from optrun.arrays import Array
from optrun.errors import ConfigError, did_you_mean
from optrun.plots.figure import legend_above, legend_label, new_picture, wrapped_label
from optrun.plots.look import COLOURS, DPI, Look, matplotlib_in_style, series_style
from optrun.plots.moving_page import moving_page
from optrun.plots.ticks import PlotAxis, labels, power_of_ten

if TYPE_CHECKING:
    from optrun.plots.picture import Picture

CELLS = 300
"""Along each side of the lattice on which contours are computed."""

LEVELS = 16
MARGIN = 0.12
"""Around what is drawn, as a part of it."""

NEARBY = 0.5
"""As far beside the ways of runs as this part of them, a minimum belongs to the picture."""

MOST_FRAMES = 60
FRAMES_PER_SECOND = 20
HELD = 20
"""Frames for which the end is shown."""

STAR: dict[str, Any] = {"marker": "*", "markersize": 13, "color": "white", "markeredgecolor": "black"}
START: dict[str, Any] = {"marker": "o", "markersize": 6, "markerfacecolor": "white", "markeredgewidth": 1.6}
END: dict[str, Any] = {"marker": "o", "markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.8}

GREYS, DARK = ("#FFFFFF", "#9AA5B1"), "#5F6B78"
"""The colours between contours, from the lowest to the highest, and that of the contours."""

MOVING = ("gif", "html")
"""The formats of moving pictures."""


def trajectory_figure(
    landscape: Landscape,
    trajectories: Sequence[Trajectory],
    *,
    log: bool | None = None,
    look: Look | None = None,
) -> "Picture":
    """Draw contours of a function, spaced by factors above its minimum unless ``log`` is false, and ways through it."""
    return _drawn(landscape, trajectories, log, look or Look())[0]


def save_moving(
    landscape: Landscape,
    trajectories: Sequence[Trajectory],
    format: str,
    *,
    log: bool | None = None,
    look: Look | None = None,
) -> bytes:
    """Return a GIF, or a page of HTML with buttons, in which runs go their ways at the same pace of steps.

    It has half the dots per inch of a still picture.
    """
    look = replace(look or Look(), dpi=max(DPI[0], (look or Look()).dpi // 2))
    picture, moving, show = _drawn(landscape, trajectories, log, look)
    last = int(max(each.steps[-1] for each in trajectories))
    times = np.unique(np.linspace(0, last, min(MOST_FRAMES, last + 1)).round().astype(int)).tolist()
    with matplotlib_in_style(look):
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        # What does not move is drawn once.
        canvas: Any = FigureCanvasAgg(picture)
        for artist in moving:
            artist.set_animated(True)
        canvas.draw()
        still, background = canvas.copy_from_bbox(picture.bbox), _in_few_colours(canvas)
        frames = []
        for time in times:
            canvas.restore_region(still)
            show(time)
            for artist in moving:
                picture.draw_artist(artist)
            frames.append(_in_few_colours(canvas))
    if format == "html":
        title = look.named(landscape.name)
        return moving_page(background, frames, title=title, per_second=FRAMES_PER_SECOND)
    stream, last_frames = BytesIO(), [frames[-1]] * HELD
    frames[0].save(
        stream,
        "GIF",
        save_all=True,
        append_images=[*frames[1:], *last_frames],
        duration=1000 // FRAMES_PER_SECOND,
        loop=0,
    )
    return stream.getvalue()


def _in_few_colours(canvas: Any) -> Any:
    """Return what is drawn in at most 255 colours, with those of thin lines: files are small."""
    from PIL import Image

    whole: Any = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    palette: Any = Image.new("P", (1, 1))
    palette.putpalette(np.round(255 * _palette()).astype(np.uint8).tobytes())
    return whole.quantize(palette=palette, dither=Image.Dither.NONE)


@cache
def _palette() -> Array:
    """Return the colours of contours, from white to black, and those of lines with their ways to white."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    greys = LinearSegmentedColormap.from_list("ramp", [*GREYS, DARK, "black"])(np.linspace(0, 1, 111))[:, :3]
    shares = np.linspace(0, 0.95, 24)[:, None]
    mixed = [to_rgb(colour) + shares * (1 - np.array(to_rgb(colour))) for colour in COLOURS[:-1]]
    return np.concatenate([greys, *mixed])


def moving_format_of(path: Path) -> str:
    """Return the format of a moving picture's file name; ConfigError for an unknown one."""
    suffix = path.suffix.removeprefix(".").lower()
    if suffix not in MOVING:
        raise ConfigError(
            f"{path}: a moving picture ends in .{', .'.join(MOVING)}.{did_you_mean(suffix, MOVING)}"
        )
    return suffix


def _drawn(
    landscape: Landscape, trajectories: Sequence[Trajectory], log: bool | None, look: Look
) -> tuple["Picture", list[Any], Callable[[int], None]]:
    """Return the picture, what moves in it, and a function that shows the ways until a step."""
    with new_picture(look, look.inches(6.0, 1 + (len(trajectories) + 2) // 3)) as picture:
        from matplotlib.patheffects import Normal, Stroke

        axes = picture.add_subplot()
        low, high = _window(landscape, trajectories)
        _contours(picture, axes, landscape, low, high, log)
        thick = look.font / 11
        halo = [Stroke(linewidth=3.2 * thick, foreground="white", alpha=0.8), Normal()]
        handles: list[Any] = []
        heads: list[Any] = []
        for index, each in enumerate(trajectories):
            style = {key: of for key, of in series_style(index).items() if key in ("color", "linestyle")}
            (line,) = axes.plot(*each.points.T, **style, linewidth=1.5 * thick, path_effects=halo, zorder=3)
            axes.plot(
                *each.points[0], color=style["color"], markeredgecolor=style["color"], zorder=4, **START
            )
            heads += axes.plot(*each.points[-1], color=style["color"], zorder=5, **END)
            handles.append(line)
        lines = [*handles]
        names = [legend_label(each.label, look) for each in trajectories]
        if len(landscape.minima):
            handles += axes.plot(*landscape.minima.T, linestyle="none", zorder=6, **STAR)
            names.append("minimum" if len(landscape.minima) == 1 else "minima")
        moving = [*handles, *heads]
        handles += axes.plot([], [], linestyle="none", color="black", markeredgecolor="black", **START)
        names.append("start")
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        axes.set(xlabel=wrapped_label(landscape.axes[0]), ylabel=wrapped_label(landscape.axes[1]))
        axes.grid(False)
        note = axes.text(0.98, 0.02, "", transform=axes.transAxes, ha="right", va="bottom", zorder=7)
        legend_above(picture, handles, names, title=look.named(landscape.name))

    def show(step: int) -> None:
        note.set_text(f"step {step:,}")
        for line, head, each in zip(lines, heads, trajectories, strict=True):
            until = max(1, int(np.searchsorted(each.steps, step, "right")))
            line.set_data(*each.points[:until].T)
            head.set_data(*each.points[until - 1 : until].T)

    return picture, [*moving, note], show


def _window(landscape: Landscape, trajectories: Sequence[Trajectory]) -> tuple[Array, Array]:
    """Return the corners of what is drawn: the ways of runs that did not diverge, and minima nearby."""
    chosen = [each.points for each in trajectories if not each.diverged]
    points = np.concatenate(chosen or [each.points[:2] for each in trajectories])
    points = points[np.isfinite(points).all(axis=1)]
    low, high = points.min(axis=0), points.max(axis=0)
    width = np.maximum(high - low, 1e-3 * max(1.0, float((high - low).max())))
    near = (landscape.minima >= low - NEARBY * width) & (landscape.minima <= high + NEARBY * width)
    shown = np.concatenate([points, landscape.minima[near.all(axis=1)]])
    low, high = shown.min(axis=0), shown.max(axis=0)
    width = np.maximum(high - low, 0.2 * (high - low).max())
    width = np.where(width > 0, width, 1.0)
    middle = (low + high) / 2
    return middle - (0.5 + MARGIN) * width, middle + (0.5 + MARGIN) * width


def _contours(
    picture: "Picture", axes: Any, landscape: Landscape, low: Array, high: Array, log: bool | None
) -> None:
    from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize

    x, y = (np.linspace(low[i], high[i], CELLS) for i in (0, 1))
    values = landscape.value(np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)).reshape(CELLS, CELLS)
    finite = values[np.isfinite(values)]
    if not len(finite) or np.ptp(finite) == 0:
        return
    values = np.where(np.isfinite(values), values, np.nan)
    lowest = float(finite.min()) if landscape.lowest is None else min(landscape.lowest, float(finite.min()))
    above = values - lowest
    greys = LinearSegmentedColormap.from_list("greys", GREYS)
    least, most = float(np.quantile(above[above > 0], 0.003)), float(np.nanmax(above))
    is_log = log is not False and most > 1.01 * least  # a function of two values has no factors between
    if is_log:
        levels = np.geomspace(least, most, LEVELS)
        norm: Any = LogNorm(levels[0], levels[-1])
    else:
        levels = np.linspace(0, most, LEVELS)
        norm = Normalize(levels[0], levels[-1])
    shown = np.clip(above, levels[0], None)
    filled = axes.contourf(x, y, shown, levels=levels, norm=norm, cmap=greys, zorder=0)
    axes.contour(x, y, above, levels=levels, colors=DARK, linewidths=0.5, alpha=0.7, zorder=1)
    name = (
        f"{landscape.name} - minimum"
        if landscape.lowest is not None
        else f"{landscape.name} - its least value here"
    )
    bar: Any = picture.colorbar(filled, ax=axes, label=name, pad=0.02, fraction=0.05, aspect=30)
    if is_log:
        decades = np.arange(np.ceil(np.log10(levels[0])), np.floor(np.log10(levels[-1])) + 1).astype(int)
        if len(decades) >= 2:
            bar.set_ticks([10.0**each for each in decades], labels=[power_of_ten(each) for each in decades])
        else:
            bar.set_ticks(levels[::3], labels=[f"{each:.2g}" for each in levels[::3]])
    else:
        ticks = PlotAxis(0.0, most).ticks(6)
        bar.set_ticks(ticks, labels=labels(ticks))
    bar.minorticks_off()
