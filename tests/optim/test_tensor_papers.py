"""Rules of whole tensors that torch does not have: against their papers in NumPy, and against optax."""

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.optim.muon import POLAR_EXPRESS
from optrun.registry import optimizers
from tests.optim.samples import option_sets
from tests.oracles import tensor_papers as papers
from tests.oracles.muon import quintics
from tests.oracles.objectives import gradients, start
from tests.oracles.rules import SIZE, differences, label, takes_vectors
from tests.pairs import few_in_short

PAPERS = {
    "Muon": papers.muon,
    "NorMuon": papers.normuon,
    "AdaMuon": papers.adamuon,
    "Scion": papers.scion,
    "Shampoo": papers.shampoo,
    "SOAP": papers.soap,
}
ROUGH = {"Shampoo": {"eps": 0.1}}
"""Options without which rounding errors grow: a gradient's part of small eigenvalues is divided by their roots."""
CASES = [
    (name, options | ROUGH.get(name, {}))
    for name in PAPERS
    for options in option_sets(optimizers.find(name))
    if name != "Muon" or options.keys() <= {"lr"}
]
CASES += [
    ("Muon", {"lr": 0.011, "iteration": "polar_express"}),
    ("NorMuon", {"lr": 0.011, "iteration": "polar_express", "ns_steps": 6}),
    ("Shampoo", {"lr": 0.011, "beta2": 0.9, "update_every": 3, "momentum": 0.9, "eps": 0.1}),
]
STEPS = 120
BOUND = 1e-10


SQUARES = {"matrix": (3, 3), "other": (2, 2), "rest": (4,)}


def shapes(name):
    """A filter, a square matrix, and a vector or, where a rule takes none, a row.

    Of a matrix that is wide or tall one side has eigenvectors that rounding chooses, so that SOAP has square ones.
    """
    if name == "SOAP":
        return SQUARES
    return {"filter": (2, 2, 2), "matrix": (2, 2), "rest": (5,) if takes_vectors(name) else (1, 5)}


def complete(name, options):
    return {key: option.default for key, option in optimizers.find(name).options().items()} | options


def written(name, options):
    """Return the trajectories that the paper's algorithm takes, `[steps, 1, 3, 17]`."""
    values = complete(name, options)
    values.pop("maximize")
    slices = Parameters(shapes(name)).slices
    steps = [{key: PAPERS[name](shape, **values) for key, shape in shapes(name).items()} for _ in range(3)]
    x, rows = np.resize(start(SIZE), (3, SIZE)), []
    for t in range(STEPS):
        slopes, x = gradients(x, t), x.copy()
        for i, of in enumerate(steps):
            for key, shape in shapes(name).items():
                part = x[i, slices[key]].reshape(shape), slopes[i, slices[key]].reshape(shape)
                x[i, slices[key]] = of[key](*part, t + 1).ravel()
        rows.append(x)
    return np.array(rows)[:, None]


def ours(name, options, tensors=None):
    params = Parameters(tensors or shapes(name), lanes=3, arrays=Arrays(dtype="float64"))
    params.data[:] = start(SIZE)
    optimizer, rows = optimizers.find(name)(params, **options), []
    for t in range(STEPS):
        params.grad[:] = gradients(params.data, t)
        optimizer.step()
        rows.append(params.data.copy())
    return np.array(rows)[:, None]


@pytest.mark.parametrize(("name", "options"), few_in_short(CASES, 3), ids=[label(*case) for case in CASES])
def test_a_rule_is_its_papers_algorithm(name, options):
    assert differences(ours(name, options), written(name, options)) <= BOUND


def test_the_coefficients_of_polar_express_are_the_best_ones():
    np.testing.assert_allclose(POLAR_EXPRESS[:6], quintics()[:6], rtol=1e-13)
    np.testing.assert_allclose(POLAR_EXPRESS, quintics(), rtol=1e-8)


def in_optax(**options):
    """Return optax's trajectory of Muon on the matrix alone."""
    jax, contrib = pytest.importorskip("jax"), pytest.importorskip("optax.contrib")
    with jax.enable_x64(True):
        rule = contrib.scale_by_muon(
            **options, eps=0.0, weight_dimension_numbers=contrib.MuonDimensionNumbers()
        )
        state, x, rows = rule.init(jax.numpy.zeros((4, 4))), np.resize(start(16), (4, 4)), []
        step = jax.jit(rule.update)
        for t in range(STEPS):
            moved, state = step(
                jax.numpy.asarray(gradients(np.stack([x.ravel()] * 3), t)[2].reshape(4, 4)), state
            )
            x = x - 0.05 * np.asarray(moved)
            rows.append(x)
    return np.array(rows)


def muon_alone(**options):
    """Return optrun's trajectory of what `in_optax` has."""
    params = Parameters({"x": (4, 4)}, arrays=Arrays(dtype="float64"))
    params["x"][:] = np.resize(start(16), (4, 4))
    optimizer, rows = optimizers.find("Muon")(params, lr=0.05, weight_decay=0.0, eps=0.0, **options), []
    for t in range(STEPS):
        params.grad[:] = gradients(np.stack([params.data[0]] * 3), t)[2]
        optimizer.step()
        rows.append(params["x"][0].copy())
    return np.array(rows)


