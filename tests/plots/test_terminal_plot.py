"""Curves as text: read back from the dots, against the values that were drawn."""

import numpy as np
import pytest

from optrun.plots.braille import NO_SERIES, Mark
from optrun.plots.terminal import Series, draw, drawing, sparkline
from optrun.plots.ticks import axis_of, labels, lr_prefers_log, values_prefer_log

BRAILLE = 0x2800
# Unicode's own numbering: dots 1-3 and 7 are the left column from the top, 4-6 and 8 the right one.
DOT_ROWS = {0: 0, 1: 1, 2: 2, 3: 0, 4: 1, 5: 2, 6: 3, 7: 3}


def plotted(lines):
    """Return the characters within the frame."""
    body = [line for line in lines if "│" in line or "┤" in line]
    start = min(line.index("│") if "│" in line else line.index("┤") for line in body) + 1
    return [line[start:] for line in body]


def dots(lines):
    """Return the set of `(row, column)` of the dots, counted from the top left."""
    found = set()
    for row, line in enumerate(plotted(lines)):
        for column, character in enumerate(line):
            code = ord(character) - BRAILLE
            if 0 < code < 256:
                for bit in range(8):
                    if code >> bit & 1:
                        found.add((4 * row + DOT_ROWS[bit], 2 * column + (bit in (3, 4, 5, 7))))
    return found


def draw_one(y, width=40, height=10, **options):
    return draw([Series("y", np.arange(len(y)), np.asarray(y, float))], width=width, height=height, **options)


@pytest.mark.parametrize(
    ("size", "count"),
    [((24, 5), 1), ((80, 15), 3), ((120, 40), 30), ((10, 2), 3), ((10, 2), 0), ((24, 5), 30)],
)
@pytest.mark.parametrize(
    "values", [[], [2.0], [1.0] * 5, [1, np.inf, np.nan, -np.inf, 3], [np.nan] * 4, [0, 1e308]]
)
def test_every_picture_fits_its_size(size, count, values):
    series = [Series(f"run {i}", np.arange(len(values)), np.array(values, float)) for i in range(count)]
    lines = draw(series, width=size[0], height=size[1], title="loss")
    assert len(lines) == max(size[1], 5)
    assert max(map(len, lines)) <= max(size[0], 24)
    assert "\x1b" not in "".join(lines)


def test_a_spike_of_one_step_among_many_is_seen():
    y = np.ones(100_000)
    y[31_337] = 100.0
    lines = draw_one(y, log=False)
    spike = [column for row, column in dots(lines) if row == 0]
    assert len(spike) == 1
    width = 2 * max(map(len, plotted(lines)))
    assert spike[0] / width == pytest.approx(31_337 / 100_000, abs=0.05)


def test_a_line_falls_as_its_values_do():
    lines = draw_one(np.linspace(1, 0, 500))
    by_column = {}
    for row, column in dots(lines):
        by_column.setdefault(column, []).append(row)
    tops = [min(by_column[column]) for column in sorted(by_column)]
    assert sorted(by_column) == list(range(len(by_column)))
    assert tops == sorted(tops)
    assert tops[0] == 0


@pytest.mark.parametrize("log", [False, True])
def test_neighbouring_columns_touch(log, rng):
    y = rng.uniform(0.5, 50, 37)
    found = dots(draw_one(y, log=log))
    rows = {}
    for row, column in found:
        rows.setdefault(column, []).append(row)
    for column in range(1, max(rows) + 1):
        assert min(rows[column]) <= max(rows[column - 1]) + 1
        assert max(rows[column]) >= min(rows[column - 1]) - 1


def test_what_is_not_finite_is_a_gap():
    y = np.ones(1000)
    y[400:600] = np.nan
    columns = {column for _, column in dots(draw_one(y))}
    width = max(columns) + 1
    missing = sorted(set(range(width)) - columns)
    assert missing
    assert min(missing) / width == pytest.approx(0.4, abs=0.05)
    assert max(missing) / width == pytest.approx(0.6, abs=0.05)


