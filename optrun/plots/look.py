"""How pictures look, whatever they show: size, fonts, colours, markers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypedDict

from optrun.errors import ConfigError, MissingExtraError, did_you_mean, install
from optrun.forks import renew_after_fork

# Okabe & Ito (2008): distinguishable for colour-blind readers too. Without their yellow, which is faint on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#909090"
LINES = ("-", (0, (6, 1.5)), "-.", (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (2, 1)))
MARKERS = ("", "^", "D", "v", "P", "X")
"""Lines and markers of the first seven series, the next seven, …; others than those of the evaluations."""

WIDTH, FONT, LEAST_FONT = 8.0, 11.0, 7.5
"""The width of a picture in inches and the size of its letters in points, unless another style is chosen."""

STYLES = {"paper": (5.5, 8.0), "talk": (10.0, 16.0)}
"""Width and size of letters by style: `paper` is as wide as a page's text, so that 8 points are 8 points in print."""

WIDEST = 84
"""The number of characters across a picture of the usual width."""

LINE = 0.23
"""The height of a line of a legend in inches, with letters of the usual size."""

INCHES, DPI = (1.0, 50.0), (20, 1200)
"""The least and the greatest size and resolution."""


class LookOptions(TypedDict, total=False):
    """The fields of `Look`, as the keyword arguments of what draws."""

    title: str | None
    size: tuple[float, float] | None
    dpi: int
    style: str | None


@dataclass(frozen=True)
class Look:
    """What can be chosen about every picture; ConfigError for a value that cannot be."""

    title: str | None = None
    """In place of the usual title; an empty one is none."""
    size: tuple[float, float] | None = None
    """Width and height in inches; by default they fit what is shown."""
    dpi: int = 150
    style: str | None = None
    """A key of STYLES."""

    def __post_init__(self) -> None:
        if self.style is not None and self.style not in STYLES:
            hint = did_you_mean(str(self.style), STYLES)
            raise ConfigError(f"style {self.style!r}: it is one of {', '.join(STYLES)}.{hint}")
        if type(self.dpi) is not int or not DPI[0] <= self.dpi <= DPI[1]:
            raise ConfigError(f"dpi {self.dpi!r}: it is a whole number from {DPI[0]} to {DPI[1]}")
        if self.size is not None and not _is_size(self.size):
            raise ConfigError(
                f"size {self.size!r}: width and height are {INCHES[0]:g} to {INCHES[1]:g} inches"
            )

    @property
    def font(self) -> float:
        """The size of the letters in points: smaller ones in smaller pictures, but for a style."""
        usual = min(FONT, max(LEAST_FONT, FONT * self.width / WIDTH))
        return usual if self.style is None else STYLES[self.style][1]

    @property
    def width(self) -> float:
        """The width of a picture in inches."""
        return self.size[0] if self.size else WIDTH if self.style is None else STYLES[self.style][0]

    @property
    def line(self) -> float:
        """The height of a line of text in inches."""
        return LINE * self.font / FONT

    @property
    def characters(self) -> int:
        """The number of characters across a picture."""
        return max(10, int(WIDEST * self.width / WIDTH * FONT / self.font))

    def inches(self, height: float, lines: float = 0) -> tuple[float, float]:
        """Return the size of a picture whose height is that of usual width, and so many lines of text."""
        return self.size or (self.width, height * self.width / WIDTH + lines * self.line)

    def named(self, title: str) -> str:
        """Return the title: the chosen one, or else the usual one."""
        return title if self.title is None else self.title


def size_of(text: str) -> tuple[float, float]:
    """Return the size that a text such as `6x4` means; ConfigError for another one."""
    width, _, height = text.lower().partition("x")
    try:
        return float(width), float(height)
    except ValueError:
        raise ConfigError(f"size {text!r}: it is WIDTHxHEIGHT in inches, such as 6x4") from None


def _is_size(size: Any) -> bool:
    return (
        isinstance(size, tuple)
        and len(size) == 2
        and all(isinstance(each, (int, float)) and isfinite(each) for each in size)
        and all(INCHES[0] <= each <= INCHES[1] for each in size)
    )


def series_style(index: int) -> dict[str, Any]:
    """Return colour, line and markers of a series, which tell it from all others as far as there are any."""
    turn = index // len(COLOURS)
    style: dict[str, Any] = {"color": COLOURS[index % len(COLOURS)]}
    if turn:
        style |= {
            "linestyle": LINES[turn % len(LINES)],
            "marker": MARKERS[1 + (turn - 1) % (len(MARKERS) - 1)],
        }
        style |= {"markersize": 4.5, "markevery": (0.02 + 0.013 * (index % len(COLOURS)), 0.11)}
    return style


_NOT_OF_LOOKS = ("backend", "backend_fallback")
"""Settings that no picture in a file needs; to read the first one imports all of pyplot: 0.15 s."""

_drawing = threading.Lock()
"""Matplotlib's settings count for all threads."""
renew_after_fork(globals(), "_drawing")


@contextmanager
def matplotlib_in_style(look: Look) -> Iterator[None]:
    """Give Matplotlib the settings of a picture meanwhile; MissingExtraError without Matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise MissingExtraError(f"pictures need Matplotlib: {install('matplotlib')}") from error
    of_all = {name: mpl.rcParamsDefault[name] for name in mpl.rcParamsDefault if name not in _NOT_OF_LOOKS}
    settings: Any = {**of_all, **_settings(look)}
    with _drawing, mpl.rc_context(settings):
        yield


def _settings(look: Look) -> dict[str, Any]:
    thickness = look.font / FONT
    return {
        "font.size": look.font,
        "axes.titlesize": "medium",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.linewidth": 0.8 * thickness,
        "grid.alpha": 0.25,
        "lines.linewidth": 1.6 * thickness,
        "legend.frameon": False,
        "svg.hashsalt": "optrun",  # ids in SVG are random otherwise
        # Text stays text, and fonts are TrueType, which publishers ask for.
        "svg.fonttype": "none",
        "pdf.fonttype": 42,
    }
