"""The step of a cubic: by closed forms of cubics that have a minimum, and of those that have none."""

import numpy as np
import pytest

from optrun.optim.line_search import Point, _cubic_minimizer


@pytest.mark.parametrize(
    ("cubic", "expected"),
    [
        ([1.0, -1.0, -0.75, 0.0], (2 + 13**0.5) / 6),  # 3t² - 2t - 3/4 = 0 at its minimum
        ([1.0, 0.0, -12.0, 0.0], 1.6),  # the minimum, 2, lies beyond the bounds
        ([2 / 3, -1.0, 1.0, 0.0], 0.9),  # it rises everywhere
        ([0.0, -1.0, 3.0, 0.0], 0.9),  # a parabola that opens downwards
    ],
)
def test_a_step_is_the_minimizer_of_the_cubic_or_the_middle_where_there_is_none(cubic, expected):
    slope = np.polyder(cubic)
    ends = [Point(at, float(np.polyval(cubic, at)), None, float(np.polyval(slope, at))) for at in (0.0, 1.0)]
    for first, second in (ends, ends[::-1]):
        assert _cubic_minimizer(first, second, (0.2, 1.6)) == pytest.approx(expected, rel=1e-12)
