"""Optimizers against torch: recorded everywhere, live where torch is installed."""

import importlib.util
from functools import lru_cache

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.registry import optimizers
from tests.kernels.engines import each_on_every_engine
from tests.optim.samples import VARIANTS
from tests.oracles import muon, rules, torch_rules
from tests.oracles.record import recorded, sampled
from tests.pairs import few_in_short

CASES = rules.cases()
# What another engine computes has the same bits; hyperparameters that change are read by each engine in its own way.
EVERY_CASE = pytest.mark.parametrize(
    "case", few_in_short(zip(CASES), 3), ids=[rules.label(*case) for case in CASES]
)
EVERY_CHANGING_CASE = each_on_every_engine(
    ("case",),
    zip(rules.changing_cases()),
    lambda case: optimizers.find(case[0]),
    lambda case: rules.label(*case),
)
FLAGGED = list(
    {str((name, rules.flags_of(name, options))): (name, options) for name, options in CASES}.values()
)
"""For each set of flags the last case, in which all floats are moved."""
NAMED = {rules.label(*case): case for case in CASES}
STATES = [
    (rule.__name__, options)
    for rule, options in VARIANTS
    if rule.__name__ in rules.TORCH and not rule.needs_closure
]


def needs_torch(version, case):
    if not rules.has(version, *case):
        pytest.skip(f"torch {version} does not have it")


EVERY_NAME = pytest.mark.parametrize("name", rules.names())


@lru_cache(8)
def live(label, dtype="float64", *, changing=False):
    """Return torch's trajectories of a case; one engine after the other asks for them."""
    name, options = NAMED[label]
    return torch_rules.trajectories(name, [options], dtype, changing=changing)


@EVERY_NAME
def test_every_option_is_moved_in_some_case(name):
    options = optimizers.find(name).options()
    moved = {
        key for each, chosen in CASES if each == name for key in chosen if chosen[key] != options[key].default
    }
    assert moved == set(options)


@EVERY_CASE
def test_trajectory_equals_recorded_torch(case):
    needs_torch(str(recorded()["torch_version"]), case)
    ours, theirs = sampled(rules.trajectories(*case)), recorded()[rules.label(*case)]
    assert rules.differences(ours, theirs) <= rules.bound(case[0], "float64")


@pytest.mark.full
@EVERY_CHANGING_CASE
def test_hyperparameters_that_change_count_when_torchs_do(engine, case):
    """Recorded, and live where torch is installed; at a minimum RMSprop makes ten times more of a rounding error."""
    bound = 10 * rules.bound(case[0], "float64")
    ours, theirs = rules.trajectories(*case, changing=True), recorded()[f"{rules.label(*case)}, changing"]
    assert rules.differences(sampled(ours), theirs) <= bound
    if importlib.util.find_spec("torch"):
        theirs = live(rules.label(*case), changing=True)
        assert rules.differences(ours, theirs) <= bound


@pytest.mark.full
@pytest.mark.parametrize("case", FLAGGED, ids=[rules.label(*case) for case in FLAGGED])
def test_trajectory_equals_torch(case):
    """The recorded ones are of float64, and of each float moved alone."""
    needs_torch(pytest.importorskip("torch").__version__, case)
    dtype = "float32"
    ours, theirs = rules.trajectories(*case, dtype=dtype), live(rules.label(*case), dtype)
    assert ours.dtype == theirs.dtype == dtype
    assert rules.differences(ours, theirs) <= rules.bound(case[0], dtype)


@pytest.mark.full
@pytest.mark.parametrize("case", STATES, ids=[rules.label(*case) for case in STATES])
def test_the_state_equals_torchs(case, rng):
    torch = pytest.importorskip("torch")
    needs_torch(torch.__version__, case)
    name, options = case
    params = Parameters(rules.shapes(name), arrays=Arrays(dtype="float64"))
    ours = optimizers.find(name)(params, **options)
    values, sign = torch_rules.arguments(name, options)
    with torch_rules.default_dtype("float64"):
        tensors = {key: torch.zeros(shape) for key, shape in params.shapes.items()}
        theirs = getattr(torch.optim, name)(tensors.values(), **values)
        for grad in rng.normal(size=(60, params.size)):
            params.grad[:] = grad
            ours.step()
            for key, tensor in tensors.items():
                tensor.grad = torch.tensor(sign * params.grads[key][0])
                tensor.grad = tensor.grad.to_sparse() if name == "SparseAdam" else tensor.grad
            theirs.step()
    for key, tensor in tensors.items():
        buffers = {name: buffer for name, buffer in theirs.state[tensor].items() if torch.is_tensor(buffer)}
        for state in [name for name, buffer in buffers.items() if buffer.ndim]:
            found = np.reshape(ours.state[key][state], buffers[state].shape)
            np.testing.assert_allclose(found, buffers[state].numpy(), rtol=1e-12, atol=1e-14, err_msg=state)


@pytest.mark.full
@pytest.mark.parametrize(
    "case", [case for case in CASES if case[0] == "Muon"], ids=lambda case: rules.label(*case)
)
def test_muon_equals_its_formula(case):
    ours, theirs = rules.trajectories(*case), muon.trajectories([case[1]])
    assert rules.differences(ours, theirs) <= rules.bound("Muon", "float64", "formula")


def test_every_optimizer_of_torch_is_known_to_the_oracles():
    torch = pytest.importorskip("torch")
    rules_of_torch = {name for name in torch.optim.__all__ if hasattr(getattr(torch.optim, name), "step")}
    assert {*rules.TORCH} == rules_of_torch - {"Optimizer"}
