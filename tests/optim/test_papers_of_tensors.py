"""Optimizers that look at whole tensors, or at all of them: against their papers in NumPy and against optax."""

from itertools import islice

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.optim import LAMB, Adam
from optrun.optim.transforms import TrustRatio, composed
from optrun.registry import optimizers
from tests.optim.samples import option_sets, stepped
from tests.optim.test_papers import apart, beginning, complete
from tests.oracles import papers_of_tensors as papers
from tests.oracles import rules
from tests.oracles.objectives import gradients

PAPERS = {
    "LARS": papers.lars,
    "LAMB": papers.lamb,
    "NovoGrad": papers.novograd,
    "AdamMini": papers.adam_mini,
    "SM3": papers.sm3,
    "CAME": papers.came,
}
CASES = [(name, options) for name in PAPERS for options in option_sets(optimizers.find(name))]
STEPS = 120
BOUND = 1e-10


def tensors(x):
    """Return the matrix and the vector of each objective, of parameters `[3, 17]`."""
    return [part for row in x for part in (row[:12].reshape(3, 4), row[12:])]


def flat(parts):
    return np.concatenate([np.ravel(part) for part in parts]).reshape(3, rules.SIZE)


def written(name, options):
    """Return the trajectory that the paper's algorithm takes."""
    values = complete(name, options)
    sign = -1.0 if values.pop("maximize") else 1.0
    steps = PAPERS[name](
        tensors(beginning()), lambda x, t: tensors(sign * gradients(flat(x), t - 1)), **values
    )
    return np.array([flat(each) for each in islice(steps, STEPS)])


def ours(name, **options):
    return rules.trajectories(name, options)[:STEPS, 0]


@pytest.mark.parametrize(("name", "options"), CASES, ids=[rules.label(*case) for case in CASES])
def test_a_rule_is_its_papers_algorithm(name, options):
    assert apart(ours(name, **options), written(name, options)) <= BOUND


def transformation(name, o):
    """Return what optax has for a rule."""
    import optax

    lr, betas = o["lr"], {f"b{i}": o[f"beta{i}"] for i in (1, 2) if f"beta{i}" in o}
    return {
        "LARS": lambda: optax.lars(
            lr, o["weight_decay"], True, o["trust_coefficient"], momentum=o["momentum"]
        ),
        "LAMB": lambda: optax.lamb(lr, **betas, eps=o["eps"], weight_decay=o["weight_decay"]),
        "NovoGrad": lambda: optax.novograd(lr, **betas, eps=o["eps"], weight_decay=o["weight_decay"]),
        "SM3": lambda: optax.chain(optax.scale_by_sm3(o["momentum"], eps=0.0), optax.scale(-lr)),
    }[name]()


def in_optax(name, **options):
    """Return optax's trajectory."""
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    with jax.enable_x64(True):
        rule = transformation(name, complete(name, options))
        x = [jax.numpy.asarray(each) for each in tensors(beginning())]
        state, step, rows = rule.init(x), jax.jit(rule.update), []
        for t in range(STEPS):
            slopes = [jax.numpy.asarray(each) for each in tensors(gradients(flat(x), t))]
            moved, state = step(slopes, state, x)
            x = optax.apply_updates(x, moved)
            rows.append(flat(x))
    return np.array(rows)


IN_OPTAX = [
    ("LARS", {"lr": 1.0}),
    ("LAMB", {"weight_decay": 0.02}),
    ("NovoGrad", {"weight_decay": 0.02}),
    ("SM3", {}),
]


@pytest.mark.full
@pytest.mark.parametrize(("name", "options"), IN_OPTAX, ids=[rules.label(*case) for case in IN_OPTAX])
def test_a_rule_is_optaxs(name, options):
    options = {"lr": 0.02, **options}
    assert apart(ours(name, **options), in_optax(name, **options)) <= BOUND


DEPARTURES = [("LARS", {"lr": 1.0, "weight_decay": 0.1})]


@pytest.mark.full
@pytest.mark.parametrize(("name", "options"), DEPARTURES, ids=[rules.label(*case) for case in DEPARTURES])
def test_optax_departs_from_the_paper_as_the_rule_says(name, options):
    assert apart(in_optax(name, **options), written(name, options)) > 1e-4


SAME = [
    ("AdamMini", {"eps": 1e-3}, "Adam", {"eps": 1e-3}),
    ("SM3", {"momentum": 0.0}, "Adagrad", {"eps": 0.0}),
]


@pytest.mark.parametrize(("name", "options", "other", "theirs"), SAME, ids=[f"{s[0]}, {s[2]}" for s in SAME])
def test_a_rule_is_another_for_vectors(name, options, other, theirs):
    ours_, found = ours(name, **{"lr": 0.02, **options}), ours(other, **{"lr": 0.02, **theirs})
    # The first objective has a gradient of its own for each element, so that its vector knows nothing of the matrix.
    assert apart(ours_[:, :1, 12:], found[:, :1, 12:]) <= BOUND < apart(ours_[:, :1, :12], found[:, :1, :12])


def test_lamb_is_adam_with_a_trust_ratio(rng):
    grads, found = rng.normal(size=(20, 1, rules.SIZE)), []
    for rule in (LAMB, composed(Adam, update=[TrustRatio()])):
        params = Parameters(rules.SHAPES, arrays=Arrays(dtype="float64"))
        params.data[:] = np.linspace(-1, 1, rules.SIZE)
        stepped(rule(params, lr=0.1, eps=1e-6), grads)
        found.append(params.data)
    np.testing.assert_allclose(*found, rtol=1e-12)
