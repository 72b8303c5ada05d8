"""Kinds of noise: their statistics, and that lanes and resumed runs have the bits of their solo runs."""

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.config import from_mapping
from optrun.errors import ConfigError
from optrun.problems.functions.bowls import Sphere
from optrun.problems.noise import KINDS
from optrun.training.checkpoints import select_arrays
from optrun.training.config_notes import draws_batches
from optrun.training.pack import Pack

EXAMPLES = {
    "gaussian": [{"scale": 0.5}, {"scale": 0.0}],
    "heavy_tailed": [{"scale": 0.5, "df": 3.0}, {"scale": 1.0, "df": 1.5}],
    "correlated": [{"scale": 0.5, "rho": 0.9}, {"scale": 1.0, "rho": -0.5}],
    "value": [{"scale": 0.5}, {"scale": 2.0}],
    "quantised": [{"step": 0.25, "stochastic": True}, {"step": 0.1, "stochastic": True}],
    "delayed": [{"steps": 3}, {"steps": 3}],
    "sparse": [{"fraction": 0.5}, {"fraction": 0.9}],
}


def lanes(kind, dtype="float32", steps=12):
    """Configs of lanes with other numbers, seeds and starts, each with a second kind of noise behind the first."""
    return [
        from_mapping(
            {
                "problem": {
                    "name": "rosenbrock",
                    "start": [0.5 + 0.1 * lane, 1.0],
                    "noise": [{"kind": kind, **EXAMPLES[kind][lane % 2]}, 0.01],
                },
                "optimizer": {"name": "SGD", "lr": 1e-3},
                "steps": steps,
                "seed": lane // 2,
                "dtype": dtype,
            }
        )
        for lane in range(5)
    ]


def ran(configs, *, stop=None, state=None):
    """The parameters and losses of a run to its end, or to the gradient of a step; and what is kept then."""
    pack, losses = Pack(configs), []
    start = 0
    if state is not None:
        pack.load_state(*state)
        start = 7
    for t, loss in pack.iterate(start):
        if t == stop:
            arrays, rest = pack.state()
            return select_arrays(arrays, range(len(configs))), rest
        losses.append(loss.copy())
    return [(pack.params["x"][i].tobytes(), losses[-1][i].tobytes()) for i in range(len(configs))]


@pytest.mark.parametrize("kind", KINDS)
def test_a_noisy_lane_has_the_bits_of_its_solo_run_and_of_its_resumed_run(kind):
    configs = lanes(kind)
    whole = ran(configs)
    assert len({params for params, _ in whole}) == len(configs)
    assert whole == [ran([each])[0] for each in configs]
    # Between the gradient of a step and its update, as checkpoints are taken; on the way lanes are left out.
    arrays, rest = ran(configs, stop=7)
    some = [0, 3, 4]
    resumed = ran([configs[i] for i in some], state=(select_arrays(arrays, some), rest.select(some)))
    assert resumed == [whole[i] for i in some]


def told(noise, steps=2, dim=20_000, at=0.7):
    """What a run is told of a sphere: losses, and gradients less the exact ones, `[steps, dim]`."""
    problem = Sphere(Arrays(dtype="float64"), dim=dim, noise=noise)
    params = Parameters(problem.shapes, arrays=problem.arrays)
    params.data[:] = at
    batches, losses, grads = problem.batches([3]), [], []
    for t in range(steps):
        losses.append(problem.loss_and_grad(params, params.grads, batches[t])[0])
        grads.append(params.grad[0] - 2 * at)
    return np.array(losses), np.array(grads)


def test_the_noise_of_each_kind_has_its_distribution():
    stats = pytest.importorskip("scipy.stats")
    _, plain = told(0.5)
    _, gaussian = told({"kind": "gaussian", "scale": 0.5})
    assert (gaussian == plain).all()
    assert stats.kstest(gaussian[0], stats.norm(scale=0.5).cdf).pvalue > 0.01
    _, heavy = told({"kind": "heavy_tailed", "scale": 0.5, "df": 1.5})
    assert stats.kstest(heavy[0] / 0.5, stats.t(1.5).cdf).pvalue > 0.01
    _, correlated = told({"kind": "correlated", "scale": 0.5, "rho": 0.8}, steps=70)
    for t in (0, 69):  # stationary from the first step on, and across blocks
        assert stats.kstest(correlated[t], stats.norm(scale=0.5).cdf).pvalue > 0.01
    for lag in (1, 2, 6):
        assert np.corrcoef(correlated[69], correlated[69 - lag])[0, 1] == pytest.approx(0.8**lag, abs=0.03)
    values, exact = told({"kind": "value", "scale": 2.0}, steps=500, dim=1)
    assert not exact.any()
    assert stats.kstest(values - 0.49, stats.norm(scale=2.0).cdf).pvalue > 0.01
    _, sparse = told({"kind": "sparse", "fraction": 0.25})
    assert set(np.unique(sparse[0] + 1.4)) == {0.0, 1.4 / 0.25}
    assert (sparse[0] > 0).mean() == pytest.approx(0.25, abs=0.01)


def test_gradients_are_quantised_and_delayed():
    _, nearest = told({"kind": "quantised", "step": 0.25})
    assert (nearest + 1.4 == 1.5).all()
    _, either = told({"kind": "quantised", "step": 0.25, "stochastic": True})
    np.testing.assert_allclose(np.unique(either + 1.4), [1.25, 1.5])
    assert either.mean() == pytest.approx(0.0, abs=0.005)
    problem = Sphere(Arrays(dtype="float64"), dim=1, noise={"kind": "delayed", "steps": 2})
    params = Parameters(problem.shapes, arrays=problem.arrays)
    found = []
    for t in range(6):
        params.data[:] = t
        for _ in range(2):  # a line search asks more than once
            problem.loss_and_grad(params, params.grads, problem.batches([0])[t])
        found.append(params.grad[0, 0])
    assert found == [0, 0, 0, 2, 4, 6]
    assert not draws_batches(problem)


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (-1.0, r"noise must be ≥ 0 \(got -1.0\)$"),
        ("much", r"noise must be a number or a mapping or a list \(got 'much'\)$"),
        ({"scale": 1.0}, r"noise\.kind: missing$"),
        ({"kind": "gausian", "scale": 1.0}, r"noise\.kind must be .*Did you mean 'gaussian'"),
        ({"kind": "heavy_tailed", "scale": -1.0, "df": 2.0}, r"noise\.scale must be ≥ 0 \(got -1.0\)$"),
        ({"kind": "delayed"}, r"noise\.steps: missing$"),
        ({"kind": "sparse", "fraction": 0.5, "scale": 1.0}, r"noise\.scale: unknown key"),
        ([0.1, {"kind": "sparse", "fraction": 2.0}], r"noise\.1\.fraction must be ≤ 1 \(got 2.0\)$"),
        ([0.1, "much"], r"noise\.1 must be a number or a mapping \(got 'much'\)$"),
        ([], "noise must have at least 1 item"),
        ([-1.0], r"noise\.0 must be ≥ 0"),
    ],
)
def test_what_is_no_noise_is_refused_at_its_place(noise, message):
    with pytest.raises(ConfigError, match=message):
        Sphere(Arrays(), noise=noise)
