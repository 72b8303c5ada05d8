"""Where torch's schedulers differ from optrun's; each function runs both and returns what each of them does."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from optrun.arrays import Parameters
from optrun.optim import SGD
from optrun.registry import schedulers
from tests.oracles import schedules
from tests.oracles.differences import DIFFERENCES as DIFFERENCES
from tests.oracles.differences import Shown, error_of, made, pair, shown


@shown
def linear_without_time() -> Shown:
    """LinearLR(start_factor=0.25, total_iters=0): a line of no length is at its end."""
    both = _both("LinearLR", {"start_factor": 0.25, "total_iters": 0}, 50)
    return pair(f"{rates[-1]:g} of the rate at step 49" for rates in both)


@shown
def constant_without_time() -> Shown:
    """ConstantLR(factor=0.25, total_iters=0): a pause of no length is over."""
    both = _both("ConstantLR", {"factor": 0.25, "total_iters": 0}, 50)
    return pair(f"{rates[-1]:g} of the rate at step 49" for rates in both)


@shown
def constant_zero() -> Shown:
    """ConstantLR(factor=0): torch multiplies by 1 / factor at the end."""
    return pair(_last("ConstantLR", {"factor": 0.0}, 50))


@shown
def linear_from_zero() -> Shown:
    """LinearLR(start_factor=0): a warm-up from zero."""
    return pair(_last("LinearLR", {"start_factor": 0.0}, 50))


@shown
def loaded_schedule() -> Shown:
    """ExponentialLR(gamma=0.5): the state of step 3 loaded into a new schedule."""
    import torch

    rates = []
    for library in (torch, None):
        optimizer, scheduler = _built(library, "ExponentialLR", {"gamma": 0.5})
        for _ in range(3):
            optimizer.step()
            scheduler.step()
        resumed, again = _built(library, "ExponentialLR", {"gamma": 0.5})
        again.load_state_dict(scheduler.state_dict())
        rates.append(float(resumed.param_groups[0]["lr"]))
    return pair(f"{rate:g} of the rate, where 0.125 is right" for rate in rates)


@shown
def drifting_cosine() -> Shown:
    """CosineAnnealingLR(T_max=100), after ten whole waves: torch makes every rate from the one before."""
    both = _both("CosineAnnealingLR", {"T_max": 100}, 2001)
    return pair(f"the rate is ≈{abs(rates[-1] - 1):.0e} off" for rates in both)


@shown
def chained_cosine() -> Shown:
    """ChainedScheduler of CosineAnnealingLR(T_max=50, eta_min=0.1) and ExponentialLR(gamma=0.98) at step 100, where the
    cosine is at its start again: torch's cosine goes on from a rate that is not its own."""
    members = [("CosineAnnealingLR", {"T_max": 50, "eta_min": 0.1}), ("ExponentialLR", {"gamma": 0.98})]
    spec = "ChainedScheduler", {"schedulers": members}
    both = schedules.torch_rates(spec), schedules.rates(spec)
    return pair(f"{rates[100, 0] / schedules.BASE:.3g} of the rate, where 0.98¹⁰⁰ is 0.133" for rates in both)


@shown
def negative_plateau() -> Shown:
    """ReduceLROnPlateau(patience=3), a metric of -1 throughout: torch's relative threshold takes it for better at
    every step."""
    both = _both("ReduceLROnPlateau", {"patience": 3}, 20, -1.0)
    return pair(f"{rates[-1]:g} of the rate at step 19" for rates in both)


@shown
def past_the_cycle() -> Shown:
    """OneCycleLR(max_lr=1, total_steps=10, linear), one step past its end."""
    options = {"max_lr": 1.0, "total_steps": 10, "anneal_strategy": "linear", "cycle_momentum": False}
    return pair(f"lr {rates[-1]:.3f}" for rates in _both("OneCycleLR", options, 11))


