"""What may come on the way: hyperparameters that are zero for a while, gradients that are not finite."""

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.registry import optimizers
from tests.optim.samples import in_turn
from tests.oracles import rules, torch_rules

OFF, STEPS = range(3, 7), 12
MOMENTUM = [("RMSprop", "momentum", False), ("SGD", "momentum", False)]
"""Whose buffer torch leaves as it is meanwhile."""
SHAPES = {"matrix": (3, 4)}


def zeroed():
    """Return each rule with each float that may be zero; without Newton-Schulz's coefficients Muon diverges."""
    for name in rules.names():
        rule = optimizers.find(name)
        for option in rule.options().values():
            if not option.is_float or rule.needs_closure or option.name.startswith("ns_"):
                continue
            if all(each.holds(0.0) for each in option.bounds) and rules.possible(rule, {option.name: 0.0}):
                yield name, option.name


def values_of(name, zero):
    """Return values of all floats with which they have an effect, and flags that let this one be zero."""
    options = optimizers.find(name).options()
    values = {key: option.default or 0.1 for key, option in options.items() if option.is_float}
    values |= {"lr": 0.1, "t0": 2.0, "momentum": 0.9, "dampening": 0.0, "initial_accumulator_value": 0.1}
    flags = {"nesterov": False, "centered": zero != "alpha", "amsgrad": True}
    return {key: value for key, value in (values | flags).items() if key in options}


def ours(name, zero, starts_off, grads, lanes):
    """Return the parameters after each step; where there are more lanes, the last one is never set to zero."""
    params = Parameters(SHAPES, lanes=lanes, arrays=Arrays(dtype="float64"))
    params.data[:] = 1.0
    values = values_of(name, zero)
    off = 0.0 if lanes == 1 else np.array([0.0] * (lanes - 1) + [values[zero]])
    optimizer = optimizers.find(name)(params, **{**values, **({zero: off} if starts_off else {})})
    rows = []
    for t, grad in enumerate(grads):
        optimizer.param_groups[0][zero] = off if is_off(t, starts_off) else values[zero]
        params.grad[:] = grad + params.data
        optimizer.step()
        rows.append(params.data[0].copy())
    return np.array(rows)


def is_off(t, starts_off):
    return t < len(OFF) if starts_off else t in OFF


def theirs(name, zero, starts_off, grads):
    """Return torch's parameters after each step."""
    import torch

    values = values_of(name, zero)
    with torch_rules.default_dtype("float64"):
        tensor, rows = torch.ones(SHAPES["matrix"]), []
        chosen, _ = torch_rules.arguments(name, {**values, **({zero: 0.0} if starts_off else {})})
        optimizer = getattr(torch.optim, name)([tensor], **chosen)
        for t, grad in enumerate(grads):
            now = {**values, zero: 0.0 if is_off(t, starts_off) else values[zero]}
            optimizer.param_groups[0].update(torch_rules.arguments(name, now)[0])
            tensor.grad = torch.tensor(grad).reshape(tensor.shape) + tensor
            tensor.grad = tensor.grad.to_sparse() if name == "SparseAdam" else tensor.grad
            optimizer.step()
            rows.append(tensor.reshape(-1).numpy().copy())
    return np.array(rows)


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "zero", "starts_off"), dict.fromkeys([*in_turn(zeroed(), (True, False)), *MOMENTUM])
)
def test_a_float_that_is_zero_for_a_while_loses_no_state(name, zero, starts_off, rng):
    """Against the lane's solo run to the bit, and against torch where it takes a zero."""
    grads = rng.normal(size=(STEPS, 12))
    alone = ours(name, zero, starts_off, grads, 1)
    assert ours(name, zero, starts_off, grads, 2).tobytes() == alone.tobytes()
    pytest.importorskip("torch")
    if (name, zero, starts_off) == ("RMSprop", "momentum", True):
        return  # torch raises KeyError
    expected = theirs(name, zero, starts_off, grads)
    bound = rules.bound(name, "float64")
    np.testing.assert_allclose(alone, expected, rtol=bound, atol=bound)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [name for name in rules.names() if not optimizers.find(name).needs_closure])
def test_a_gradient_that_is_not_finite_has_torchs_effect(name, bad, rng):
    torch = pytest.importorskip("torch")
    shapes = {"matrix": (3, 4)} if name == "Muon" else rules.shapes(name)
    params = Parameters(shapes, arrays=Arrays(dtype="float64"))
    params.data[:] = 1.0
    optimizer = optimizers.find(name)(params)
    with torch_rules.default_dtype("float64"):
        tensors = {key: torch.ones(shape) for key, shape in shapes.items()}
        theirs = getattr(torch.optim, name)(tensors.values())
        grads = rng.normal(size=(6, params.size))
        grads[2, 0] = bad
        for grad in grads:
            params.grad[:] = grad
            with np.errstate(all="ignore"):
                optimizer.step()
            for key, tensor in tensors.items():
                tensor.grad = torch.tensor(params.grads[key][0])
                tensor.grad = tensor.grad.to_sparse() if name == "SparseAdam" else tensor.grad
            theirs.step()
    for key, tensor in tensors.items():
        bound = rules.bound(name, "float64")
        np.testing.assert_allclose(params[key][0], tensor.numpy(), rtol=bound, atol=bound, err_msg=key)


def test_a_variance_that_rounding_makes_negative_counts_as_zero(rng):
    params = Parameters({"x": (500,)}, arrays=Arrays(dtype="float32"))
    optimizer = optimizers.find("RMSprop")(params, centered=True, alpha=0.5)
    grad, below = rng.normal(size=500), 0
    for _ in range(60):
        params.grad[:] = grad
        optimizer.step()
        state = optimizer.state_dict()["state"]["x"]
        below += int((state["square_avg"] < state["grad_avg"] ** 2).sum())
    assert below > 0
    assert np.isfinite(params.data).all()
