"""Schedules that torch has no class for, against optax and the formulas of the papers."""

import math

import numpy as np
import pytest

from optrun.config import ConfigErrors, from_mapping
from optrun.errors import ConfigError
from optrun.schedulers import REXLR, WSD, InverseSqrtLR, TanhDecayLR

T = np.arange(140)
BASE = 0.3


def rates(schedule, steps=T):
    return schedule.at(steps, BASE)[:, 0]


STABLE = {
    "constant": lambda t: 1.0,
    "rsqrt": lambda t: math.sqrt(25 / (25 + t)),
    "power": lambda t: (25 / (25 + t)) ** 0.8,
}
DECAY = {
    "linear": lambda s, f: 1 - s + f * s,
    "cosine": lambda s, f: f + (1 - f) * (1 + math.cos(math.pi * s)) / 2,
    "1-sqrt": lambda s, f: 1 - (1 - f) * math.sqrt(s),
    "power": lambda s, f: f + (1 - f) * (1 - s) ** 3,
    "exp": lambda s, f: math.exp(s * math.log(f)),
}


@pytest.mark.parametrize("decay", DECAY)
@pytest.mark.parametrize("stable", STABLE)
def test_warmup_stable_decay_is_its_formula_phase_by_phase(stable, decay):
    shapes = {"stable": stable, "decay": decay, "timescale": 25, "stable_power": 0.8, "decay_power": 3.0}
    found = rates(WSD(warmup=20, stable_steps=60, decay_steps=40, final_factor=0.05, **shapes))

    def expected(t):
        if t < 20:
            return t / 20
        level = STABLE[stable](min(t - 20, 60))
        return level if t < 80 else level * DECAY[decay](min((t - 80) / 40, 1), 0.05)

    assert found == pytest.approx([BASE * expected(t) for t in T.tolist()], rel=1e-13)


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_warmup_stable_decay_is_what_optax_joins(decay):
    optax = pytest.importorskip("optax")
    down = {
        "linear": optax.linear_schedule(BASE, 0.1 * BASE, 40),
        "cosine": optax.cosine_decay_schedule(BASE, 40, alpha=0.1),
    }[decay]
    parts = [optax.linear_schedule(0.0, BASE, 20), optax.constant_schedule(BASE), down]
    joined = optax.join_schedules(parts, [20, 80])
    found = rates(WSD(warmup=20, stable_steps=60, decay_steps=40, decay=decay, final_factor=0.1))
    assert found == pytest.approx([float(joined(t)) for t in T], rel=2e-6)


def test_without_a_stable_phase_it_is_a_cosine_with_a_floor():
    optax = pytest.importorskip("optax")
    theirs = optax.warmup_cosine_decay_schedule(0.0, BASE, 20, 100, end_value=0.05 * BASE)
    found = rates(WSD(warmup=20, stable_steps=0, decay_steps=80, decay="cosine", final_factor=0.05))
    assert found == pytest.approx([float(theirs(t)) for t in T], rel=2e-6)
    assert (found[100:] == 0.05 * BASE).all()


def test_an_exponent_and_an_end_are_those_of_optax_polynomial():
    optax = pytest.importorskip("optax")
    theirs = optax.polynomial_schedule(BASE, 0.1 * BASE, 2.0, 80, transition_begin=30)
    found = rates(WSD(stable_steps=30, decay_steps=80, decay="power", decay_power=2.0, final_factor=0.1))
    assert found == pytest.approx([float(theirs(t)) for t in T], rel=2e-6)


def test_the_inverse_square_root_is_that_of_attention_is_all_you_need():
    d_model, W = 512, 40
    peak = (d_model * W) ** -0.5
    found = InverseSqrtLR(timescale=W, warmup=W).at(T, peak)[1:, 0]
    steps = T[1:]
    assert found == pytest.approx(d_model**-0.5 * np.minimum(steps**-0.5, steps * W**-1.5), rel=1e-13)


@pytest.mark.parametrize("d", [0.0, 0.5, 0.9])
def test_rex_is_its_formula(d):
    left = 1 - np.minimum(T / 100, 1)
    found = rates(REXLR(total_iters=100, curvature=d))
    assert found == pytest.approx(BASE * left / ((1 - d) + d * left), rel=1e-13)
    assert found[0] == BASE
    assert (found[100:] == 0).all()


def test_the_tanh_decay_is_its_formula():
    x = -6 + 9 * np.minimum(T / 100, 1)
    assert rates(TanhDecayLR(total_iters=100)) == pytest.approx(BASE / 2 * (1 - np.tanh(x)), rel=1e-12)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"decay": "exp"}, "final_factor"),
        ({"stable": "rsqrt"}, "timescale"),
        ({"decay": "sqrt"}, "decay"),
        ({"final_factor": 1.5}, "final_factor"),
    ],
)
def test_what_contradicts_itself_is_refused_at_its_place(options, field):
    with pytest.raises(ConfigError) as error:
        WSD(stable_steps=3, decay_steps=3, **options)
    assert error.value.field == field
    scheduler = {"name": "WSD", "stable_steps": 3, "decay_steps": 3, **options}
    with pytest.raises(ConfigErrors, match=rf"scheduler\.{field}"):
        from_mapping({"problem": "rosenbrock", "optimizer": "SGD", "scheduler": scheduler, "steps": 9})


def test_a_tanh_that_rises_is_refused():
    with pytest.raises(ConfigError, match="upper must be greater than lower"):
        TanhDecayLR(total_iters=9, lower=3.0, upper=-6.0)
