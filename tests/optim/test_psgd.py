"""PSGD with Kronecker factors: against the algorithm in NumPy, and kron_torch."""

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.config import from_mapping
from optrun.optim import Kron
from optrun.training.pack import Pack
from tests.optim.samples import option_sets
from tests.oracles.objectives import gradients, start
from tests.oracles.rules import SIZE, label
from tests.pairs import few_in_short

STEPS, BOUND = 110, 1e-10
SHAPES = {"filter": (2, 2, 2), "matrix": (2, 2), "vector": (5,)}
CASES = [*option_sets(Kron), {"lr": 0.01, "update_every": 2, "momentum": 0.5}]


def noise(t):
    return np.random.default_rng(t).normal(size=(3, SIZE))


def bound_of_norm(s):
    """A lower bound of the spectral norm, from the longest column."""
    a = s[:, np.argmax((s / np.abs(s).max()) ** 2 @ np.ones(len(s)))]
    return np.linalg.norm(s @ (s @ a)) / np.linalg.norm(s @ a)


class Written:
    """The algorithm for one tensor."""

    def __init__(self, shape, *, precond_init_scale, **options):
        self.shape, self.o, self.m = shape, options, 0.0
        self.sizes = (shape[0], int(np.prod(shape[1:]))) if len(shape) > 1 else ()
        self.q = [np.sqrt(precond_init_scale) * np.eye(size) for size in self.sizes]
        if not self.sizes:
            self.q = [precond_init_scale * np.ones(shape)]

    def __call__(self, x, g, t, v):
        o = self.o
        self.m = o["momentum"] * self.m + (1 - o["momentum"]) * g
        m = self.m / (1 - o["momentum"] ** t)
        n = m if o["momentum_in_precond"] else g
        n = n + np.sqrt(np.finfo(np.float32).eps) * np.abs(n).mean() * v
        if (t - 1) % o["update_every"] == 0:
            (self.turn if self.sizes else self.turn_diagonal)(n, v, (t - 1) // o["update_every"])
        if self.sizes:
            whole = np.kron(self.q[0].T @ self.q[0], self.q[1].T @ self.q[1])
            step = (whole @ m.ravel()).reshape(self.shape)
        else:
            step = self.q[0] ** 2 * m
        step = step * min(1, 1.1 / (np.sqrt((step**2).mean()) + 1e-12))
        return x - o["lr"] * (step + o["weight_decay"] * x)

    def turn_diagonal(self, n, v, updates):
        q = self.q[0]
        a, b = (q * n) ** 2, (v / q) ** 2
        self.q = [q - self.o["precond_lr"] * (a - b) / np.abs(a + b).max() * q]

    def turn(self, n, v, updates):
        n, v = n.reshape(self.sizes), v.reshape(self.sizes)
        if updates and updates % 100 == 0:
            sizes = [np.abs(q).max() for q in self.q]
            self.q = [q * np.sqrt(sizes[0] * sizes[1]) / size for q, size in zip(self.q, sizes, strict=True)]
        a = self.q[0] @ n @ self.q[1].T
        b = np.linalg.inv(self.q[0]).T @ v @ np.linalg.inv(self.q[1])
        pairs = ((a @ a.T, b @ b.T), (a.T @ a, b.T @ b))
        self.q = [
            q - self.o["precond_lr"] / bound_of_norm(one + two) * np.triu(one - two) @ q
            for q, (one, two) in zip(self.q, pairs, strict=True)
        ]


def written(options):
    values = {key: option.default for key, option in Kron.options().items()} | options
    values.pop("maximize")
    slices = Parameters(SHAPES).slices
    rules = [{key: Written(shape, **values) for key, shape in SHAPES.items()} for _ in range(3)]
    x, rows = np.resize(start(SIZE), (3, SIZE)), []
    for t in range(STEPS):
        slopes, drawn, x = gradients(x, t), noise(t), x.copy()
        for i, of in enumerate(rules):
            for key, shape in SHAPES.items():
                at, slope, own = (each[i, slices[key]].reshape(shape) for each in (x, slopes, drawn))
                x[i, slices[key]] = of[key](at, slope, t + 1, own).ravel()
        rows.append(x)
    return np.array(rows)


def ours(options, shapes=SHAPES):
    params = Parameters(shapes, lanes=3, arrays=Arrays(dtype="float64"))
    params.data[:] = start(SIZE)
    optimizer, rows = Kron(params, **options), []
    for t in range(STEPS):
        params.grad[:] = gradients(params.data, t)
        if optimizer.awaits_noise:
            params.noise[:] = noise(t)
        optimizer.step()
        rows.append(params.data.copy())
    return np.array(rows)


@pytest.mark.parametrize("options", few_in_short(zip(CASES), 3), ids=[label("Kron", each) for each in CASES])
def test_it_is_the_algorithm(options):
    np.testing.assert_allclose(ours(options), written(options), rtol=0, atol=BOUND)


@pytest.mark.full
def test_it_is_kron_torchs(monkeypatch):
    """Made to update Q always and to balance as here, in float64, and not to change the momentum in place."""
    torch = pytest.importorskip("torch")
    library = pytest.importorskip("kron_torch.kron")
    shapes = {"matrix": (3, 4), "vector": (5,)}
    slices = Parameters(shapes).slices
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    drawn = []
    monkeypatch.setattr(torch, "randn_like", lambda like: drawn.pop(0).clone())
    update = library._update_precond
    monkeypatch.setattr(library, "_update_precond", lambda q, e, g, *more: update(q, e, g.clone(), *more))
    x, found = np.resize(start(SIZE), (3, SIZE)), ours({"lr": 0.02}, shapes)
    tensors = [
        [torch.nn.Parameter(torch.tensor(of[slices[key]].reshape(shape))) for key, shape in shapes.items()]
        for of in x
    ]
    made = [
        library.Kron(each, lr=0.02, preconditioner_update_probability=1.0, precond_dtype=torch.float64)
        for each in tensors
    ]
    with torch.compiler.set_stance("force_eager"):
        for t in range(STEPS):
            slopes = gradients(x, t)
            for i, optimizer in enumerate(made):
                for tensor, (key, shape) in zip(tensors[i], shapes.items(), strict=True):
                    tensor.grad = torch.tensor(slopes[i, slices[key]].reshape(shape))
                    drawn.append(torch.tensor(noise(t)[i, slices[key]].reshape(shape)))
                optimizer.rng.random = lambda t=t: 0.0 if t and t % 100 == 0 else 1.0
                optimizer.step()
                x[i] = np.concatenate([tensor.detach().numpy().ravel() for tensor in tensors[i]])
            np.testing.assert_allclose(found[t], x, rtol=0, atol=BOUND)


def test_a_run_draws_by_its_seed_whatever_the_groups():
    def run(seed, groups, optimizer="Kron"):
        problem = {"name": "mlp", "data": "iris", "hidden": [3], "batch_size": 16}
        rule = {"name": optimizer, "lr": 0.01, "param_groups": groups}
        pack = Pack(
            [
                from_mapping(
                    {"problem": problem, "optimizer": rule, "steps": 5, "seed": seed, "dtype": "float64"}
                )
            ]
        )
        for _ in pack.iterate(0):
            pass
        return {name: pack.params.noise[:, part].copy() for name, part in pack.params.slices.items()}

    plain, grouped, other = run(3, []), run(3, [{"params": "*.bias"}]), run(4, [])
    for name, value in plain.items():
        assert value.tobytes() == grouped[name].tobytes()
        assert not np.allclose(value, other[name])
