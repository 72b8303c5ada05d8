"""Large matrix products in blocks: the same bits for any number of threads, and for a lane as alone."""

import numpy as np
import pytest

from optrun.arrays import one_blas_thread
from optrun.config import from_mapping
from optrun.kernels import engine_named, products
from optrun.kernels.products import CUT_ABOVE, EDGE, HALVED_ABOVE, LEAST_SIDE, PART, blocks, matmuls, parts
from optrun.problems import layers
from optrun.training.pack import Pack
from tests.kernels.engines import NEEDS_NUMBA
from tests.problems.cases import build, pack

THREADS = (1, 2, 4)


@pytest.fixture
def with_threads(monkeypatch):
    """Have products run on a number of threads, however many cores there are."""
    return lambda count: monkeypatch.setattr(products, "threads_per_step", lambda: count)


@pytest.mark.parametrize(
    "shape",
    [
        (1025, 512, 1024),
        (128, 2049, 2048),
        (3, 1 << 16, 1030),
        (255, 4096, 255),
        (257, 192, 256),
        (64, 64, 64),
    ],
)
def test_blocks_cover_a_product_once_and_are_cut_where_they_are_large(shape):
    m, k, n = shape
    covered = np.zeros((m, n), int)
    for rows, columns in blocks(m, k, n):
        part = covered[rows, columns]
        part += 1
        assert part.size * k <= HALVED_ABOVE or max(part.shape) < 4 * LEAST_SIDE
        assert (part.shape == (m, n)) == (m * k * n <= CUT_ABOVE or max(m, n) < LEAST_SIDE)
    assert (covered == 1).all()


@pytest.mark.parametrize(
    ("samples", "width", "count"),
    [
        (255, 512, 0),
        (256, 512, 2),
        (300, 300, 2),
        (512, 512, 2),
        (1000, 256, 3),
        (512, 1024, 0),
        (1437, 64, 0),
        (1437, 128, 3),
    ],
)
def test_parts_are_samples_in_their_order_if_they_are_work_enough(samples, width, count):
    found = parts(samples, width * width)
    assert len(found) == count
    assert [at for part in found for at in range(samples)[part]] == (list(range(samples)) if found else [])
    for part in found:
        assert part.start % EDGE == 0
        assert 2 * (part.stop - part.start + EDGE) >= PART


def test_a_product_is_that_of_numpy_by_any_number_of_threads(with_threads):
    draws = np.random.default_rng(0)
    left, right = draws.standard_normal((3, 300, 521)), draws.standard_normal((3, 300, 530))
    expected = left.swapaxes(1, 2) @ right
    left, right = left.astype("float32"), right.astype("float32")
    found = set()
    for count in THREADS:
        with_threads(count)
        for lanes in (slice(3), slice(1, 2)):
            wider = np.zeros((3, 521, 531), "float32")
            with one_blas_thread:
                matmuls((left[lanes].swapaxes(1, 2), right[lanes], wider[lanes, :, :-1]))
            np.testing.assert_allclose(wider[lanes, :, :-1], expected[lanes], rtol=0, atol=1e-4)
            assert not wider[:, :, -1].any()
            found.add(wider[1].tobytes())
    assert len(found) == 1


MUON = {"name": "Muon", "ns_steps": 1}


@pytest.mark.parametrize(
    ("rule", "options"),
    [
        (MUON, {"hidden": [530, 530], "batch_size": 70, "bias": False}),
        (MUON, {"hidden": [250], "bias": False, "activation": "tanh"}),
        ("Adam", {"hidden": [257, 230], "batch_size": 300, "activation": "gelu"}),
    ],
    ids=["products", "parts of all samples", "parts of a batch"],
)
def test_a_lane_of_a_large_network_is_its_solo_run_by_any_number_of_threads(rule, options, with_threads):
    def trained(seeds, count):
        with_threads(count)
        configs = [
            from_mapping(
                {
                    "problem": {"name": "mlp", **options},
                    "optimizer": rule,
                    "steps": 3,
                    "seed": seed,
                }
            )
            for seed in seeds
        ]
        made = Pack(configs)
        with one_blas_thread:
            losses = [loss.tolist() for _, loss in made.iterate(0, 2)]
        return [
            ([loss[lane] for loss in losses], made.params.data[lane].tobytes()) for lane in range(made.lanes)
        ]

    alone = [*trained([0], 1), *trained([1], 4)]
    for count in THREADS:
        assert trained([0, 1], count) == alone


@pytest.mark.parametrize("engine", ["numpy", pytest.param("numba", marks=NEEDS_NUMBA)])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(activation, engine, monkeypatch):
    options = {"hidden": [257, 230], "activation": activation, "batch_size": 300}

    def gradient():
        problem = build(("mlp", options), "float64")
        problem.use(engine_named(engine))
        params = pack(problem, [0])
        with one_blas_thread:
            loss = problem.loss_and_grad(params, params.grads, problem.batches([0])[0])
        return np.append(params.grad, loss)

    in_parts = gradient()
    monkeypatch.setattr(layers, "parts", lambda samples, most: [])
    np.testing.assert_allclose(in_parts, gradient(), rtol=0, atol=1e-14)