def test_the_axis_is_logarithmic_where_that_shows_more():
    assert draw_one([1.0, 1e-3], title="loss")[0] == "loss (log)"
    assert draw_one([1.0, 0.5], title="loss")[0] == "loss"
    assert draw_one([1.0, -1e-3], title="loss")[0] == "loss"
    assert draw_one([1.0, 1e-3], log=False, title="loss")[0] == "loss"
    assert draw_one([-1.0, -2.0], log=True, title="loss")[0] == "loss"
    assert draw_one([1.0, 1e-3, 0.0], title="loss")[0] == "loss (log)"
    assert not values_prefer_log([np.array([1.0, 0, 0, 0])])


def test_a_rate_that_ends_near_zero_stays_linear():
    t = np.arange(1000) / 1000
    assert not lr_prefers_log((1 + np.cos(np.pi * t)) / 2 + 1e-9)
    assert lr_prefers_log(10.0 ** (-4 * t))


def test_several_curves_are_told_apart_without_colours():
    x = np.arange(100)
    curves = [
        Series("adam", x, x + 1.0),
        Series("sgd", x, 101.0 - x),
        Series("short", x[:2], np.full(2, 50.0)),
    ]
    lines = draw(curves, width=60, height=14)
    assert "A adam   B sgd   C short" in lines[-1]
    for letter in "ABC":
        assert any(letter in line for line in plotted(lines))
    assert not any("A" in line for line in plotted(draw_one(x)))


def test_every_character_of_a_curve_has_its_owner():
    x = np.arange(50)
    picture = drawing([Series("a", x, x * 0.0), Series("b", x, x * 0.0 + 1)], width=50, height=12)
    for number, line in enumerate(picture.lines):
        assert "".join(text for text, _ in picture.spans(number)) == line
    top, bottom = (next(i for i, owners in enumerate(picture.owners) if owner in owners) for owner in (1, 0))
    assert top < bottom
    assert all(owner == NO_SERIES for owner in picture.owners[bottom][:3])
    for line, owners in zip(picture.lines, picture.owners, strict=True):
        for character, owner in zip(line, owners, strict=True):
            assert owner != NO_SERIES or not 0 < ord(character) - BRAILLE < 256


@pytest.mark.parametrize(
    ("low", "high", "log"),
    [(0, 1, False), (-3, 17, False), (1e-7, 1, True), (1e-300, 1e300, True), (5, 5, False)],
)
def test_ticks_are_round_distinct_and_within(low, high, log):
    axis = axis_of(low, high, log)
    ticks = axis.ticks(5)
    assert 1 <= len(ticks) <= 8
    assert all(axis.low <= tick * (1 + 1e-9) and tick <= axis.high * (1 + 1e-9) for tick in ticks)
    texts = labels(ticks)
    assert len(set(texts)) == len(texts)
    assert [float(text) for text in texts] == pytest.approx(ticks)


def test_a_sparkline_keeps_the_course():
    assert sparkline(np.arange(8.0), 8) == "▁▂▃▄▅▆▇█"
    assert sparkline(np.array([]), 8) == sparkline(np.array([np.nan]), 8) == ""
    assert len(sparkline(np.arange(1000.0), 40)) == 40


def test_marks_and_points_stand_on_an_axis_of_any_numbers():
    x = np.array([1e-3, 1e-1, 10.0])
    line = Series("line", x, np.array([3.0, 1.0, 2.0]), [Mark(1e-1, 1.0, "*"), Mark(10.0, np.inf, "x")])
    points = Series("points", x, np.array([2.0, np.nan, 1.0]), joined=False)
    picture = drawing([line, points], width=40, height=12, x_axis=axis_of(1e-3, 10.0, True))
    body = [text for text in picture.lines if "│" in text or "┤" in text]
    offset = body[0].index("│") + 1 if "│" in body[0] else body[0].index("┤") + 1
    width = len(body[0]) - offset
    assert body[0][-1] == "x"
    assert body[-1][offset + round((width - 1) / 2)] == "*"
    assert [text[offset] for text in body].index("B") == round((len(body) - 1) / 2)
    assert body[-1][-1] == "B"
    assert "0.001" in picture.lines[len(body) + 1]
