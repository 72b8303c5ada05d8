"""Laws that every registered problem keeps."""

import math
import tracemalloc

import numpy as np
import pytest

from optrun.arrays import Parameters, one_blas_thread
from optrun.errors import ConfigError
from optrun.kernels.denormals import denormals
from optrun.problems import batches
from optrun.problems.supervised import Supervised
from optrun.registry import problems
from tests.optim.samples import in_turn
from tests.problems.cases import CASES, build, case_id, pack

each_case = pytest.mark.parametrize("case", CASES, ids=case_id)
each_fast_case = pytest.mark.parametrize("case", [c for c in CASES if build(c).lane_fast], ids=case_id)
each_solved_case = pytest.mark.parametrize(
    "case", [c for c in CASES if build(c).minimum is not None], ids=case_id
)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_blas_thread:
        yield


def step(problem, params, seeds, t):
    """The loss, the gradient and the metrics of step t, as bytes of each lane."""
    loss = problem.loss_and_grad(params, params.grads, problem.batches(seeds)[t]).copy()
    results = [loss, params.grad.copy(), *problem.evaluate(params).values()]
    return [b"".join(result[lane].tobytes() for result in results) for lane in range(len(seeds))]


def solo(problem, seed, t):
    return step(problem, pack(problem, [seed]), [seed], t)[0]


