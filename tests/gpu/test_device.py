"""On a device: what the tests beside these say of a stand-in, CuPy itself does too."""

import numpy as np
import pytest

from optrun.arrays import Arrays
from optrun.kernels.cuda import graph
from optrun.kernels.cuda.graph import _StepGraph
from optrun.registry import optimizers, problems
from optrun.training import lane_tracker
from optrun.training.leaps import Leaps
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.trainer import Trainer
from tests.gpu.test_kernels import steps_on
from tests.gpu.test_path import ENDS, RATES, RIDGE, both, config, of_rates, results
from tests.gpu.test_trajectories import CASES as CASES_OF_TRAJECTORIES
from tests.gpu.test_trajectories import on
from tests.optim.samples import DTYPES, VARIANTS, gradients, in_turn, parameters, per_lane
from tests.oracles.rules import takes_vectors
from tests.problems.cases import CASES, case_id, pack
from tests.training.test_leaps import STEPS, configs, run

runtime = pytest.importorskip("cupy", reason="not run: CuPy is not installed").cuda.runtime
try:
    count = runtime.getDeviceCount()
except runtime.CUDARuntimeError as error:
    pytest.skip(f"not run: there is no CUDA device: {error}", allow_module_level=True)
if not count:
    pytest.skip("not run: there is no CUDA device", allow_module_level=True)


@pytest.mark.parametrize(
    ("rule", "options", "dtype", "lanes"), in_turn(VARIANTS, DTYPES, (1, 17, 70)), ids=str
)
def test_every_elementwise_rule_has_the_bits_of_the_numpy_engine(rule, options, dtype, lanes, rng):
    lane_fast = lanes == 70
    if rule.needs_closure or rule.per_tensor:
        pytest.skip(f"{rule.__name__} is not elementwise")
    start, grads = parameters(rng, rule, lanes).data, gradients(rng, rule, lanes)
    grads[5:, 0] = np.nan
    chosen = {**options, **(per_lane(rule, options, lanes, rng) if lanes > 1 else {})}
    given = (rule, chosen, start, grads, dtype, lane_fast)
    assert steps_on("cupy", *given) == steps_on("numpy", *given)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_every_problem_has_the_loss_and_the_gradient_of_the_cpu(case):
    (name, options), found = case, {}
    for backend in ("numpy", "cupy"):
        arrays = Arrays(backend, "float64")
        problem = problems.find(name)(arrays, **options)
        params = pack(problem, [0, 1, 2])
        loss = problem.loss_and_grad(params, params.grads, problem.batches([0, 1, 2])[3])
        loss, grad = arrays.to_host(loss).copy(), arrays.to_host(params.grad)
        found[backend] = {"its loss": loss, "its gradient": grad, **problem.evaluate(params)}
    assert found["cupy"].keys() == found["numpy"].keys()
    for what, values in found["numpy"].items():
        np.testing.assert_allclose(found["cupy"][what], values, rtol=1e-9, atol=1e-9, err_msg=what)


@pytest.mark.parametrize("name", list(optimizers))
def test_every_optimizer_goes_the_way_of_the_cpu(name):
    problem = {**RIDGE, "bias": takes_vectors(name)}
    changes = {"optimizer": {"name": name, "lr": 0.01}, "problem": problem, "dtype": "float64", "steps": 40}
    losses = []
    for backend in ("numpy", "cupy"):
        memory = MemoryStore([config(backend=backend, **changes)])
        Trainer(Pack([config(backend=backend, **changes)]), memory).run()
        losses.append(memory.curves(0)["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)


@pytest.mark.parametrize("changes", ENDS.values(), ids=ENDS.keys())
def test_a_lane_that_ends_between_two_looks_ends_as_on_the_cpu(changes):
    expected, found = both(of_rates(RATES, dtype="float64", steps=150, **changes))
    assert [lane["state"]["steps"] for lane in found] == [lane["state"]["steps"] for lane in expected]
    assert [lane["state"]["status"] for lane in found] == [lane["state"]["status"] for lane in expected]


@pytest.mark.parametrize("changes", ENDS.values(), ids=ENDS.keys())
def test_a_lane_that_ends_between_two_looks_ends_as_in_a_trajectory(changes, monkeypatch):
    chosen = [config(backend="cupy", **each) for each in of_rates(RATES, steps=150, **changes)]
    made = results(chosen)
    monkeypatch.setattr(lane_tracker, "leaps_of", lambda pack: None)
    assert results(chosen) == made


@pytest.mark.parametrize(("rule", "function", "dtype", "lanes"), CASES_OF_TRAJECTORIES)
def test_a_trajectory_has_the_bits_of_its_steps(rule, function, dtype, lanes, monkeypatch):
    chosen = on("cupy", configs(rule, 23 * lanes, problem={"name": function}, dtype=dtype))
    launched, make = [], Leaps.make
    monkeypatch.setattr(Leaps, "make", lambda *given: launched.append(made := make(*given)) or made)
    made = run(chosen)
    assert sum(each.steps for each in launched) > STEPS // 2
    monkeypatch.setattr(lane_tracker, "leaps_of", lambda pack: None)
    assert run(chosen) == made


@pytest.mark.parametrize("problem", ["rosenbrock", {"name": "mlp", "batch_size": 100}], ids=str)
def test_lanes_and_graphs_change_no_bit(problem, monkeypatch):
    monkeypatch.setattr(lane_tracker, "leaps_of", lambda pack: None)
    configs = [config(backend="cupy", problem=problem, seed=seed, steps=70) for seed in range(5)]
    together = results(configs)
    assert [results([each])[0] for each in configs] == together
    monkeypatch.setattr(_StepGraph, "_capture", lambda *_: None)
    assert results(configs) == together


def test_a_step_is_captured():
    lanes = Pack([config(backend="cupy", problem={"name": "mlp", "batch_size": 100})])
    captured = []

    class Watched(_StepGraph):
        def _capture(self, step):
            super()._capture(step)
            captured.append(self._graph)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "_StepGraph", Watched)
        for _ in lanes.iterate(0, 40):
            pass
    assert captured
    assert None not in captured
