"""Optimizers against torch: recorded everywhere, live where torch is installed."""

import pytest

from tests.oracles import rules
from tests.oracles.record import recorded, sampled

CASES = rules.cases()
LABELS = [rules.label(*case) for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=LABELS)
def test_trajectory_equals_recorded_torch(case):
    theirs = recorded()[rules.label(*case)]
    assert rules.largest_difference(sampled(rules.trajectory(*case)), theirs) <= 1e-12


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-4)])
@pytest.mark.parametrize("case", CASES, ids=LABELS)
def test_trajectory_equals_torch(case, dtype, tolerance):
    pytest.importorskip("torch")
    ours, theirs = rules.trajectory(*case, dtype=dtype), rules.torch_trajectory(*case, dtype=dtype)
    assert rules.largest_difference(ours, theirs) <= tolerance
