"""Optimizers that look at whole tensors, or at all of them: against their papers in NumPy and against optax."""

from itertools import islice, pairwise, zip_longest

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
from tests.oracles.objectives import OBJECTIVES, gradients

PAPERS = {
    "LARS": papers.lars,
    "LAMB": papers.lamb,
    "NovoGrad": papers.novograd,
    "AdamMini": papers.adam_mini,
    "SM3": papers.sm3,
    "CAME": papers.came,
    "DoG": papers.dog,
    "DoWG": papers.dowg,
    "DAdaptSGD": papers.dadapt_sgd,
    "DAdaptAdam": papers.dadapt_adam,
    "Prodigy": papers.prodigy,
    "PolyakSGD": papers.polyak_sgd,
    "MoMo": papers.momo,
    "MoMoAdam": papers.momo_adam,
    "BarzilaiBorwein": papers.barzilai_borwein,
    "SGDHD": papers.sgd_hd,
    "AdamHD": papers.adam_hd,
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
    """Return the trajectory of the paper's algorithm, the gradients that it meets and, if it takes them, the losses."""
    values, slopes, losses = complete(name, options), [], []
    sign = -1.0 if values.pop("maximize") else 1.0

    def slope(x, t):
        slopes.append(gradients(flat(x), t - 1))
        return tensors(sign * slopes[-1])

    def loss(x, t):
        losses.append(sum(f(row, t - 1)[0] for f, row in zip(OBJECTIVES.values(), flat(x), strict=True)))
        return sign * losses[-1]

    oracles = (slope, loss) if optimizers.find(name).takes_loss() else (slope,)
    steps = islice(PAPERS[name](tensors(beginning()), *oracles, **values), STEPS)
    return np.array([flat(each) for each in steps]), np.array(slopes), losses


def ours(name, options, slopes, losses):
    """Return the trajectory of these gradients: where they are its own, rounding errors may grow exponentially."""
    shapes = {f"{i}.{name}": shape for i in range(3) for name, shape in rules.SHAPES.items()}
    params = Parameters(shapes, arrays=Arrays(dtype="float64"))
    params.data[:] = beginning().ravel()
    optimizer, rows = optimizers.find(name)(params, **options), []
    for slope, loss in zip_longest(slopes, losses):
        params.grad[:] = slope.ravel()
        optimizer.step(loss=loss)
        rows.append(params.data.reshape(3, rules.SIZE).copy())
    return np.array(rows)


@pytest.mark.parametrize(("name", "options"), CASES, ids=[rules.label(*case) for case in CASES])
def test_a_rule_is_its_papers_algorithm(name, options):
    rows, *met = written(name, options)
    assert apart(ours(name, options, *met), rows) <= BOUND


def transformation(name, o):
    """Return what optax has for a rule."""
    import jax.numpy as jnp
    import optax
    from optax import contrib

    lr, betas = o["lr"], {f"b{i}": o[f"beta{i}"] for i in (1, 2) if f"beta{i}" in o}
    decay = {"weight_decay": o.get("weight_decay", 0.0)}
    of_adam = {
        "betas": (o.get("beta1"), o.get("beta2")),
        "eps": o.get("eps"),
        "estim_lr0": o.get("d0"),
        **decay,
    }

    of_momo = {name: o[name] for name in ("lower_bound", "adapt_lower_bound") if name in o} | decay

    def unbiased(n):
        """Undo the bias corrections that optax has and the papers lack."""
        t = jnp.asarray(n, float) + 1
        return lr * (1 - o["beta1"] ** t) / jnp.sqrt(1 - o["beta2"] ** t)

    return {
        "LARS": lambda: optax.lars(
            lr, o["weight_decay"], True, o["trust_coefficient"], momentum=o["momentum"]
        ),
        "LAMB": lambda: optax.lamb(lr, **betas, eps=o["eps"], weight_decay=o["weight_decay"]),
        "NovoGrad": lambda: optax.novograd(lr, **betas, eps=o["eps"], weight_decay=o["weight_decay"]),
        "SM3": lambda: optax.chain(optax.scale_by_sm3(o["momentum"], eps=0.0), optax.scale(-lr)),
        "DoG": lambda: contrib.dog(lr, ("heuristic", o["reps_rel"]), o["eps"], **decay),
        "DoWG": lambda: contrib.dowg(lr, o["r_eps"] ** 2, o["eps"], **decay),
        "PolyakSGD": lambda: optax.polyak_sgd(o["lr"], f_min=o["f_min"]),
        "MoMo": lambda: contrib.momo(lr, o["momentum"], **of_momo),
        "MoMoAdam": lambda: contrib.momo_adam(lr, **betas, eps=o["eps"], **of_momo),
        "DAdaptAdam": lambda: contrib.dadapt_adamw(unbiased, **of_adam),
        "Prodigy": lambda: contrib.prodigy(
            unbiased, **of_adam, estim_lr_coef=o["d_coef"], safeguard_warmup=o["safeguard_warmup"]
        ),
    }[name]()


def in_optax(name, options, slopes, losses):
    """Return optax's trajectory of these gradients and losses."""
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    with jax.enable_x64(True):
        rule = transformation(name, complete(name, options))
        x = [jax.numpy.asarray(each) for each in tensors(beginning())]
        state, step, rows = rule.init(x), jax.jit(rule.update), []
        for slope, loss in zip_longest(slopes, losses):
            value = {} if loss is None else {"value": loss}
            moved, state = step([jax.numpy.asarray(each) for each in tensors(slope)], state, x, **value)
            x = optax.apply_updates(x, moved)
            rows.append(flat(x))
    return np.array(rows)


IN_OPTAX = [
    ("LARS", {"lr": 1.0}),
    ("LAMB", {"weight_decay": 0.02}),
    ("NovoGrad", {"weight_decay": 0.02}),
    ("SM3", {}),
    ("DoG", {"lr": 0.9, "weight_decay": 0.02, "reps_rel": 1e-3}),
    ("DoWG", {"lr": 0.9, "weight_decay": 0.02}),
    ("DAdaptAdam", {"lr": 0.9, "weight_decay": 0.02}),
    # It multiplies ε by the d after the step.
    ("Prodigy", {"lr": 0.9, "weight_decay": 0.02, "d_coef": 0.5, "eps": 0.0}),
    ("PolyakSGD", {"f_min": 1.0}),
    ("MoMo", {"lr": 1.0, "lower_bound": 1.0}),
    ("MoMoAdam", {"lower_bound": 1.0}),
    ("MoMo", {"lr": 1.0, "adapt_lower_bound": True}),
    ("MoMoAdam", {"lr": 0.5, "adapt_lower_bound": True}),
]


@pytest.mark.full
@pytest.mark.parametrize(("name", "options"), IN_OPTAX, ids=[rules.label(*case) for case in IN_OPTAX])
def test_a_rule_is_optaxs(name, options):
    options = {"lr": 0.02, **options}
    _, *met = written(name, options)
    assert apart(ours(name, options, *met), in_optax(name, options, *met)) <= BOUND


DEPARTURES = [
    ("LARS", {"lr": 1.0, "weight_decay": 0.1}),
    ("Prodigy", {"eps": 1.0}),
    ("MoMo", {"weight_decay": 0.1}),
    ("MoMoAdam", {"weight_decay": 0.1}),
]


@pytest.mark.full
@pytest.mark.parametrize(("name", "options"), DEPARTURES, ids=[rules.label(*case) for case in DEPARTURES])
def test_optax_departs_from_the_paper_as_the_rule_says(name, options):
    rows, *met = written(name, options)
    assert apart(in_optax(name, options, *met), rows) > 1e-4


SAME = [
    ("AdamMini", {"eps": 1e-3}, "Adam", {"eps": 1e-3}),
    ("SM3", {"momentum": 0.0}, "Adagrad", {"eps": 0.0}),
]


@pytest.mark.parametrize(("name", "options", "other", "theirs"), SAME, ids=[f"{s[0]}, {s[2]}" for s in SAME])
def test_a_rule_is_another_for_vectors(name, options, other, theirs):
    _, *met = written(name, {"lr": 0.02, **options})
    own, found = ours(name, {"lr": 0.02, **options}, *met), ours(other, {"lr": 0.02, **theirs}, *met)
    assert apart(own[..., 12:], found[..., 12:]) <= BOUND < apart(own[..., :12], found[..., :12])


def test_lamb_is_adam_with_a_trust_ratio(rng):
    grads, found = rng.normal(size=(20, 1, rules.SIZE)), []
    for rule in (LAMB, composed(Adam, update=[TrustRatio()])):
        params = Parameters(rules.SHAPES, arrays=Arrays(dtype="float64"))
        params.data[:] = np.linspace(-1, 1, rules.SIZE)
        stepped(rule(params, lr=0.1, eps=1e-6), grads)
        found.append(params.data)
    np.testing.assert_allclose(*found, rtol=1e-12)


@pytest.mark.parametrize("variant", ["long", "short"])
def test_the_steps_of_barzilai_and_borwein_are_those_of_the_gradient_before(variant, rng):
    """On a quadratic they minimize along the gradient before: the loss, or the norm of the gradient."""
    hessian, found = np.geomspace(1.0, 30.0, 5), []
    params = Parameters({"x": (5,)}, arrays=Arrays(dtype="float64"))
    params.data[:] = rng.normal(size=5)
    optimizer = optimizers.find("BarzilaiBorwein")(params, lr=0.01, variant=variant)
    for _ in range(12):
        before, g = params.data[0].copy(), hessian * params.data[0]
        params.grad[:] = g
        optimizer.step()
        found.append((g, (before - params.data[0]) @ g / (g @ g)))
    for (g, _), (_, step) in pairwise(found):
        power = 1 if variant == "long" else 2
        expected = (g * hessian ** (power - 1)) @ g / ((g * hessian**power) @ g)
        np.testing.assert_allclose(step, expected, rtol=1e-9)


@pytest.mark.full
@pytest.mark.parametrize(("name", "other"), [("SGDHD", "SGD"), ("AdamHD", "Adam")])
def test_a_rate_descends_the_loss_after_torchs_step(name, other):
    torch = pytest.importorskip("torch")
    options = {"lr": 0.01, "hypergrad_lr": 1e-5}
    rows, slopes, _ = written(name, options)
    x = torch.tensor(beginning())
    theirs, rate, change = (
        getattr(torch.optim, other)([x], lr=options["lr"]),
        options["lr"],
        torch.zeros(3, 17),
    )
    for slope, row in zip(slopes, rows, strict=True):
        x.grad = torch.tensor(slope)
        rate -= options["hypergrad_lr"] * (x.grad * change).sum().item()
        before, theirs.param_groups[0]["lr"] = x.clone(), rate
        theirs.step()
        change = (x - before) / rate
        assert np.abs(x.numpy() - row).max() <= BOUND * np.abs(row).max()


@pytest.mark.parametrize(("name", "options"), [("DAdaptSGD", {}), ("Prodigy", {"safeguard_warmup": True})])
def test_parameters_that_are_not_trained_count_nowhere(name, options):
    found = []
    for size in (0.0, 1e4):
        params = Parameters.of({"a": np.ones(3), "b": np.ones(4)}, arrays=Arrays(dtype="float64"))
        groups = [{"params": "a", "lr": 0.0}, {"params": "b"}]
        optimizer = optimizers.find(name)(params, groups, **options)
        for _ in range(30):
            params.grads["a"][:] = size
            params.grads["b"][:] = 2 * params["b"]
            optimizer.step()
        found.append(params["b"].copy())
    np.testing.assert_array_equal(*found)
    assert abs(found[0]).max() < 0.9


@pytest.mark.parametrize(("name", "other"), [("LARS", "SGD"), ("LAMB", "Adam")])
def test_a_tensor_of_zeros_moves_as_without_the_ratio(name, other, rng):
    grad, found = rng.normal(size=6), []
    for rule in (name, other):
        params = Parameters({"zeros": (4,), "others": (2,)}, arrays=Arrays(dtype="float64"))
        params["others"][:] = 2.0
        params.grad[:] = grad
        optimizers.find(rule)(params, lr=0.1).step()
        found.append(params)
    ours, theirs = found
    np.testing.assert_allclose(ours["zeros"], theirs["zeros"], rtol=1e-5)
    assert np.abs(ours["others"] - theirs["others"]).min() > 1e-3
