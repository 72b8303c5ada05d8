"""Rules around rules: against optax, and the papers in plain NumPy."""

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.config import from_mapping
from optrun.errors import ConfigError, PluginError
from optrun.optim import SGD, AdamW
from optrun.optim.transforms import (
    ASAM,
    SAM,
    Accumulate,
    ClipNorm,
    EMANesterov,
    Hyperball,
    Lookahead,
    Mechanic,
    ScheduleFree,
    Wrapper,
    composed,
)
from optrun.schedulers import LinearLR
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer

STEPS = 150
CURVATURE = np.array([1.0, 10.0, 3.0, 0.3, 30.0])
START = np.array([0.3, 0.7, -1.1, 2.0, -0.4])


def slope(x, t):
    return CURVATURE * (x - np.array([1.0, -2.0, 0.5, 0.0, 1.0])) + 0.1 * np.sin(t * np.arange(1, 6))


def ours(rule, wrap, *, steps=STEPS, gradient=(), warmup=0, maximize=False, **options):
    """Return the parameters after each step, and the optimizer."""
    params = Parameters({"w": (3,), "b": (2,)}, arrays=Arrays(dtype="float64"))
    params.data[:] = START
    made = composed(rule, gradient=gradient, wrap=wrap)
    optimizer = made(params, [{"params": "b"}, {"params": "w"}], maximize=maximize, **options)
    scheduler = LinearLR(optimizer, start_factor=0.0, total_iters=warmup) if warmup else None
    path = []
    for t in range(steps):
        params.grad[:] = (-1 if maximize else 1) * slope(params.data[0], t)
        optimizer.step()
        if scheduler:
            scheduler.step()
        path.append(params.data[0].copy())
    return np.array(path), optimizer


def optaxs(make):
    """Return the parameters after each step of what optax makes, and those that it would evaluate at the end."""
    pytest.importorskip("optax")
    import jax
    import optax

    with jax.enable_x64(True):
        rule = make(optax)
        params, update = jax.numpy.array(START), jax.jit(rule.update)
        state, path = rule.init(params), []
        for t in range(STEPS):
            updates, state = update(jax.numpy.array(slope(np.array(params), t)), state, params)
            params = optax.apply_updates(params, updates)
            path.append(np.array(params))
        if hasattr(state, "weight_sum"):
            return np.array(path), np.array(optax.contrib.schedule_free_eval_params(state, params))
    return np.array(path), None


