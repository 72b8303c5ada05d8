"""Problems in compiled loops: the same bits as by NumPy's calls, and the calls where no loop can be made."""

import numpy as np
import pytest

from optrun.config import from_mapping
from optrun.kernels import auto_engine, engine_named, formula
from optrun.kernels.auto_engine import AutoEngine
from optrun.kernels.formula import MOST_INSTRUCTIONS, TILE_BYTES
from optrun.kernels.numba.engine import NumbaEngine
from optrun.problems.vectors import VectorProblem
from optrun.training.pack import Pack
from tests.kernels.engines import NEEDS_NUMBA, NewCompiled
from tests.optim.samples import in_turn
from tests.problems.cases import CASES, build, case_id, pack

VECTORS = [case for case in CASES if isinstance(build(case), VectorProblem)]
each_function = pytest.mark.parametrize("case", VECTORS, ids=case_id)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
SPECIAL = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 1e30)


def known(values):
    """The bits; of two NaNs NumPy returns one or the other."""
    return np.where(np.isnan(values), np.nan, values).tobytes()


def steps(problem, engine, lanes, lane_fast):
    """The bits of the losses and the gradients of two steps, the second from other parameters."""
    problem.use(engine)
    params = pack(problem, range(lanes), lane_fast=lane_fast)
    batches = problem.batches(range(lanes))
    found = []
    with np.errstate(all="ignore"):
        for t in range(2):
            loss = problem.loss_and_grad(params, params.grads, batches[t])
            found += [known(loss), known(params.grad)]
            for place, value in enumerate(SPECIAL):
                if lanes > 1:
                    params.data[(3 * place + 1) % lanes, place % params.size] = value
            params.data[:] *= -1
    return found


@NEEDS_NUMBA
@pytest.mark.parametrize(("case", "dtype"), in_turn(zip(CASES), ("float32", "float64")), ids=str)
def test_loops_have_the_bits_of_calls(case, dtype):
    problem = build(case, dtype)
    for lanes in (1, 2, 37):
        for lane_fast in {problem.lane_fast, False}:
            expected = steps(problem, engine_named("numpy"), lanes, lane_fast)
            for engine in (NewCompiled(1), NewCompiled(3, shared_above=0, piece_bytes=512)):
                assert steps(problem, engine, lanes, lane_fast) == expected, (lanes, lane_fast)


class Engine(NewCompiled):
    """Counts the loops that it is asked for."""

    loops = 0

    def bind_loop(self, *given):
        self.loops += 1
        return super().bind_loop(*given)


@NEEDS_NUMBA
@each_function
def test_every_function_is_one_loop_but_what_multiplies_matrices(case):
    problem, engine = build(case), Engine()
    steps(problem, engine, 3, problem.lane_fast)
    assert engine.loops == (0 if case[1].get("rotation") else 1)


@NEEDS_NUMBA
def test_what_is_too_much_for_a_loop_stays_with_numpy():
    problem, engine = build(("rosenbrock", {"dim": MOST_INSTRUCTIONS})), Engine()
    assert steps(problem, engine, 3, True) == steps(problem, engine_named("numpy"), 3, True)
    assert engine.loops == 0


@pytest.fixture
def loops(monkeypatch):
    """The listings of the loops that are made."""
    made, bind = [], NumbaEngine.bind
    monkeypatch.setattr(NumbaEngine, "bind", lambda self, *of: made.append(of[0]) or bind(self, *of))
    monkeypatch.setattr(auto_engine, "_work", auto_engine.Counter())
    return made


@NEEDS_NUMBA
@pytest.mark.parametrize("case", [("rosenbrock", {}), ("mlp", {"data": "iris", "hidden": [5]})], ids=case_id)
@pytest.mark.parametrize(("threshold", "is_made"), [(1e9, False), (0, True)])
def test_auto_makes_loops_from_the_threshold_on_and_changes_no_bit(
    case, threshold, is_made, loops, monkeypatch
):
    monkeypatch.setattr(auto_engine, "THRESHOLD", threshold)
    problem = build(case)
    expected = steps(problem, engine_named("numpy"), 5, problem.lane_fast)
    assert steps(problem, AutoEngine(), 5, problem.lane_fast) == expected
    assert bool(loops) == is_made


