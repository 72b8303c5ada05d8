"""Transforms of gradients and updates: against torch, optax and plain formulas."""

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters, stream
from optrun.config import ConfigErrors, from_mapping, parse
from optrun.errors import ConfigError, PluginError
from optrun.optim import LAMB, LBFGS, SGD, Adam, AdamW, Muon
from optrun.optim.transforms import (
    AdaptiveClip,
    Cautious,
    Centralize,
    ClipNorm,
    ClipRMS,
    ClipValue,
    GradientTransform,
    Normalize,
    Sign,
    SkipNonFinite,
    StopNonFinite,
    TrustRatio,
    Wrapper,
    composed,
)
from optrun.registry import gradient_transforms, wrappers
from optrun.schedulers import ExponentialLR
from optrun.training.config_notes import seed_is_idle
from optrun.training.pack import Pack
from tests.registries import restore_after

SHAPES = {"w": (3, 4), "b": (4,)}


def run(rule, rng, *, steps=30, gradient=(), update=(), groups=None, **options):
    """Return the parameters after some steps, and the gradients and parameters of the start."""
    params = Parameters(SHAPES, arrays=Arrays(dtype="float64"))
    params.data[:] = rng.normal(size=params.data.shape)
    start = {name: params[name][0].copy() for name in SHAPES}
    optimizer = composed(rule, gradient=gradient, update=update)(params, groups, **options)
    grads = [{name: rng.normal(size=shape) for name, shape in SHAPES.items()} for _ in range(steps)]
    for grad in grads:
        for name in SHAPES:
            params.grads[name][:] = grad[name]
        optimizer.step()
    return {name: params[name][0] for name in SHAPES}, start, grads


def assert_equal(found, expected):
    for name in SHAPES:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-11, atol=1e-13)


def in_numpy(start, grads, gradient=None, update=None, lr=0.1):
    """Plain gradient descent with functions of all tensors."""
    p = {name: value.copy() for name, value in start.items()}
    for grad in grads:
        g = gradient(grad, p) if gradient else grad
        u = {name: lr * g[name] for name in g}
        u = update(u, g, p) if update else u
        p = {name: p[name] - u[name] for name in p}
    return p


def flat(tensors):
    return np.concatenate([each.ravel() for each in tensors.values()])


def neurons(x):
    return np.sqrt((x**2).sum(-1, keepdims=True)) if x.ndim == 2 else np.linalg.norm(x)


def clipped_to_weights(g, p):
    most = 0.1 * np.maximum(neurons(p), 1e-3)
    return np.where(neurons(g) > most, g * most / np.maximum(neurons(g), 1e-6), g)


def cautious(u, g):
    mask = u * g > 0
    return u * mask / max(mask.mean(), 1e-3)


def of_each(function):
    return lambda first, *others: {
        name: function(first[name], *(each[name] for each in others)) for name in first
    }


