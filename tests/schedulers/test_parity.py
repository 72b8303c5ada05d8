"""Schedules against torch, and every registered schedule against its contract."""

import numpy as np
import pytest

from tests.oracles import schedules
from tests.oracles.record import recorded

LABELS = [schedules.label(spec) for spec in schedules.SCHEDULES]


@pytest.mark.parametrize("spec", schedules.SCHEDULES, ids=LABELS)
def test_rates_equal_recorded_torch(spec):
    difference = np.abs(schedules.rates(spec) - recorded()[schedules.label(spec)])
    assert difference.max() <= 1e-13 * schedules.BASE


@pytest.mark.full
@pytest.mark.parametrize("spec", schedules.SCHEDULES, ids=LABELS)
def test_rates_equal_torch(spec):
    pytest.importorskip("torch")
    difference = np.abs(schedules.rates(spec) - schedules.torch_rates(spec))
    assert difference.max() <= 1e-13 * schedules.BASE