@NEEDS_NUMBA
@pytest.mark.parametrize(("engine", "is_made"), [("numba", True), ("numpy", False)])
def test_a_pack_gives_its_engine_to_the_problem(engine, is_made, loops):
    made = Pack([from_mapping({"problem": "himmelblau", "optimizer": "SGD", "steps": 2, "engine": engine})])
    made.problem.loss_and_grad(made.params, made.params.grads, None)
    assert bool(loops) == is_made


@NEEDS_NUMBA
def test_relu_is_a_loop_and_what_needs_an_exponential_is_not():
    for activation, count in (("relu", 2), ("tanh", 1), ("gelu", 0)):
        engine = Engine()
        problem = build(("mlp", {"data": "iris", "hidden": [5], "activation": activation}))
        steps(problem, engine, 2, False)
        assert engine.loops == count, activation


@NEEDS_NUMBA
def test_a_problem_follows_the_arrays_that_it_is_given():
    problem = build(("rosenbrock", {"dim": 3}))
    problem.use(NumbaEngine())
    one, other = pack(problem, [1, 2, 3, 4]), pack(problem, [5, 6])
    expected = [problem.loss_and_grad(each, each.grads, None).copy() for each in (one, other)]
    one.data[:2], before = other.data, one.data[:2].copy()
    assert problem.loss_and_grad(one, one.grads, None)[:2].tobytes() == expected[1].tobytes()
    one.data[:2] = before
    assert problem.loss_and_grad(one, one.grads, None).tobytes() == expected[0].tobytes()


@NEEDS_NUMBA
@pytest.mark.parametrize("case", [("rosenbrock", {}), ("mlp", {"data": "iris", "hidden": [5]})], ids=case_id)
def test_another_engine_takes_over_though_the_arrays_stay(case, loops):
    problem = build(case)
    params, made = pack(problem, [1, 2]), []
    for engine in ("numpy", "numba", "numpy"):
        problem.use(engine_named(engine))
        problem.loss_and_grad(params, params.grads, None)
        made.append(len(loops))
    assert 0 == made[0] < made[1] == made[2]


@NEEDS_NUMBA
def test_arrays_of_two_layouts_stay_with_numpy():
    problem, engine = build(("rosenbrock", {})), Engine()
    params = pack(problem, range(5), lane_fast=True)
    expected = problem.loss_and_grad(params, params.grads, None).copy()
    grad = np.empty((5, 2))
    problem.use(engine)
    assert problem.loss_and_grad(params, {"x": grad}, None).tobytes() == expected.tobytes()
    assert grad.tobytes() == params.grad.tobytes()
    assert engine.loops == 0


@each_dtype
@pytest.mark.parametrize("lanes", [1, 10])
def test_long_vectors_in_tiles_have_the_bits_of_one(lanes, dtype, monkeypatch):
    found = []
    for tile in (TILE_BYTES, 1):
        monkeypatch.setattr(formula, "TILE_BYTES", tile)
        problem = build(("rosenbrock", {"dim": 60}), dtype)
        found += [steps(problem, engine_named("numpy"), lanes, fast) for fast in (True, False)]
    assert found == found[:1] * 4


@each_dtype
@pytest.mark.parametrize("case", [c for c in VECTORS if not c[1].get("rotation")], ids=case_id)
def test_vectors_have_the_bits_of_their_elements(case, dtype, monkeypatch):
    """Both forms of a short program, by NumPy's calls."""
    found = []
    for count in (0, 10**6):
        monkeypatch.setattr(formula, "_count", lambda listing, count=count: count)
        found.append(steps(build(case, dtype), engine_named("numpy"), 9, True))
    assert found[0] == found[1]


@pytest.mark.full
@NEEDS_NUMBA
@pytest.mark.parametrize("lane_fast", [True, False])
def test_losses_take_no_more_room_than_their_layout_needs(lane_fast):
    lanes, dim = 1000, 12
    problem, given = build(("quadratic", {"dim": dim})), {}

    class Seen(NewCompiled):
        def bind_loop(self, in_calls, listing, buffers, coefficients):
            given.update(buffers)
            return super().bind_loop(in_calls, listing, buffers, coefficients)

    steps(problem, Seen(), lanes, lane_fast)
    room = given["loss0"]
    while room.base is not None:
        room = room.base
    assert room.size == (lanes if lane_fast else lanes * dim)
