"""Rules that read the Hessian's diagonal: against their papers and other libraries, and where they have it from."""

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.config import from_mapping
from optrun.optim import Optimizer
from optrun.optim.curvature import Hessian, diagonal
from optrun.registry import NonNegative, PositiveInt, optimizers, problems
from optrun.training.pack import Pack
from tests.optim.samples import option_sets
from tests.oracles.objectives import gradients, start
from tests.oracles.rules import SIZE, differences, label
from tests.pairs import few_in_short

STEPS, BOUND = 120, 1e-10
NAMES = ("AdaHessian", "SophiaH")
CASES = [(name, options) for name in NAMES for options in option_sets(optimizers.find(name))]
CASES += [("AdaHessian", {"lr": 0.1, "hessian_power": 0.5, "update_every": 3})]


def diagonals(t):
    """Return what stands for samples of the diagonal: of either sign, and other ones at every step."""
    return 1.0 + 2.0 * np.sin(3.0 * t + np.arange(3 * SIZE)).reshape(3, SIZE)


def complete(name, options):
    return {key: option.default for key, option in optimizers.find(name).options().items()} | options


def adahessian(x, g, t, d, state, *, lr, beta1, beta2, eps, weight_decay, hessian_power, update_every):
    if (t - 1) % update_every == 0:
        state["v"] = beta2 * state["v"] + (1 - beta2) * np.abs(d) ** 2
        state["n"] += 1
    state["m"] = beta1 * state["m"] + (1 - beta1) * g
    size = (state["v"] / (1 - beta2 ** state["n"])) ** (hessian_power / 2)
    return x - lr * (weight_decay * x + state["m"] / (1 - beta1**t) / (size + eps))


def sophia(x, g, t, d, state, *, lr, beta1, beta2, gamma, eps, clip_threshold, weight_decay, update_every):
    if t % update_every == 1 % update_every:
        state["v"] = beta2 * state["v"] + (1 - beta2) * d
    state["m"] = beta1 * state["m"] + (1 - beta1) * g
    step = np.clip(state["m"] / np.maximum(gamma * state["v"], eps), -clip_threshold, clip_threshold)
    return x - lr * (weight_decay * x + step)


PAPERS = {"AdaHessian": adahessian, "SophiaH": sophia}


def written(name, options, slope=lambda x, t: gradients(x, t - 1), of_step=diagonals, begin=None):
    values = complete(name, options)
    values.pop("maximize")
    x = np.resize(start(SIZE), (3, SIZE)) if begin is None else begin
    state, rows = {"m": 0.0, "v": 0.0, "n": 0}, []
    for t in range(1, STEPS + 1):
        x = PAPERS[name](x, slope(x, t), t, of_step(t), state, **values)
        rows.append(x)
    return np.array(rows)[:, None]


def ours(name, options):
    params = Parameters({"matrix": (3, 4), "vector": (5,)}, lanes=3, arrays=Arrays(dtype="float64"))
    params.data[:] = start(SIZE)
    optimizer, rows = optimizers.find(name)(params, **options), []
    for t in range(STEPS):
        params.grad[:] = gradients(params.data, t)
        if optimizer.awaits_curvature:
            params.curvature[:] = diagonals(t + 1)
        optimizer.step()
        rows.append(params.data.copy())
    return np.array(rows)[:, None]


@pytest.mark.parametrize(("name", "options"), few_in_short(CASES, 3), ids=[label(*case) for case in CASES])
def test_a_rule_is_its_papers_algorithm(name, options):
    assert differences(ours(name, options), written(name, options)) <= BOUND


def in_pytorch_optimizer(make):
    """Return the trajectories of a rule of pytorch_optimizer, which is told the samples."""
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("pytorch_optimizer")
    tensor = torch.nn.Parameter(torch.tensor(np.resize(start(SIZE), (3, SIZE))))
    optimizer, rows = make(library, [tensor]), []
    for t in range(STEPS):
        tensor.grad = torch.tensor(gradients(tensor.detach().numpy(), t))
        optimizer.step(hessian=[torch.tensor(diagonals(t + 1))])
        rows.append(tensor.detach().numpy().copy())
    return np.array(rows)[:, None]


LIBRARY = [
    (
        "AdaHessian",
        {"lr": 0.1, "hessian_power": 0.7, "weight_decay": 0.02},
        lambda of, params: of.AdaHessian(
            params, lr=0.1, hessian_power=0.7, weight_decay=0.02, eps=1e-4, betas=(0.9, 0.999)
        ),
    ),
    # Its ρ is the paper's γ: lr clip(m / h, ρ) = lr ρ clip(m / (ρ h), 1).
    (
        "SophiaH",
        {"lr": 0.005, "gamma": 0.1, "eps": 1e-13, "update_every": 1, "weight_decay": 0.0},
        lambda of, params: of.SophiaH(params, lr=0.05, p=0.1, eps=1e-12, betas=(0.96, 0.99)),
    ),
]


@pytest.mark.full
@pytest.mark.parametrize(("name", "options", "make"), LIBRARY, ids=[each[0] for each in LIBRARY])
def test_a_rule_is_pytorch_optimizers(name, options, make):
    assert differences(ours(name, options), in_pytorch_optimizer(make)) <= BOUND


