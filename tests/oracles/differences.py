"""Where torch's optimizers differ from optrun's; each function runs both and returns what each of them does."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from optrun.arrays import Array, Arrays, Parameters
from optrun.errors import ConfigError, StateError
from optrun.registry import optimizers
from tests.oracles import rules, torch_rules

Shown = tuple[str, str]

DIFFERENCES: dict[str, Callable[[], Shown]] = {}


def pair(shown: Iterable[str]) -> Shown:
    """Return what torch shows and what optrun shows."""
    torch, optrun = shown
    return torch, optrun


def shown(function: Callable[[], Shown]) -> Callable[[], Shown]:
    """Enter a demonstration under its docstring."""
    DIFFERENCES[" ".join((function.__doc__ or "").split())] = function
    return function


@shown
def centered_variance() -> Shown:
    """RMSprop, centered, float32, 20,000 constant gradients: rounding takes the variance below zero. optrun clamps
    it at 0."""
    import torch

    constant = np.random.default_rng(0).normal(size=20_000).astype(np.float32)
    tensor = torch.zeros(constant.size)
    theirs = torch.optim.RMSprop([tensor], centered=True, foreach=False)
    ours = made("RMSprop", np.zeros(constant.size), "float32", centered=True)
    tensor.grad, ours.params.grad[:] = torch.from_numpy(constant), constant
    for _ in range(1500):
        theirs.step()
        ours.step()
    return pair(
        f"≈{np.isnan(values).mean():.1%} are NaN after 1,500 steps"
        for values in (tensor.numpy(), ours.params.data)
    )


def _counters(name: str) -> Shown:
    options = {"lr": 1e-2}
    exact = torch_rules.trajectories(name, [options])
    usual = torch_rules.trajectories(name, [options], counters="float32")
    return pair(
        f"off by ≈{rules.differences(each, exact)[0]:.0e} from float64 numbers after 200 steps"
        for each in (usual, rules.trajectories(name, options))
    )


@shown
def nadam_counters() -> Shown:
    """NAdam, float64 parameters: `step` and `mu_product` are float32 all the same."""
    return _counters("NAdam")


@shown
def asgd_counters() -> Shown:
    """ASGD, float64 parameters: `step`, `eta` and `mu` are float32 all the same."""
    return _counters("ASGD")


@shown
def step_count() -> Shown:
    """Adam: the step count is a float32, which 2²⁴ + 1 is not."""
    import torch

    tensor = torch.zeros(1)
    theirs = torch.optim.Adam([tensor])
    ours = made("Adam", np.zeros(1))
    tensor.grad = torch.ones(1)
    theirs.step()
    ours.step()
    theirs.state[tensor]["step"].fill_(2**24)
    saved = ours.state_dict()
    saved["state"]["x"]["step"] = 2**24
    ours.load_state_dict(saved)
    theirs.step()
    ours.step()
    return (
        f"step {int(theirs.state[tensor]['step'])} follows 16777216",
        f"step {ours.state['x']['step']} follows 16777216",
    )


@shown
def adafactor_leak() -> Shown:
    """Adafactor, eps1 None: the epsilon of a bfloat16 parameter is used for a float64 one that follows it in the
    group. In optrun every parameter has that of its own dtype."""
    import torch

    moved = torch.ones(1, dtype=torch.float64)
    before = torch.ones(1, dtype=torch.bfloat16)
    moved.grad, before.grad = torch.full_like(moved, 1e-6), torch.full_like(before, 1e-6)
    torch.optim.Adafactor([before, moved]).step()
    ours = made("Adafactor", np.ones(1))
    ours.params.grad[:] = 1e-6
    ours.step()
    return f"1 → {moved.item():.6f}", f"1 → {ours.params.data.item():.6f}"


@shown
def muon_buffer() -> Shown:
    """Muon, nesterov=False, bfloat16: the momentum buffer is normalised in place, and with it the memory is lost.
    optrun, in float32, leaves it."""
    import torch

    tensor = torch.zeros(2, 2, dtype=torch.bfloat16)
    theirs = torch.optim.Muon([tensor], nesterov=False)
    tensor.grad = torch.full((2, 2), 8.0, dtype=torch.bfloat16)
    theirs.step()
    ours = made("Muon", np.zeros((2, 2)), "float32", nesterov=False)
    ours.params.grad[:] = 8.0
    ours.step()
    norms = (
        theirs.state[tensor]["momentum_buffer"].float().norm().item(),
        np.linalg.norm(ours.state["x"]["momentum_buffer"]),
    )
    return pair(f"0.05 · ‖g‖ = 0.80 is kept as {norm:.2f}" for norm in norms)


@shown
def aliased_state() -> Shown:
    """load_state_dict: torch's refers to the tensors of its source, so that a step of the copy changes the original."""
    import torch

    tensors = [torch.zeros(1), torch.zeros(1)]
    theirs = [torch.optim.Adam([tensor]) for tensor in tensors]
    ours = [made("Adam", np.zeros(1)) for _ in tensors]
    for tensor, optimizer in zip(tensors, ours, strict=True):
        tensor.grad, optimizer.params.grad[:] = torch.ones(1), 1.0
    for first, second in (theirs, ours):
        first.step()
        second.load_state_dict(first.state_dict())
        second.step()
    averages = theirs[0].state[tensors[0]]["exp_avg"].item(), ours[0].state["x"]["exp_avg"].item()
    return pair(f"the original's exp_avg is {average:.2f}, after 0.10" for average in averages)