FORMULAS = {
    "Normalize": ([Normalize()], [], lambda g, p: {n: x / np.linalg.norm(flat(g)) for n, x in g.items()}, None),
    "Sign": ([Sign()], [], of_each(lambda g, p: np.sign(g)), None),
    "Centralize": (
        [Centralize()], [], of_each(lambda g, p: g - g.mean(-1, keepdims=True) if g.ndim == 2 else g), None,
    ),
    "AdaptiveClip": ([AdaptiveClip(clipping=0.1)], [], of_each(clipped_to_weights), None),
    "ClipRMS": (
        [], [ClipRMS(threshold=0.5)], None, of_each(lambda u, g, p: u / max(1, np.sqrt((u**2).mean()) / 0.05)),
    ),
    "TrustRatio": (
        [], [TrustRatio()], None, of_each(lambda u, g, p: 0.1 * np.linalg.norm(p) / np.linalg.norm(u) * u),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_it_is_its_formula(name, rng):
    gradient, update, of_gradient, of_update = FORMULAS[name]
    found, start, grads = run(SGD, rng, gradient=gradient, update=update, lr=0.1)
    assert_equal(found, in_numpy(start, grads, of_gradient, of_update))


@pytest.mark.parametrize("rule", ["SGD", "Adam", "AdamW"])
@pytest.mark.parametrize("clip", ["norm", "value"])
def test_clipping_is_torchs(rule, clip, rng):
    torch = pytest.importorskip("torch")
    gradient = [ClipNorm(max_norm=0.7)] if clip == "norm" else [ClipValue(clip_value=0.3)]
    ours = {"SGD": SGD, "Adam": Adam, "AdamW": AdamW}[rule]
    found, start, grads = run(ours, rng, gradient=gradient, lr=0.1, groups=[{"params": "b"}, {"params": "w"}])
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in start.items()}
    optimizer = getattr(torch.optim, rule)(tensors.values(), lr=0.1)
    for grad in grads:
        for name, tensor in tensors.items():
            tensor.grad = torch.tensor(grad[name])
        if clip == "norm":
            torch.nn.utils.clip_grad_norm_(tensors.values(), 0.7)
        else:
            torch.nn.utils.clip_grad_value_(tensors.values(), 0.3)
        optimizer.step()
    assert_equal(found, {name: tensor.detach().numpy() for name, tensor in tensors.items()})


def test_a_cautious_rule_is_adamw_without_the_steps_uphill(rng):
    """In plain numbers; the weights decay apart from the mask, as in the authors' code."""
    found, start, grads = run(AdamW, rng, update=[Cautious()], lr=0.1, weight_decay=0.01)
    p, m = start, {name: np.zeros_like(value) for name, value in start.items()}
    v = {name: np.zeros_like(value) for name, value in start.items()}
    for t, grad in enumerate(grads, 1):
        for name, g in grad.items():
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.999 * v[name] + 0.001 * g**2
            u = 0.1 * (m[name] / (1 - 0.9**t)) / (np.sqrt(v[name] / (1 - 0.999**t)) + 1e-8)
            p[name] = (1 - 0.1 * 0.01) * p[name] - cautious(u, g)
    assert_equal(found, p)


def test_a_step_with_an_infinite_gradient_is_made_with_zeros(rng):
    params = Parameters(SHAPES, lanes=3, arrays=Arrays(dtype="float64"))
    params.data[:] = before = rng.normal(size=params.data.shape)
    optimizer = composed(SGD, gradient=[SkipNonFinite()])(params, lr=0.1)
    params.grad[:] = 1.0
    params.grad[0, 3], params.grad[2, 0] = np.inf, np.nan
    optimizer.step()
    np.testing.assert_array_equal(params.data[[0, 2]], before[[0, 2]])
    np.testing.assert_allclose(params.data[1], before[1] - 0.1)


def test_a_run_whose_gradient_is_infinite_ends_whatever_the_rule_makes_of_it():
    params = Parameters(SHAPES, lanes=2, arrays=Arrays(dtype="float64"))
    optimizer = composed(SGD, gradient=[StopNonFinite(), ClipValue()])(params, lr=0.1)
    params.grad[:] = 1.0
    params.grad[1, 3] = -np.inf
    optimizer.step()
    np.testing.assert_array_equal(np.isnan(params.data).all(axis=1), [False, True])
    np.testing.assert_allclose(params.data[0], -0.1)


def of_groups(transforms, rule, **of_biases):
    """Return what a step of SGD makes, whose biases have another rule or other options, all with the transforms."""
    params = Parameters(SHAPES, arrays=Arrays(dtype="float64"))
    params.grad[:] = np.arange(1.0, 17.0)
    made = composed(rule, **transforms)
    groups = [{"params": "w"}, {"params": "b", "rule": made.func, "lr": 1.0, **made.keywords, **of_biases}]
    composed(SGD, **transforms)(params, groups, lr=1.0).step()
    return params.data[0]


def test_a_norm_over_the_run_is_one_number_whatever_the_rules_of_its_groups_are():
    whole = np.sqrt((np.arange(1.0, 17.0) ** 2).sum())
    clipped = of_groups({"gradient": [ClipNorm(max_norm=1.0)]}, SGD, maximize=True)
    np.testing.assert_allclose(np.linalg.norm(clipped), 1.0, rtol=1e-6)
    # LAMB adds up more before its update is known: the groups meet in different stages.
    for rule in (SGD, LAMB):
        moved = of_groups({"update": [ClipRMS(threshold=1e-3, over="run")]}, rule)
        np.testing.assert_allclose(np.sqrt((moved**2).mean()), 1e-3, rtol=1e-9)
    params = Parameters(SHAPES, arrays=Arrays(dtype="float64"))
    params.grad[:] = np.arange(1.0, 17.0)
    parts = [{"params": "w"}, {"params": "b", "gradient.0.max_norm": 0.5}]
    composed(SGD, gradient=[ClipNorm(max_norm=1.0)])(params, parts, lr=1.0).step()
    np.testing.assert_allclose(params["w"][0], -params.grads["w"][0] / whole, rtol=1e-6)
    np.testing.assert_allclose(params["b"][0], -0.5 * params.grads["b"][0] / whole, rtol=1e-6)


def test_groups_change_no_bit_of_a_norm_over_the_run(rng):
    seed = rng.integers(1 << 30)
    groups = (None, [{"params": "b"}, {"params": "w"}], [{"params": "w"}, {"params": "b"}])
    found = [
        run(Adam, np.random.default_rng(seed), gradient=[ClipNorm(max_norm=0.5)], groups=each)[0]
        for each in groups
    ]
    assert len({flat(dict(sorted(each.items()))).tobytes() for each in found}) == 1


def test_options_are_hyperparameters_that_can_be_scheduled(rng):
    params = Parameters(SHAPES, arrays=Arrays(dtype="float64"))
    optimizer = composed(SGD, gradient=[ClipNorm(max_norm=2.0)])(params, lr=1.0)
    scheduler = ExponentialLR(optimizer, gamma=0.5, hyperparameter="gradient.0.max_norm")
    lengths = []
    for _ in range(3):
        params.grad[:] = 10.0
        before = params.data.copy()
        optimizer.step()
        lengths.append(np.linalg.norm(params.data - before))
        scheduler.step()
    np.testing.assert_allclose(lengths, [2.0, 1.0, 0.5], rtol=1e-6)


def test_a_config_is_the_composed_rule(rng):
    config = from_mapping(
        {
            "problem": {"name": "rosenbrock", "dim": 4},
            "optimizer": {
                "name": "AdamW",
                "lr": 0.1,
                "gradient": [{"name": "ClipNorm", "max_norm": 0.5}, "Sign"],
                "update": ["Cautious"],
            },
            "steps": 20,
        }
    )
    pack = Pack([config])
    direct = Parameters(pack.params.shapes, arrays=pack.params.arrays)
    direct.data[:] = pack.params.data
    rule = composed(AdamW, gradient=[ClipNorm(max_norm=0.5), Sign()], update=[Cautious()])(direct, lr=0.1)
    for _ in pack.iterate(0):
        direct.grad[:] = pack.params.grad
        rule.step()
    assert direct.data.tobytes() == pack.params.data.tobytes()


GROUPS = """
problem: {name: mlp, data: iris, hidden: [4]}
optimizer:
  name: SGD
  lr: 0.1
  momentum: 0.5
  gradient: [{name: ClipNorm, max_norm: 0.2}]
  param_groups:
    - {params: layer1.bias, gradient: [{name: ClipValue, clip_value: 0.01}], update: [Cautious]}
    - {params: layer2.bias, gradient: null, schedules: {momentum: {name: ConstantLR, factor: 0.0, total_iters: 99}}}
    - {params: layer2.weight, name: Adam, lr: 0.01}
schedules: {gradient.0.max_norm: {name: ExponentialLR, gamma: 0.5}}
record: {metrics: [gradient.0.max_norm]}
steps: 6
"""


def test_groups_have_transforms_of_their_own_and_options_of_transforms_schedules():
    pack = Pack([parse(GROUPS)])
    p = {name: value[0].copy() for name, value in pack.params.items()}
    kept = {name: np.zeros_like(value) for name, value in p.items()}
    m, v = np.zeros_like(p["layer2.weight"]), np.zeros_like(p["layer2.weight"])
    for t, _ in pack.iterate(0):
        g = {name: value[0].copy() for name, value in pack.params.grads.items()}
        # The norm is over the parameters whose gradient it clips.
        clipped = ["layer1.weight", "layer2.weight"]
        factor = min(1.0, 0.2 * 0.5**t / (np.linalg.norm(flat({name: g[name] for name in clipped})) + 1e-6))
        for name in clipped:
            g[name] = factor * g[name]
        g["layer1.bias"] = np.clip(g["layer1.bias"], -0.01, 0.01)
        for name in ("layer1.weight", "layer1.bias"):
            kept[name] = 0.5 * kept[name] + g[name]
        p["layer1.weight"] -= 0.1 * kept["layer1.weight"]
        p["layer1.bias"] -= cautious(0.1 * kept["layer1.bias"], g["layer1.bias"])
        p["layer2.bias"] -= 0.1 * g["layer2.bias"]
        m, v = 0.9 * m + 0.1 * g["layer2.weight"], 0.999 * v + 0.001 * g["layer2.weight"] ** 2
        p["layer2.weight"] -= 0.01 * (m / (1 - 0.9 ** (t + 1))) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
    for name, value in p.items():
        np.testing.assert_allclose(pack.params[name][0], value, rtol=2e-5, atol=1e-7)


NOISY = """
problem: {name: mlp, data: iris, hidden: [4]}
optimizer:
  name: SGD
  lr: 0.1
  gradient: [{name: AddNoise, eta: 0.3, gamma: 0.7}]
  param_groups: [{params: layer1.*, lr: 0.01}]
steps: 8
dtype: float64
seed: 5
"""


def test_noise_fades_and_depends_on_the_seed_and_the_step_alone():
    """In groups, whose order in memory is another one than the problem's; resumed in between."""
    quiet = NOISY.replace("eta: 0.3", "eta: 0.0")
    configs = [
        parse(text.replace("seed: 5", f"seed: {seed}")) for text, seed in ((quiet, 5), (NOISY, 6), (NOISY, 5))
    ]
    together = Pack(configs)
    assert list(together.params)[:2] != list(together.problem.shapes)[:2]
    names, p = list(together.problem.shapes), {n: v[2].copy() for n, v in together.params.items()}
    for t, _ in together.iterate(0):
        draws = stream(5, "optimizer", t).standard_normal(together.params.size)
        for name in names:
            shape = p[name].shape
            drawn, draws = draws[: p[name].size].reshape(shape), draws[p[name].size :]
            g = together.params.grads[name][2] + np.sqrt(0.3 / (t + 1) ** 0.7) * drawn
            p[name] = p[name] - (0.01 if name.startswith("layer1") else 0.1) * g
    for name in names:
        np.testing.assert_allclose(together.params[name][2], p[name], rtol=1e-12, atol=1e-14)
    for lane in range(3):
        first, second = Pack(configs[lane : lane + 1]), Pack(configs[lane : lane + 1])
        for _ in first.iterate(0, 3):
            pass
        second.load_state(*first.state())
        for _ in second.iterate(3):
            pass
        assert second.params.data[0].tobytes() == np.ascontiguousarray(together.params.data[lane]).tobytes()
    assert not seed_is_idle(together, configs[0])


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ("gradient.0.max_norm: ", "gradient.0.max_nor: "),
        ("gradient.0.max_norm: ", "gradient.1.max_norm: "),
        ("gradient.0.max_norm: ", "gradient.0.over: "),
        ("[{name: ClipValue, clip_value: 0.01}]", "[{name: ClipValue, clip_value: -1}]"),
        ("momentum: {name", "gradient.0.max_norm: {name"),
    ],
)
def test_a_schedule_of_no_float_of_a_transform_is_refused(wrong, place):
    with pytest.raises(ConfigErrors):
        parse(GROUPS.replace(wrong, place, 1))