@pytest.mark.full
def test_optaxs_sophia_reads_the_diagonal_a_step_late():
    """At its first step the diagonal is nothing yet, so that every element moves by the whole rate."""
    jax, optax = pytest.importorskip("jax"), pytest.importorskip("optax")
    contrib = pytest.importorskip("optax.contrib")
    with jax.enable_x64(True):
        sample = optax.stateless(lambda updates, params: jax.numpy.full(4, 50.0))
        rule = contrib._sophia.scale_by_sophia(gamma=1.0, hessian_diagonal_fn=sample)
        x = jax.numpy.zeros(4)
        moved, _ = rule.update(x + 0.1, rule.init(x), x)
    np.testing.assert_allclose(moved, 1.0)
    params = Parameters({"x": (4,)}, arrays=Arrays(dtype="float64"))
    optimizer = optimizers.find("SophiaH")(params, lr=1.0, gamma=1.0)
    params.grad[:], params.curvature[:] = 0.1, 50.0
    optimizer.step()
    np.testing.assert_allclose(-params.data, 0.04 * 0.1 / (0.01 * 50.0))


def config(problem, optimizer, **more):
    return from_mapping(
        {"problem": problem, "optimizer": optimizer, "steps": STEPS, "dtype": "float64", **more}
    )


def run_of(*configs):
    """Return the parameters of each lane after each step of a pack."""
    pack, rows = Pack(configs), []
    for _ in pack.iterate(0):
        rows.append({name: value.copy() for name, value in pack.params.items()})
    return [*rows, {name: value.copy() for name, value in pack.params.items()}]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_takes_the_diagonal_of_the_problem(name):
    """Where the Hessian is diagonal, random signs leave nothing to chance."""
    bowl = {
        "name": "expression",
        "f": "(x**2 + 3 * y**2 + 10 * z**2) / 2",
        "start": {"x": 1.0, "y": -2.0, "z": 0.5},
    }
    options = {"lr": 0.05, "weight_decay": 0.0}
    rows = run_of(config(bowl, {"name": name, **options}))
    x = np.array([[float(np.squeeze(row[variable])) for variable in "xyz"] for row in rows])
    slope = np.array([1.0, 3.0, 10.0])
    theirs = written(name, options, lambda x, t: slope * x, lambda t: slope, x[0])[:, 0]
    np.testing.assert_allclose(x[1:], theirs, rtol=0, atol=BOUND)


def test_the_signs_are_those_of_the_seed_and_the_step_whatever_the_groups(rng):
    mlp = {"name": "mlp", "data": "iris", "hidden": [3], "batch_size": 16}
    plain, grouped = (
        run_of(config(mlp, {"name": "AdaHessian", "lr": 0.01, "param_groups": groups}, steps=4, seed=3))[-1]
        for groups in ([], [{"params": "*.bias"}])
    )
    for name, value in plain.items():
        np.testing.assert_allclose(grouped[name], value, rtol=1e-12)
    other = run_of(config(mlp, {"name": "AdaHessian", "lr": 0.01}, steps=4, seed=4))[-1]
    assert any(not np.allclose(other[name], value) for name, value in plain.items())
    matrix = rng.normal(size=(4, 4))
    hessian = Hessian(lambda v: v @ (matrix + matrix.T), 4, [7])
    samples = [diagonal(hessian, t)[0] for t in range(4000)]
    deviation = np.abs(matrix + matrix.T).sum(axis=0)
    assert (np.abs(np.mean(samples, axis=0) - 2 * np.diag(matrix)) < 0.1 * deviation).all()


def test_the_hessian_on_a_batch_is_that_of_its_samples(rng):
    options = {"data": "diabetes", "batch_size": 8, "bias": False}
    problem = problems.find("linear_regression")(Arrays(dtype="float64"), **options)
    params = Parameters(problem.shapes, arrays=problem.arrays)
    params.data[:] = rng.normal(size=params.data.shape)
    batch, vector = problem.batches([0])[0], rng.normal(size=(1, params.size))
    x = problem.inputs["train"][batch[0]]
    np.testing.assert_allclose(
        problem.hessian_times(params, vector, batch)[0], 2 / 8 * x.T @ (x @ vector[0]), rtol=1e-6
    )


def test_a_rule_says_what_it_reads_and_may_name_its_states_alike():
    with pytest.raises(TypeError, match=r"takes p, g, t, h, v before a slash"):

        class Lacking(Optimizer):
            needs_curvature = needs_noise = True

            @staticmethod
            def update(p, g, t, h, /, *, lr: NonNegative = 0.1):
                p -= lr * h

    class Both(Optimizer, registered=False):
        needs_curvature = needs_noise = True

        @staticmethod
        def update(p, g, t, curved, drawn, /, h, *, lr: NonNegative = 0.1, update_every: PositiveInt = 1):
            h[:] = h + curved
            p -= lr * h * drawn

    params = Parameters({"x": (2,)}, arrays=Arrays(dtype="float64"))
    for maximize, expected in (
        (False, -0.1 * (3.0 * 2.0 + 6.0 * 2.0)),
        (True, 0.1 * (3.0 * 2.0 + 6.0 * 2.0)),
    ):
        params.data[:], params.curvature[:], params.noise[:] = 0.0, 3.0, 2.0
        optimizer = Both(params, maximize=maximize)
        assert optimizer.awaits_curvature
        assert optimizer.awaits_noise
        optimizer.step()
        optimizer.step()
        np.testing.assert_allclose(params.data, expected)