@pytest.mark.full
def test_muon_is_optaxs_without_nesterov_alone():
    """With it optax corrects the bias of the average, and of the gradient that it is mixed with, differently."""
    apart = np.abs(muon_alone(nesterov=False) - in_optax(nesterov=False)).max()
    assert apart <= BOUND
    assert np.abs(muon_alone(nesterov=True) - in_optax(nesterov=True)).max() > 1e-3


def test_a_networks_weights_have_their_neurons_in_columns(rng):
    """The step of a rule on `[in, out]` is that on torch's `[out, in]`, transposed."""
    for name, options in (
        ("NorMuon", {"update_scale": "preserve_norm"}),
        ("AdaMuon", {}),
        ("Scion", {"norm": "row_norm"}),
        ("Scion", {"norm": "col_norm"}),
    ):
        found = []
        for shape, first in (((2, 4), set()), ((4, 2), {"w"})):
            params = Parameters({"w": shape}, arrays=Arrays(dtype="float64"), inputs_first=first)
            optimizer = optimizers.find(name)(params, **options)
            for t in range(3):
                grad = np.sin(np.arange(8.0) + t).reshape(2, 4)
                params.grads["w"][0] = grad.T if first else grad
                optimizer.step()
            found.append(params["w"][0].T if first else params["w"][0].copy())
        np.testing.assert_allclose(found[1], found[0], rtol=1e-12)


def in_pytorch_optimizer(make, shapes):
    """Return the trajectories of a rule of pytorch_optimizer, whose products are made to have the gradients' dtype."""
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("pytorch_optimizer")
    slices = Parameters(shapes).slices
    x, rows = np.resize(start(SIZE), (3, SIZE)), []
    tensors = [
        [torch.nn.Parameter(torch.tensor(of[slices[key]].reshape(shape))) for key, shape in shapes.items()]
        for of in x
    ]
    optimizers_of = [make(library, each) for each in tensors]
    for t in range(STEPS):
        slopes = gradients(x, t)
        for i, optimizer in enumerate(optimizers_of):
            for tensor, (key, shape) in zip(tensors[i], shapes.items(), strict=True):
                tensor.grad = torch.tensor(slopes[i, slices[key]].reshape(shape))
            optimizer.step()
            x[i] = np.concatenate([tensor.detach().numpy().ravel() for tensor in tensors[i]])
        rows.append(x.copy())
    return np.array(rows)[:, None]


LIBRARY = [
    *(
        (
            "NorMuon",
            {"update_scale": scale, "weight_decay": 0.1},
            lambda of, params, scale=scale: of.NorMuon(
                [{"params": params, "use_muon": True}], lr=0.02, update_scale=scale, weight_decay=0.1
            ),
        )
        for scale in ("match_rms", "preserve_norm")
    ),
    (
        "AdaMuon",
        {"weight_decay": 0.0, "nesterov": False, "momentum": 0.9, "beta2": 0.95, "sign_momentum": False},
        lambda of, params: of.AdaMuon(
            [{"params": params, "use_muon": True}], lr=0.02, betas=(0.9, 0.95), eps=1e-8
        ),
    ),
    ("Scion", {"momentum": 0.9}, lambda of, params: of.SCION(params, lr=0.02, momentum=0.1)),
    (
        "Shampoo",
        {"eps": 0.1, "update_every": 1, "weight_decay": 0.1},
        lambda of, params: of.Shampoo(
            params, lr=0.02, matrix_eps=0.1, weight_decay=0.1, weight_decouple=True
        ),
    ),
    (
        "SOAP",
        {"weight_decay": 0.0, "update_every": 3, "eps": 1e-4},
        lambda of, params: of.SOAP(
            params,
            lr=0.02,
            betas=(0.95, 0.95),
            shampoo_beta=0.95,
            weight_decay=0.0,
            precondition_frequency=3,
            eps=1e-4,
        ),
    ),
]


@pytest.mark.full
@pytest.mark.parametrize(("name", "options", "make"), LIBRARY, ids=[label(*each[:2]) for each in LIBRARY])
def test_a_rule_is_pytorch_optimizers(name, options, make, monkeypatch):
    matrix = pytest.importorskip("pytorch_optimizer.optimizer.utils.matrix")
    torch = pytest.importorskip("torch")
    function = matrix.zero_power_via_newton_schulz_5
    wide = tuple(torch.float64 if each is torch.bfloat16 else each for each in function.__defaults__)
    monkeypatch.setattr(function, "__defaults__", wide)
    # It has a preconditioner for each axis of a filter, and QR decompositions in float32.
    tensors = SQUARES if name in ("SOAP", "Shampoo") else shapes(name)
    monkeypatch.setattr(torch, "float32", torch.float64)
    theirs = in_pytorch_optimizer(make, tensors)
    assert differences(ours(name, {"lr": 0.02, **options}, tensors), theirs) <= BOUND
