"""Factors at boundaries, constant and interpolated, and restarts whose peaks decay, against optax."""

import numpy as np
import pytest

from optrun.config import ConfigErrors, from_mapping
from optrun.errors import ConfigError
from optrun.schedulers import CosineAnnealingWarmRestarts, PiecewiseLR

optax = pytest.importorskip("optax")
T = np.arange(150)
BASE = 0.3
SCALES = {30: 0.5, 80: 0.1, 110: 4.0}
FACTORS = np.cumprod(list(SCALES.values())).tolist()


def rates(schedule):
    return schedule.at(T, BASE)[:, 0]


def test_constant_pieces_are_those_of_optax():
    theirs = optax.piecewise_constant_schedule(BASE, SCALES)
    found = rates(PiecewiseLR(boundaries=list(SCALES), factors=FACTORS))
    assert found == pytest.approx([float(theirs(t)) for t in T], rel=1e-6)


@pytest.mark.parametrize("interpolation", ["linear", "cosine"])
def test_interpolated_pieces_are_those_of_optax(interpolation):
    theirs = optax.piecewise_interpolate_schedule(interpolation, BASE, SCALES)
    found = rates(PiecewiseLR(boundaries=list(SCALES), factors=FACTORS, interpolation=interpolation))
    assert found == pytest.approx([float(theirs(t)) for t in T], rel=2e-5)


def test_a_boundary_at_0_sets_the_first_rate():
    options = {"boundaries": [0, 10, 20], "factors": [0.0, 1.0, 0.5]}
    assert PiecewiseLR(**options).at([0, 9, 10, 20, 99], 2.0)[:, 0].tolist() == [0, 0, 2, 1, 1]
    linear = PiecewiseLR(**options, interpolation="linear").at([0, 5, 10, 15, 20, 99], 2.0)[:, 0]
    assert linear.tolist() == [0, 1, 2, 1.5, 1, 1]


def test_restarts_with_decaying_peaks_are_those_of_optax():
    cycles = [
        {"init_value": 0.0, "peak_value": BASE * 0.6**i, "warmup_steps": 0, "decay_steps": 20 * 2**i}
        for i in range(3)
    ]
    theirs = optax.sgdr_schedule([{**cycle, "end_value": 0.01} for cycle in cycles])
    found = rates(CosineAnnealingWarmRestarts(T_0=20, T_mult=2, eta_min=0.01, gamma=0.6))
    assert found[:140] == pytest.approx([float(theirs(t)) for t in T[:140]], rel=1e-5)


@pytest.mark.parametrize(
    ("boundaries", "factors", "place"),
    [
        ([10, 10], [0.5, 0.1], "boundaries.1"),
        ([10, 20, 15], [0.5, 0.1, 0.2], "boundaries.2"),
        ([10, 20], [0.5], "factors"),
        ([10, 20], [0.5, -1.0], "factors.1"),
    ],
)
def test_pieces_that_do_not_fit_are_refused_at_their_place(boundaries, factors, place):
    options = {"boundaries": boundaries, "factors": factors}
    with pytest.raises(ConfigError) as error:
        PiecewiseLR(**options)
    assert error.value.field == place
    scheduler = {"name": "PiecewiseLR", **options}
    with pytest.raises(ConfigErrors, match=rf"scheduler\.{place}"):
        from_mapping({"problem": "rosenbrock", "optimizer": "SGD", "scheduler": scheduler, "steps": 30})