def assert_equal(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def sgd(lr, momentum=0.0):
    """Return a function from the gradient to the update of plain SGD with momentum."""
    buffer = np.zeros_like(START)

    def update(g):
        buffer[:] = momentum * buffer + g
        return lr * buffer

    return update


@pytest.mark.parametrize(("k", "alpha"), [(5, 0.5), (3, 0.8), (1, 1.0)])
def test_lookahead_goes_a_part_of_the_way_every_k_steps(k, alpha):
    found, _ = ours(SGD, [Lookahead(k=k, alpha=alpha)], lr=0.02, momentum=0.9)
    x, slow, update = START.copy(), START.copy(), sgd(0.02, 0.9)
    for t in range(STEPS):
        x = x - update(slope(x, t))
        if (t + 1) % k == 0:
            x = slow = slow + alpha * (x - slow)
        assert_equal(found[t], x)


@pytest.mark.full
def test_lookahead_is_optaxs():
    pytest.importorskip("optax")
    import jax
    import optax

    found, _ = ours(AdamW, [Lookahead(k=4, alpha=0.3)], lr=0.05)
    with jax.enable_x64(True):
        rule = optax.lookahead(optax.adamw(0.05, weight_decay=0.01), sync_period=4, slow_step_size=0.3)
        params = optax.LookaheadParams.init_synced(jax.numpy.array(START))
        state, update = rule.init(params), jax.jit(rule.update)
        for t in range(STEPS):
            grads = jax.numpy.array(slope(np.array(params.fast), t))
            updates, state = update(grads, state, params)
            params = optax.apply_updates(params, updates)
            assert_equal(found[t], np.array(params.fast))


@pytest.mark.full
@pytest.mark.parametrize("warmup", [0, 20])
@pytest.mark.parametrize("rule", ["SGD", "AdamW"])
def test_schedule_free_is_optaxs(rule, warmup):
    lr = 0.005 if rule == "SGD" else 0.05

    def make(optax):
        def rate(count, first=0):
            return lr * jax.numpy.minimum((count - first).astype("float64") / warmup, 1.0) if warmup else lr

        base = optax.sgd(rate) if rule == "SGD" else optax.adamw(rate, b1=0.0, weight_decay=0.02)
        # optax counts the steps of the weights from 1, of the rule's rate from 0.
        return optax.contrib.schedule_free(base, lambda count: rate(count, 1), b1=0.8)

    jax = pytest.importorskip("jax")
    expected, expected_x = optaxs(make)
    options = {"lr": lr} if rule == "SGD" else {"lr": lr, "beta1": 0.0, "weight_decay": 0.02}
    made = SGD if rule == "SGD" else AdamW
    found, optimizer = ours(made, [ScheduleFree(beta=0.8)], warmup=warmup, **options)
    assert_equal(found, expected)
    evaluated = np.concatenate([optimizer.at_evaluation()[name][0] for name in ("w", "b")])
    assert_equal(evaluated, expected_x)


def test_schedule_free_is_its_paper_with_weights_that_grow():
    found, _ = ours(SGD, [ScheduleFree(beta=0.9, weight_lr_power=1.0, r=0.5)], warmup=10, lr=0.02)
    x = y = z = START.copy()
    total = largest = 0.0
    for t in range(STEPS):
        lr = 0.02 * min(1.0, t / 10)
        largest = max(largest, lr)
        weight = (t + 1) ** 0.5 * largest
        total += weight
        z = z - lr * slope(y, t)
        c = weight / total if total else 0.0
        x = (1 - c) * x + c * z
        y = 0.1 * z + 0.9 * x
        assert_equal(found[t], y)


def test_ema_nesterov_is_its_paper():
    found, optimizer = ours(SGD, [EMANesterov(beta=0.8, gamma=0.9)], lr=0.01, momentum=0.5)
    x, y, m, update = START, START, 0.0, sgd(0.01, 0.5)
    for t in range(STEPS):
        x, before = y - update(slope(y, t)), x
        m = 0.9 * m + 0.1 * (x - before)
        y = x + 0.8 * m
        assert_equal(found[t], y)
    assert_equal(np.concatenate([optimizer.at_evaluation()[name][0] for name in ("w", "b")]), x)


def mechanic(update, *, s_init=1e-6, decay=1e-2, eps=1e-8, recomputed=False):
    """Yield the parameters of Mechanic in the authors' form, with Δ as in the paper or computed from θ."""
    betas = 1 - 0.1 ** np.arange(1.0, 7.0)
    r, m, v, s = np.zeros(6), np.zeros(6), np.zeros(6), np.full(6, s_init)
    x, kept = START.copy(), np.zeros_like(START)
    for t in range(STEPS):
        g = slope(x, t)
        delta = (START - x) / (s.sum() + eps) if recomputed else kept
        h = (g + decay * s.sum() * np.linalg.norm(g) / (np.linalg.norm(x) + eps) * x) @ delta
        kept = delta + update(g)
        r = betas * r + s * np.clip(h, -m, m)
        v = betas**2 * v + h**2
        m = np.maximum(betas * m, abs(h) + eps)
        s = (s_init / 6 * m + np.maximum(r, 0)) / (np.sqrt(v) + eps)
        x = START - s.sum() * kept
        yield x


def test_mechanic_is_its_paper():
    found, _ = ours(SGD, [Mechanic()], lr=1.0, momentum=0.9)
    assert_equal(found, list(mechanic(sgd(1.0, 0.9))))
    found, _ = ours(SGD, [Mechanic(s_init=1e-4, decay=0.1)], lr=1.0, maximize=True)
    assert_equal(found, list(mechanic(sgd(1.0), s_init=1e-4, decay=0.1)))


@pytest.mark.full
def test_mechanic_departs_from_optax_in_how_the_sum_of_updates_is_kept():
    expected, _ = optaxs(lambda optax: optax.contrib.mechanize(optax.sgd(1.0)))
    # Differences of nearly equal numbers, divided by a small one.
    np.testing.assert_allclose(list(mechanic(sgd(1.0), recomputed=True))[:80], expected[:80], rtol=1e-7)
    assert abs(ours(SGD, [Mechanic()], lr=1.0)[0] - expected).max() > 1e-3


def test_hyperball_keeps_the_norm_of_every_tensor():
    found, _ = ours(AdamW, [Hyperball()], lr=0.03, weight_decay=0.0)
    x, m, v = START.copy(), np.zeros_like(START), np.zeros_like(START)
    radii = [np.linalg.norm(START[part]) for part in (slice(0, 3), slice(3, 5))]
    for t in range(STEPS):
        g = slope(x, t)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        u = m / (1 - 0.9 ** (t + 1)) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)
        for part, radius in zip((slice(0, 3), slice(3, 5)), radii, strict=True):
            moved = x[part] - 0.03 * radius * u[part] / np.linalg.norm(u[part])
            x[part] = radius * moved / np.linalg.norm(moved)
        assert_equal(found[t], x)