@shown
def foreign_state() -> Shown:
    """load_state_dict with the state of another optimizer, Adam's in SGD."""
    import torch

    tensor = torch.zeros(1)
    tensor.grad = torch.ones(1)
    adam = torch.optim.Adam([tensor])
    adam.step()
    sgd = torch.optim.SGD([tensor])
    sgd.load_state_dict(adam.state_dict())
    failed = error_of(sgd.step)
    ours = made("Adam", np.zeros(1))
    ours.step()
    refused = error_of(lambda: made("SGD", np.zeros(1)).load_state_dict(ours.state_dict()))
    return f"loads it; the next step raises {failed or 'nothing'}", f"raises {refused}"


@shown
def mistyped_group() -> Shown:
    """A parameter group with `lrr: 5` and another one with `lr: -5`."""
    import torch

    groups = [{"params": [torch.zeros(1)], "lrr": 5}, {"params": [torch.zeros(1)], "lr": -5}]
    kept = torch.optim.SGD(groups).param_groups
    refused = error_of(lambda: made("SGD", np.zeros(1)).param_groups[0].update({"lrr": 5}))
    negative = error_of(lambda: made("SGD", np.zeros(1)).param_groups[0].update({"lr": -5}))
    return f"keeps lrr {kept[0]['lrr']} and lr {kept[1]['lr']}", f"raises {refused} and {negative}"


@shown
def late_momentum() -> Shown:
    """SGD(dampening=0.5), momentum 0 at the first step and 0.5 at the second, gradients of 1: torch dampens no gradient
    that begins the buffer, optrun only that of the first step."""
    return pair(_late("SGD", dampening=0.5))


@shown
def late_buffer() -> Shown:
    """RMSprop, momentum 0 at the first step and 0.5 at the second."""
    return pair(_late("RMSprop"))


def _late(name: str, **options: Any) -> list[str]:
    """Return the buffer, of torch and of optrun, or the exception, where momentum is set after a step."""
    import torch

    tensor = torch.zeros(1, dtype=torch.float64)
    theirs, ours = getattr(torch.optim, name)([tensor], **options), made(name, np.zeros(1), **options)
    found = []
    for optimizer in (theirs, ours):
        tensor.grad, ours.params.grad[:] = torch.ones_like(tensor), 1.0
        optimizer.step()
        optimizer.param_groups[0]["momentum"] = 0.5
        raised = error_of(optimizer.step)
        state = optimizer.state[tensor if optimizer is theirs else "x"]
        found.append(f"raises {raised}" if raised else f"the buffer is {state['momentum_buffer'].item():.3f}")
    return found


def made(name: str, values: Array, dtype: str = "float64", **options: Any) -> Any:
    """Return optrun's optimizer of one tensor ``x`` with these values."""
    return optimizers.find(name)(Parameters.of({"x": values}, arrays=Arrays(dtype=dtype)), **options)


def error_of(call: Callable[[], Any]) -> str:
    """Return the name of the exception that a call raises, or nothing."""
    try:
        call()
    except (
        ConfigError,
        StateError,
        ArithmeticError,
        LookupError,
        TypeError,
        ValueError,
        RuntimeError,
    ) as error:
        return type(error).__name__
    return ""