@shown
def cycle_without_rise() -> Shown:
    """OneCycleLR(total_steps=10, pct_start=0.1): a rise of no length."""
    options = {"max_lr": 1.0, "total_steps": 10, "pct_start": 0.1, "cycle_momentum": False}
    return pair(_last("OneCycleLR", options, 5))


@shown
def averaging_after_a_cosine() -> Shown:
    """SequentialLR of CosineAnnealingLR(T_max=20) and, from step 10 on, SWALR(swa_lr=0.05): torch's cosine is not asked
    for its tenth step, where its users have it who change from the one to the other by hand. So has optrun."""
    members = [("CosineAnnealingLR", {"T_max": 20}), ("SWALR", {"swa_lr": 0.05})]
    spec = "SequentialLR", {"schedulers": members, "milestones": [10]}
    both = schedules.torch_rates(spec), schedules.rates(spec)
    return pair(f"{rates[10, 0] / schedules.BASE:.3f} of the rate at step 10" for rates in both)


@shown
def after_one_cycle() -> Shown:
    """SequentialLR of OneCycleLR(max_lr=0.37, total_steps=10) and, from step 10 on, ExponentialLR(gamma=0.9): torch's
    goes on from what the cycle has written into the optimizer, optrun's from the optimizer's own rate and momentum."""
    cycle = {"max_lr": schedules.BASE, "total_steps": 10}
    members = [("OneCycleLR", cycle), ("ExponentialLR", {"gamma": 0.9})]
    spec = "SequentialLR", {"schedulers": members, "milestones": [10]}
    both = schedules.torch_rates(spec), schedules.rates(spec)
    return pair(
        f"{rate / schedules.BASE:.3f} of the rate and momentum {momentum:.3f} at step 10"
        for rate, momentum in (rates[10] for rates in both)
    )


@shown
def group_under_a_lambda() -> Shown:
    """LambdaLR(1 / (1 + t)), after its first step a group is added with rate 0.5; it goes on by the same factors."""
    import torch

    theirs, scheduler = _built(torch, "LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)})
    theirs.step()
    scheduler.step()
    theirs.add_param_group({"params": [torch.zeros(1)], "lr": 0.5})
    ours = SGD(Parameters({"x": (1,), "y": (1,)}), [{"params": "x"}], lr=1.0)
    own = schedulers.find("LambdaLR")(ours, lr_lambda=lambda t: 1 / (1 + t))
    own.step()
    ours.add_param_group({"params": "y", "lr": 0.5})
    own.step()
    return f"raises {error_of(scheduler.step)}", f"lr {ours.param_groups[1]['lr']:.3f} at the next step"


def _built(library: Any, name: str, options: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return an optimizer with rate 1 and a schedule of it, of torch or, without one, of optrun."""
    if library is None:
        optimizer = made("SGD", np.zeros(1), lr=1.0)
        return optimizer, schedulers.find(name)(optimizer, **options)
    optimizer = library.optim.SGD([library.zeros(1)], lr=1.0)
    return optimizer, getattr(library.optim.lr_scheduler, name)(optimizer, **options)


def _rates(library: Any, name: str, options: Mapping[str, Any], count: int, *metrics: float) -> list[float]:
    optimizer, scheduler = _built(library, name, options)
    rates = [float(optimizer.param_groups[0]["lr"])]
    for _ in range(count - 1):
        optimizer.step()
        scheduler.step(*metrics)
        rates.append(float(optimizer.param_groups[0]["lr"]))
    return rates


def _both(name: str, options: Mapping[str, Any], count: int, *metrics: float) -> list[list[float]]:
    import torch

    return [_rates(library, name, options, count, *metrics) for library in (torch, None)]


def _last(name: str, options: Mapping[str, Any], count: int) -> list[str]:
    """Return the last of so many rates, of torch and of optrun, or the exception that there is instead."""
    import torch

    found = []
    for library in (torch, None):
        raised = error_of(lambda: _rates(library, name, options, count))  # noqa: B023
        found.append(
            f"raises {raised}"
            if raised
            else f"{_rates(library, name, options, count)[-1]:g} of the rate at step {count - 1}"
        )
    return found