@each_dtype
@each_case
def test_a_lane_has_the_bits_of_its_solo_run(case, dtype):
    problem = build(case, dtype)
    last = problem.steps_per_epoch - 1
    for width in (2, 3, 8, 257):
        seeds = list(range(100, 100 + width))
        lanes = step(problem, pack(problem, seeds), seeds, last)
        for lane in {0, 1, width // 2, width - 1}:
            assert lanes[lane] == solo(problem, seeds[lane], last), (width, lane)


@pytest.mark.parametrize(("case", "dtype"), in_turn(zip(CASES), ("float32", "float64")), ids=str)
def test_a_lane_without_denormals_has_the_bits_of_its_solo_run(case, dtype):
    """Far from where it starts a classifier is sure: what it has no doubt of, it would take a denormal for."""
    problem = build(case, dtype)

    def far(seeds):
        params = pack(problem, seeds)
        params.data *= 50
        params.data += 1e-37
        return step(problem, params, seeds, 0)

    seeds = list(range(100, 108))
    with denormals(flushed=True), np.errstate(all="ignore"):
        assert far(seeds) == [far([seed])[0] for seed in seeds]


@each_dtype
@pytest.mark.parametrize("width", [2, 5, 16])
def test_a_lane_of_a_full_sized_network_has_the_bits_of_its_solo_run(width, dtype):
    problem = build(("mlp", {"data": "digits", "hidden": [64, 64], "batch_size": 128}), dtype)
    seeds = list(range(width))
    lanes = step(problem, pack(problem, seeds), seeds, 3)
    assert lanes == [solo(problem, seed, 3) for seed in seeds]


@each_case
def test_lanes_of_one_seed_have_the_bits_of_lanes_of_several(case):
    problem = build(case, "float32")
    shared = step(problem, pack(problem, [7, 7, 7]), [7, 7, 7], 1)
    mixed = step(problem, pack(problem, [7, 8, 7]), [7, 8, 7], 1)
    assert mixed[0] == mixed[2] == shared[0] == shared[1] == shared[2]


@pytest.mark.parametrize(
    ("case", "value", "dtype"), in_turn(zip(CASES), (np.nan, np.inf), ("float32", "float64")), ids=str
)
def test_a_diverged_lane_leaves_its_neighbours_alone(case, dtype, value):
    problem = build(case, dtype)
    seeds = [1, 2, 3]
    params = pack(problem, seeds)
    params.data[1] = value
    with np.errstate(all="ignore"):
        lanes = step(problem, params, seeds, 0)
        loss = problem.loss_and_grad(params, params.grads, problem.batches(seeds)[0])
    assert not np.isfinite(loss[1])
    assert [lanes[0], lanes[2]] == [solo(problem, 1, 0), solo(problem, 3, 0)]


@each_dtype
@each_fast_case
def test_bits_do_not_depend_on_the_memory_layout(case, dtype):
    problem = build(case, dtype)
    seeds = [1, 2, 3, 4, 5]
    fast, slow = (step(problem, pack(problem, seeds, lane_fast=fast), seeds, 2) for fast in (True, False))
    assert fast == slow


@each_case
def test_the_gradient_is_that_of_the_loss(case):
    problem = build((case[0], {k: v for k, v in case[1].items() if k != "noise"}))
    seeds, h = [3], 1e-5
    params = pack(problem, seeds)
    batch = problem.batches(seeds)[0]
    problem.loss_and_grad(params, params.grads, batch)
    size = params.size
    shifted = Parameters(problem.shapes, lanes=2 * size, arrays=problem.arrays)
    shifted.data[:] = params.data
    shifted.data[np.arange(size), np.arange(size)] += h
    shifted.data[size + np.arange(size), np.arange(size)] -= h
    loss = problem.loss_and_grad(shifted, shifted.grads, batch)
    differences = (loss[:size] - loss[size:]) / (2 * h)
    scale = max(1.0, np.abs(differences).max())
    np.testing.assert_allclose(params.grad[0] / scale, differences / scale, atol=1e-6)


@each_solved_case
def test_minimizers_are_minimizers(case):
    problem = build(case)
    # The biases of all classes may grow together: then there is no point alone.
    assert problem.minimizers or case[0] == "softmax_regression"
    for minimizer in problem.minimizers:
        params = Parameters(problem.shapes, arrays=problem.arrays)
        params.set_lane(0, minimizer)
        problem.loss_and_grad(params, params.grads, None)
        # Where |w| has its edge, the slopes of its sides may enclose 0.
        slack = getattr(problem, "l1", 0.0) * (params.data == 0)
        assert (np.abs(params.grad) < 1e-9 + slack).all()
        assert problem.evaluate(params)["loss"][0] == pytest.approx(problem.minimum, rel=1e-12, abs=1e-14)
    others = problem.evaluate(pack(problem, range(50)))["loss"]
    assert (others > problem.minimum).all()


@each_dtype
@each_case
def test_results_have_the_dtype_and_the_lanes_of_the_pack(case, dtype):
    problem = build(case, dtype)
    params = pack(problem, [1, 2])
    loss = problem.loss_and_grad(params, params.grads, problem.batches([1, 2])[0])
    results = {"step": loss, **problem.evaluate(params)}
    assert {name: (r.dtype, r.shape) for name, r in results.items()} == {
        name: (np.dtype("float64" if "accuracy" in name else dtype), (2,)) for name in results
    }


@each_case
def test_evaluation_changes_neither_parameters_nor_gradients(case):
    problem = build(case)
    params = pack(problem, [1, 2])
    params.grad[:] = 5.0
    before = params.data.copy()
    first = problem.evaluate(params)
    problem.evaluate(pack(problem, [3, 4]))
    assert (params.data == before).all()
    assert (params.grad == 5.0).all()
    assert {k: v.tobytes() for k, v in problem.evaluate(params).items()} == {
        k: v.tobytes() for k, v in first.items()
    }


@pytest.mark.full
@pytest.mark.parametrize("seeds", [2, 1_000])
@each_case
def test_a_step_allocates_nothing(case, seeds):
    problem = build(case)
    size = sum(math.prod(shape) for shape in problem.shapes.values())
    lanes = 1_000 if isinstance(problem, Supervised) else 100_000 // size
    params = Parameters(problem.shapes, lanes=lanes, arrays=problem.arrays, lane_fast=problem.lane_fast)
    batches = problem.batches([lane % seeds for lane in range(lanes)])
    with np.errstate(all="ignore"):  # some functions are not defined at 0
        problem.loss_and_grad(params, params.grads, batches[0])
        tracemalloc.start()
        try:
            for _ in range(3):
                problem.loss_and_grad(params, params.grads, batches[0])
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    # NumPy's ufuncs work through buffers of 8,192 elements; an array of the pack is larger.
    assert peak < 4 * 8_192 * 8


@each_case
def test_the_start_depends_on_the_seed_alone(case):
    problem, again = build(case), build(case)
    for seed in (0, 1):
        start = problem.initial(seed)
        assert list(start) == list(problem.shapes)
        for name, values in again.initial(seed).items():
            assert values.dtype == np.float64
            assert values.shape == problem.shapes[name]
            assert values.tobytes() == start[name].tobytes()


@each_case
def test_what_a_step_draws_is_a_function_of_seeds_and_step(case):
    problem = build(case)
    in_order, jumping = problem.batches([4, 5, 6]), problem.batches([4, 5, 6])
    steps = [0, 1, 2, 63, 64, 200]
    drawn = {t: np.array(in_order[t]).tobytes() for t in steps}
    for t in [200, 1, 64, 0, 63, 2, 1]:
        assert np.array(jumping[t]).tobytes() == drawn[t]


@pytest.mark.parametrize("name", list(problems))
def test_an_unknown_option_is_refused(name):
    with pytest.raises(ConfigError, match="unknown option 'zzz'"):
        build((name, {"zzz": 1}))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("rosenbrock", {"dim": 1}, r"Rosenbrock: dim must be ≥ 2 \(got 1\)$"),
        ("rosenbrock", {"dim": 2.5}, r"dim must be an integer \(got 2.5\)$"),
        ("rosenbrock", {"dim": 3, "start": [1.0, 2.0]}, "start: 3 numbers expected.* not 2"),
        ("beale", {"start": [1.0, float("nan")]}, r"start\.1 must be finite \(got .nan\)$"),
        ("beale", {"start": ["a", 1.0]}, r"start\.0 must be a number \(got 'a'\)$"),
        ("powell", {"dim": 6}, r"Powell: dim must be a multiple of 4 \(got 6\)$"),
        ("beale", {"nois": 1.0}, "Did you mean 'noise'"),
        ("beale", {"noise": -1.0}, r"noise must be ≥ 0 \(got -1.0\)$"),
        ("beale", {"noise": float("inf")}, "noise must be finite"),
        ("quadratic", {"condition": 0.5}, "condition must be ≥ 1"),
        ("quadratic", {"condition": float("inf")}, "condition must be finite"),
        ("quadratic", {"dim": 1}, "condition: one dimension"),
        ("quadratic", {"problem_seed": -1}, "problem_seed"),
        ("mlp", {"activation": "rel"}, "activation must be 'relu' or 'tanh' or 'gelu' .*Did you mean 'relu'"),
        ("mlp", {"hidden": [3, 0]}, r"hidden\.1 must be ≥ 1"),
        ("mlp", {"data": "diabetes", "loss": "cross_entropy"}, "loss: .*'diabetes' are real numbers"),
        ("mlp", {"data": "iris", "loss": "mse"}, "loss: .*'iris' are class names"),
        ("linear_regression", {"data": "iris"}, "data: .*'iris' are class names"),
        ("logistic_regression", {"data": "iris"}, "data: 'iris' has 3 classes"),
        ("softmax_regression", {"data": "diabetes"}, "data: .*real numbers"),
        ("softmax_regression", {"batch_size": 2000}, "batch_size: 2,000 is more than the 1,4.. training"),
        ("softmax_regression", {"batch_size": 0}, "batch_size must be ≥ 1"),
        ("softmax_regression", {"test_fraction": 1.0}, "test_fraction must be < 1"),
        ("softmax_regression", {"test_fraction": 1e-6}, "test_fraction: .*no sample"),
        ("softmax_regression", {"validation_fraction": 0.8}, "validation_fraction: .*no sample for training"),
        ("softmax_regression", {"l2": float("inf")}, "l2 must be finite"),
    ],
)
def test_unusable_options_are_refused_by_name(name, options, message):
    with pytest.raises(ConfigError, match=message):
        build((name, options))


def test_the_orders_of_epochs_are_kept_up_to_a_size(monkeypatch):
    orders = {}
    monkeypatch.setattr(batches, "_orders", orders)
    monkeypatch.setattr(batches, "KEPT_BYTES", 100)
    for epoch in range(20):
        order = batches._order(1, epoch, 5)
        assert batches._order(1, epoch, 5) is order
        assert sum(each.nbytes for each in orders.values()) <= 100 + order.nbytes