def test_a_transform_without_a_result_and_a_wrapper_without_a_rule_are_named_with_their_line(monkeypatch):
    restore_after(monkeypatch, gradient_transforms, wrappers)

    class Forget(GradientTransform):
        @staticmethod
        def apply(g, p, t, /):
            g * 2.0

    class Drop(Wrapper):
        @staticmethod
        def apply(rule, p, g, lr, t, /):
            p -= lr * g

    params = Parameters(SHAPES, arrays=Arrays())
    with pytest.raises(PluginError, match=r"Forget\.apply returns None, .* \(.*test_transforms\.py:\d+\)"):
        composed(SGD, gradient=[Forget()])(params)
    with pytest.raises(
        PluginError, match=r"Drop\.apply makes no step of the rule inside: .*test_transforms\.py:\d+"
    ):
        composed(SGD, wrap=[Drop()])(params)


def test_a_rule_that_evaluates_the_loss_itself_takes_no_transforms():
    with pytest.raises(ConfigError, match="LBFGS evaluates the loss itself, so it takes no transforms"):
        composed(LBFGS, gradient=[Sign()])
    with pytest.raises(ConfigError, match="ClipNorm: max_norm must be > 0"):
        composed(Muon, gradient=[ClipNorm(max_norm=-1)])


WSD = "min(1, (t + 1) / 20) * min(1, (200 - t) / 60)"