def probed(wrap, grad, *, steps=STEPS, **options):
    """Return the parameters after each step with a gradient that depends on where it is taken."""
    params = Parameters({"w": (3,), "b": (2,)}, arrays=Arrays(dtype="float64"))
    params.data[:] = START
    optimizer = composed(SGD, wrap=wrap)(params, [{"params": "b"}, {"params": "w"}], **options)
    path, calls = [], []

    def closure():
        calls.append(params.data[0].copy())
        params.grad[:] = grad(params.data[0], len(path))
        return float(len(calls))

    for t in range(steps):
        assert optimizer.step(closure) == 2 * t + 1
        path.append(params.data[0].copy())
    assert len(calls) == 2 * steps
    return np.array(path)


def bent(x, t):
    return slope(x, t) + np.sin(3 * x)


@pytest.mark.parametrize("wrapper", [SAM(rho=0.2), ASAM(rho=0.2, eta=0.05)], ids=["SAM", "ASAM"])
def test_the_gradient_is_taken_where_the_loss_is_higher(wrapper):
    found = probed([wrapper, Lookahead(k=4)], bent, lr=0.02, momentum=0.9)
    x, slow, update = START.copy(), START.copy(), sgd(0.02, 0.9)
    for t in range(STEPS):
        g = bent(x, t)
        scale = np.abs(x) + 0.05 if isinstance(wrapper, ASAM) else 1.0
        x = x - update(bent(x + 0.2 * scale**2 * g / np.linalg.norm(scale * g), t))
        if (t + 1) % 4 == 0:
            x = slow = slow + 0.5 * (x - slow)
        assert_equal(found[t], x)


@pytest.mark.full
def test_sam_is_optaxs():
    pytest.importorskip("optax")
    import jax
    import optax

    found = probed([SAM(rho=0.3)], bent, lr=0.02, steps=60)
    with jax.enable_x64(True):
        ascent = optax.chain(optax.contrib.normalize(), optax.sgd(0.3))
        rule = optax.contrib.sam(optax.sgd(0.02), ascent, opaque_mode=True)
        params = jax.numpy.array(START)
        state = rule.init(params)
        for t in range(60):

            def grad(x, _, t=t):
                return jax.numpy.array(bent(np.array(x), t))

            updates, state = rule.update(grad(params, 0), state, params, grad_fn=grad)
            params = optax.apply_updates(params, updates)
            assert_equal(found[t], np.array(params))


def test_a_step_of_sam_needs_a_closure_and_has_one_second_gradient():
    params = Parameters.of({"x": START}, arrays=Arrays(dtype="float64"))
    with pytest.raises(ConfigError, match=r"SGD \+ SAM: step needs a closure"):
        composed(SGD, wrap=[SAM()])(params).step()
    with pytest.raises(ConfigError, match="SAM and ASAM take a second gradient: only one of them can"):
        composed(SGD, wrap=[SAM(), ASAM()])


def test_rho_is_swept_scheduled_and_read():
    """In a pack, with another rule for some parameters; a lane is its solo run, which takes up where it stopped."""
    configs = [
        from_mapping(
            {
                "problem": {"name": "mlp", "data": "iris", "hidden": [4], "batch_size": 16},
                "optimizer": {
                    "name": "AdamW",
                    "wrap": [{"name": "SAM", "rho": rho}],
                    "param_groups": [{"params": "*.bias", "name": "SGD", "lr": 0.01}],
                },
                "steps": 12,
            }
        )
        for rho in (0.0, 0.1, 0.4)
    ]
    together, alone = Pack(configs), Pack(configs[1:2])
    assert together.optimizer.is_read("wrap.0.rho")
    for _ in together.iterate(0):
        pass
    for _ in alone.iterate(0, 5):
        pass
    arrays, state = alone.state()
    again = Pack(configs[1:2])
    again.load_state(arrays, state)
    for _ in again.iterate(5):
        pass
    found = np.ascontiguousarray(together.params.data)
    assert found[1].tobytes() == again.params.data.tobytes()
    assert found[0].tobytes() != found[1].tobytes() != found[2].tobytes()


