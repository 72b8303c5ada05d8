"""The kernels that would run on a device, run by a C compiler: the bits are NumPy's."""

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.kernels.cuda import engine as cuda_engine
from optrun.kernels.cuda.engine import CupyEngine
from optrun.kernels.lower import Instruction, Listing
from optrun.kernels.numpy_engine import NumpyEngine
from optrun.optim import EMA, SWA
from tests.optim.samples import DTYPES, EVERY_DTYPE, LAST_VARIANTS, accepted, in_turn, needs_lanes, per_lane

SPECIAL = [
    np.nan,
    np.inf,
    -np.inf,
    0.0,
    -0.0,
    1e-310,
    -1e-310,
    1e-42,
    1e-45,
    1e30,
    -1e30,
    1e300,
    1.0,
    -1.0,
    0.5,
]


def values(rng, shape):
    """Return numbers of which every third is special."""
    found = rng.normal(size=shape)
    return np.where(rng.random(shape) < 1 / 3, rng.choice(SPECIAL, shape), found)


def bits(array):
    """Return an array's bits; a NaN is a NaN, whatever its sign and payload."""
    host = np.array(array)
    return np.where(np.isnan(host), np.abs(host.dtype.type(np.nan)), host).tobytes()


def params_of(backend, rule, lanes, dtype, lane_fast):
    arrays = Arrays(backend, dtype)
    return Parameters(accepted(rule), lanes=lanes, arrays=arrays, lane_fast=lane_fast)


def steps_on(backend, rule, options, start, grads, dtype, lane_fast):
    """Return the parameters and the state after each of the gradients."""
    params = params_of(backend, rule, len(start), dtype, lane_fast)
    arrays = params.arrays
    optimizer = rule(params, **options)
    found = []
    with np.errstate(all="ignore"):
        params.data[:] = arrays.array(start)
        for grad in grads:
            params.grad[:] = arrays.array(grad)
            optimizer.step(loss=np.arange(1.0, len(start) + 1))
            buffers = {"p": params.data} | {
                f"{name} of {of}": value
                for of, entry in optimizer.state.items()
                for name, value in entry.items()
                if name != "step"
            }
            found.append({name: bits(arrays.to_host(value)) for name, value in buffers.items()})
    return found


@pytest.mark.full
@pytest.mark.parametrize(
    ("rule", "options", "dtype", "lanes"), in_turn(LAST_VARIANTS, DTYPES, (1, 5, 70)), ids=str
)
def test_every_rule_has_the_bits_of_the_numpy_engine(rule, options, dtype, lanes, transfers, rng):
    lane_fast = lanes == 70
    if rule.needs_closure:
        pytest.skip(f"{rule.__name__} has no kernel")
    if lanes > 1:
        needs_lanes(rule)
    size = params_of("numpy", rule, 1, dtype, False).size
    with np.errstate(all="ignore"):
        start, grads = values(rng, (lanes, size)), values(rng, (6, lanes, size))
    # Without a special value in every lane, too: what is NaN at first stays so.
    start[:: 2 if lanes > 1 else 1] = rng.normal(size=size)
    grads[:4, :: 2 if lanes > 1 else 1] = rng.normal(size=size)
    chosen = {**options, **(per_lane(rule, options, lanes, rng) if lanes > 1 else {})}
    expected = steps_on("numpy", rule, chosen, start, grads, dtype, lane_fast)
    found = steps_on("cupy", rule, chosen, start, grads, dtype, lane_fast)
    for step, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert ours == theirs, step


@pytest.mark.parametrize("average", [SWA, EMA])
@EVERY_DTYPE
def test_averages_have_the_bits_of_the_numpy_engine(average, dtype, transfers, rng):
    given = {name: 0.9 for name, option in average.options().items() if option.is_float}
    found = {}
    points = values(rng, (4, 3, 11))
    for backend in ("numpy", "cupy"):
        params = Parameters({"x": (11,)}, lanes=3, arrays=Arrays(backend, dtype))
        kept = average(params, **given)
        with np.errstate(all="ignore"):
            for point in points:
                params.data[:] = params.arrays.array(point)
                kept.step()
        found[backend] = bits(params.arrays.to_host(kept.averaged()["x"]))
    assert found["cupy"] == found["numpy"]


BINARY = ("add", "sub", "mul", "div", "max", "min")
UNARY = ("copy", "neg", "sqrt", "abs", "sign")
CONDITIONS = ("gt", "ge", "lt", "le", "eq", "ne")


def listing_of(op):
    """Return the instructions that write `op(p, g)`, or where that is a condition one of the two, to p."""
    if op in BINARY:
        return Listing((Instruction(op, "p", ("p", "g")),))
    if op in UNARY:
        return Listing((Instruction(op, "p", ("g",)),))
    operands = ("p", "g") if op in CONDITIONS else ("g",)
    chosen = Instruction("where", "p", ("_b0", "g", "p"))
    return Listing((Instruction(op, "_b0", operands), chosen), (("_b0", ()),))


@pytest.mark.full
@pytest.mark.parametrize("op", [*BINARY, *UNARY, *CONDITIONS, "nonzero"])
@EVERY_DTYPE
def test_every_operation_on_every_pair_of_special_values_is_numpys(op, dtype, transfers):
    found = {}
    for backend, engine in (("numpy", NumpyEngine()), ("cupy", CupyEngine())):
        arrays = Arrays(backend, dtype)
        with np.errstate(all="ignore"):
            left, right = np.meshgrid(np.array(SPECIAL, dtype), np.array(SPECIAL, dtype))
            buffers = {"p": arrays.array(left), "g": arrays.array(right)}
            engine.bind(listing_of(op), buffers, [])()
        found[backend] = bits(arrays.to_host(buffers["p"]))
    assert found["cupy"] == found["numpy"]


@pytest.mark.parametrize("rows", [1, 2, 5, 300, 10**6])
@pytest.mark.parametrize("columns", [1, 3, 33, 1000, 10**7])
def test_threads_are_enough_and_no_more_than_twice_as_many(rows, columns):
    (across, down), (wide, high) = cuda_engine._threads(rows, columns)
    assert wide * high <= cuda_engine.THREADS
    for size, blocks, threads in ((columns, across, wide), (rows, down, high)):
        assert blocks <= cuda_engine.MOST_BLOCKS
        assert blocks * threads >= size or blocks == cuda_engine.MOST_BLOCKS
        assert (blocks - 1) * threads < size
        assert threads < 2 * size
