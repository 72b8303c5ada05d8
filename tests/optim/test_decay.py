"""Ways of weight decay: against plain NumPy, and against the rules that have them by themselves."""

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.config import from_mapping
from optrun.errors import ConfigError
from optrun.optim import SGD, Adafactor, Adam, AdamW, Lion, Prodigy, Rprop
from optrun.optim.transforms import Cautious, ClipNorm, Lookahead, composed
from optrun.schedulers import CosineAnnealingLR
from optrun.training.pack import Pack

STEPS = 120
SHAPES = {"w": (3, 4), "b": (4,)}
DECAYS = ("coupled", "decoupled", "independent", "corrected", "cautious")


def run(rule, rng, lrs=(0.05, 0.05), more=None, **options):
    """Return the parameters after some steps, those of the start, the gradients and the rates of the steps."""
    params = Parameters(SHAPES, arrays=Arrays(dtype="float64"))
    params.data[:] = rng.normal(size=params.data.shape)
    start = params.data[0].copy()
    groups = [{"params": name, "lr": lr} for name, lr in zip(SHAPES, lrs, strict=True)]
    optimizer = composed(rule, **(more or {}))(params, groups, **options)
    scheduler = CosineAnnealingLR(optimizer, T_max=STEPS)
    grads, rates = rng.normal(size=(STEPS, params.size)), []
    for grad in grads:
        rates.append(np.repeat([group["lr"] for group in optimizer.param_groups], [12, 4]))
        params.grad[:] = grad
        optimizer.step()
        scheduler.step()
    return params.data[0].copy(), start, grads, rates


@pytest.mark.parametrize("decay", DECAYS)
def test_a_way_of_decay_is_its_formula(decay, rng):
    """Of SGD with momentum behind a bound on the gradient's norm, in groups with rates of their own."""
    more = {"decay": decay, "gradient": [ClipNorm(max_norm=1.0)]}
    lrs = (0.05, 0.2)
    found, p, grads, rates = run(SGD, rng, lrs, more, momentum=0.9, weight_decay=0.3)
    buffer, most = np.zeros_like(p), np.repeat(lrs, [12, 4])
    for grad, lr in zip(grads, rates, strict=True):
        g = grad * min(1.0, 1.0 / (np.linalg.norm(grad) + 1e-6))
        g = g + 0.3 * p if decay == "coupled" else g
        buffer = 0.9 * buffer + g
        u = lr * buffer
        amount = {
            "coupled": 0.0,
            "decoupled": lr * 0.3,
            "independent": 0.3,
            "corrected": lr**2 * 0.3 / most,
            "cautious": lr * 0.3 * (u * p >= 0),
        }[decay]
        p = p - amount * p - u
    np.testing.assert_allclose(found, p, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    ("rule", "decay", "same"),
    [
        (AdamW, "coupled", Adam),
        (Adam, "decoupled", AdamW),
        (AdamW, "decoupled", AdamW),
        (Prodigy, "decoupled", Prodigy),  # whose rate is not lr alone
        (Adafactor, "decoupled", Adafactor),
    ],
)
def test_the_ways_of_rules_are_the_same_to_the_bit(rule, decay, same):
    found = [
        run(of, np.random.default_rng(7), more=more, weight_decay=0.1)[0]
        for of, more in ((rule, {"decay": decay}), (same, None))
    ]
    assert found[0].tobytes() == found[1].tobytes()


def test_decay_is_no_more_than_decoupled_where_a_rate_goes_beyond_the_largest_that_is_told():
    params = Parameters(SHAPES, arrays=Arrays(dtype="float64"))
    params.data[:] = 1.0
    optimizer = composed(SGD, decay="corrected")(params, lr=0.1, weight_decay=0.1)
    optimizer.param_groups[0]["lr"] = 2.0
    optimizer.step()
    np.testing.assert_allclose(params.data, 1 - 2.0 * 0.1)


def test_cautious_decay_goes_with_cautious_updates_and_wrappers(rng):
    more = {"decay": "cautious", "update": [Cautious()], "wrap": [Lookahead(k=3)]}
    found, p, grads, rates = run(Lion, rng, more=more, weight_decay=0.5)
    m, slow = np.zeros_like(p), p.copy()
    for t, (g, lr) in enumerate(zip(grads, rates, strict=True), 1):
        u = lr * np.sign(0.9 * m + 0.1 * g)
        m = 0.99 * m + 0.01 * g
        agrees = u * g > 0
        for part in (slice(0, 12), slice(12, 16)):
            u[part] = u[part] * agrees[part] / max(agrees[part].mean(), 1e-3)
        p = p - lr * 0.5 * (u * p >= 0) * p - u
        if t % 3 == 0:
            p = slow = slow + 0.5 * (p - slow)
    np.testing.assert_allclose(found, p, rtol=1e-10, atol=1e-13)


def test_lanes_have_their_own_largest_rate_and_rules_without_decay_none():
    def config(lr):
        return from_mapping(
            {
                "problem": {"name": "mlp", "data": "iris", "hidden": [4]},
                "optimizer": {
                    "name": "SGD",
                    "lr": lr,
                    "weight_decay": 0.1,
                    "decay": "corrected",
                    "param_groups": [{"params": "*.bias", "name": "Rprop"}],
                },
                "scheduler": {"name": "CosineAnnealingLR", "T_max": 20},
                "steps": 20,
            }
        )

    together, alone = Pack([config(0.1), config(0.2)]), Pack([config(0.2)])
    for pack in (together, alone):
        for _ in pack.iterate(0):
            pass
    assert together.params.data[1].tobytes() == alone.params.data[0].tobytes()
    with pytest.raises(ConfigError, match="Rprop has no weight_decay"):
        composed(Rprop, decay="cautious")


def test_a_schedules_decay_is_its_own():
    config = {
        "problem": "rosenbrock",
        "optimizer": {"name": "AdamW", "decay": "cautious"},
        "scheduler": {"name": "WSD", "stable_steps": 4, "decay_steps": 4, "decay": "cosine"},
        "average": {"name": "ema", "decay": 0.9},
        "steps": 8,
    }
    assert [*Pack([from_mapping(config)]).iterate(0)]