def test_accumulated_gradients_make_one_step_with_their_mean():
    found, _ = ours(AdamW, [Accumulate(n=3)], lr=0.05, gradient=[ClipNorm(max_norm=5.0)])
    x, m, v = START.copy(), np.zeros_like(START), np.zeros_like(START)
    for t in range(STEPS):
        if t % 3 == 0:
            total, step = np.zeros_like(x), t // 3 + 1
        total = total + slope(x, t)
        if t % 3 == 2:
            g = total / 3
            g = g * min(1.0, 5.0 / (np.linalg.norm(g) + 1e-6))
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            u = m / (1 - 0.9**step) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
            x = (1 - 0.05 * 0.01) * x - 0.05 * u
        assert_equal(found[t], x)


@pytest.mark.full
def test_accumulation_is_optaxs():
    expected, _ = optaxs(
        lambda optax: optax.MultiSteps(optax.adamw(0.05, weight_decay=0.01), 3).gradient_transformation()
    )
    # optax divides by a count in float32.
    np.testing.assert_allclose(ours(AdamW, [Accumulate(n=3)], lr=0.05)[0], expected, rtol=1e-6)


def test_each_wrapper_is_around_those_before_it():
    wrap = [Lookahead(k=2, alpha=0.5), Lookahead(k=3, alpha=0.25)]
    found, _ = ours(SGD, wrap, lr=0.02, gradient=[ClipNorm(max_norm=5.0)])
    x, inner, outer = START.copy(), START.copy(), START.copy()
    for t in range(STEPS):
        g = slope(x, t)
        x = x - 0.02 * g * min(1.0, 5.0 / (np.linalg.norm(g) + 1e-6))
        if (t + 1) % 2 == 0:
            x = inner = inner + 0.5 * (x - inner)
        if (t + 1) % 3 == 0:
            x = outer = outer + 0.25 * (x - outer)
        assert_equal(found[t], x)


@pytest.mark.parametrize("inside", [ScheduleFree(), Mechanic()])
def test_nothing_is_around_what_sets_the_parameters_from_its_own_states(inside):
    with pytest.raises(ConfigError, match="nothing of Lookahead around it would stay: put it last"):
        composed(SGD, wrap=[inside, Lookahead()])
    composed(SGD, wrap=[Lookahead(), inside, SAM()])


def config(**more):
    return from_mapping(
        {
            "problem": {"name": "rosenbrock", "dim": 3},
            "optimizer": {"name": "SGD", "lr": 1e-3, "wrap": [{"name": "ScheduleFree", "beta": 0.5}]},
            "steps": 30,
            **more,
        }
    )


@pytest.mark.parametrize("steps", [1, 30])
def test_what_is_evaluated_and_kept_is_the_average(steps):
    configs = [config(seed=seed, steps=steps) for seed in (0, 1)]
    pack, memory = Pack(configs), MemoryStore(configs)
    Trainer(pack, memory).run()
    kept, record = memory.params(1), memory.run(1)
    x = pack.optimizer.at_evaluation()
    problem = Pack(configs).problem
    assert record.summary["final_loss"] == problem.evaluate(x)["loss"][1]
    assert record.summary["final_loss"] != problem.evaluate(pack.params)["loss"][1] or steps == 1
    assert not [name for name in (*kept, *record.summary) if "average" in name]
    for name, values in x.items():
        assert kept[name].tobytes() == np.ascontiguousarray(values[1]).tobytes()


def test_a_mistake_in_a_wrapper_is_told_at_its_place():
    with pytest.raises(ConfigError, match="Lookahead: k must be ≥ 1"):
        Lookahead(k=0)
    with pytest.raises(Exception, match=r"optimizer\.wrap\.0\.betta"):
        config(optimizer={"name": "SGD", "wrap": [{"name": "ScheduleFree", "betta": 0.5}]})
    with pytest.raises(TypeError, match="evaluates 'x', which is none of its states"):

        class _Elsewhere(Wrapper):
            evaluated = "x"

            @staticmethod
            def apply(rule, p, g, lr, t, /, y):
                rule.step(p, g)

    class _Twice(Wrapper):
        @staticmethod
        def apply(rule, p, g, lr, t, /):
            p -= rule.update(p, g)
            rule.step(p, g)

    with pytest.raises(PluginError, match="the step of the rule inside is made once"):
        ours(SGD, [_Twice()], steps=1, lr=0.1)