def orthogonalised(grad, coefficients, steps, eps):
    """Newton-Schulz in the dtype of the gradient, which torch rounds to bfloat16."""
    a, b, c = coefficients
    x = grad.T if grad.shape[0] > grad.shape[1] else grad
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if grad.shape[0] > grad.shape[1] else x


def test_muon_on_matrices_and_adamw_on_the_rest_clipped_scheduled_and_averaged_is_torchs(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr("torch.optim._muon._zeropower_via_newtonschulz", orthogonalised)
    config = from_mapping(
        {
            "problem": {"name": "mlp", "data": "iris", "hidden": [6, 5], "activation": "tanh"},
            "optimizer": {
                "name": "Muon",
                "lr": 0.02,
                "gradient": [{"name": "ClipNorm", "max_norm": 0.3}],
                "param_groups": [
                    {"params": "*.bias", "name": "AdamW", "lr": 0.01, "betas": [0.9, 0.99]},
                ],
            },
            "scheduler": {"name": "LambdaLR", "lr_lambda": WSD},
            "average": {"name": "EMA", "decay": 0.9},
            "steps": 200,
            "dtype": "float64",
        }
    )
    pack = Pack([config])
    tensors = {name: torch.tensor(np.array(value[0])) for name, value in pack.params.items()}
    # torch's matrices are [out, in], on which Muon's factor depends.
    matrices = [tensors[name].mT.contiguous() for name in tensors if name.endswith("weight")]
    vectors = [tensors[name] for name in tensors if not name.endswith("weight")]
    weights = [name for name in tensors if name.endswith("weight")]
    biases = [name for name in tensors if not name.endswith("weight")]
    optimizers = [torch.optim.Muon(matrices, lr=0.02), torch.optim.AdamW(vectors, lr=0.01, betas=(0.9, 0.99))]

    def factor(t):
        return min(1, (t + 1) / 20) * min(1, (200 - t) / 60)

    schedules = [torch.optim.lr_scheduler.LambdaLR(each, factor) for each in optimizers]
    average = None
    for _ in pack.iterate(0):
        for name, matrix in zip(weights, matrices, strict=True):
            matrix.grad = torch.tensor(pack.params.grads[name][0]).mT.contiguous()
        for name, vector in zip(biases, vectors, strict=True):
            vector.grad = torch.tensor(pack.params.grads[name][0])
        torch.nn.utils.clip_grad_norm_([*matrices, *vectors], 0.3)
        for each in [*optimizers, *schedules]:
            each.step()
        now = [each.clone() for each in [*matrices, *vectors]]
        average = now if average is None else [0.9 * a + 0.1 * p for a, p in zip(average, now, strict=True)]
    for ours, last, mean in zip([*weights, *biases], now, average, strict=True):
        of = (lambda x: x.mT) if ours.endswith("weight") else (lambda x: x)
        np.testing.assert_allclose(pack.params[ours][0], of(last).numpy(), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(pack.averaged()[ours][0], of(mean).numpy(), rtol=1e-10, atol=1e-12)
