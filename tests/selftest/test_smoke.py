"""The smoke test of what is registered, and the examples that it is made of."""

import re
from typing import Annotated, Literal

import numpy as np
import pytest
from annotated_types import Ge, Gt, Le, MinLen

from optrun.config import from_mapping
from optrun.errors import ConfigError, UnknownNameError
from optrun.ops import sqrt
from optrun.optim import SGD, Optimizer
from optrun.registry import NonNegative, Rate, Steps, optimizers, problems, schedulers
from optrun.schedulers import LRScheduler
from optrun.schedulers.function_of_time import FunctionOfTime
from optrun.selftest import examples
from optrun.selftest.smoke import NO_SCHEDULER, PROBLEMS, Combination, Verdict, combinations, outcomes
from tests.pairs import pairs
from tests.problems.cases import CASES


@pytest.fixture(autouse=True)
def nothing_stays_registered():
    registries = (optimizers, schedulers, problems)
    for registry in registries:
        len(registry)
    before = [(dict(registry._classes), dict(registry._names)) for registry in registries]
    yield
    for registry, (classes, names) in zip(registries, before, strict=True):
        registry._classes, registry._names = classes, names


def tried(*names, steps=12):
    (outcome,) = outcomes([Combination(*names)], steps)
    return outcome


@pytest.mark.full
@pytest.mark.parametrize(("optimizer", "scheduler"), pairs(optimizers, [NO_SCHEDULER, *schedulers], rounds=1))
def test_every_optimizer_and_schedule_passes_or_says_why_it_does_not_apply(optimizer, scheduler):
    found = list(outcomes(combinations([optimizer], [scheduler], [])))
    assert len(found) == len(PROBLEMS)
    for outcome in found:
        assert outcome.verdict is not Verdict.FAILED, outcome
        assert bool(outcome.reason) is (outcome.verdict is Verdict.NOT_APPLICABLE)


@pytest.mark.parametrize("problem", sorted({name for name, _ in CASES}))
def test_every_problem_may_be_asked_for(problem):
    assert tried("Adam", "none", problem).verdict is Verdict.PASSED


@pytest.mark.parametrize("scheduler", list(schedulers))
def test_an_example_of_a_scheduler_is_a_config(scheduler):
    for steps in (1, 2, 12, 40):
        given = examples.scheduler(scheduler, steps, 0.01)
        from_mapping({"problem": "beale", "optimizer": "SGD", "scheduler": given, "steps": steps})


def test_names_are_those_of_the_registry_and_each_counts_once():
    (only,) = combinations(["adam", "ADAM"], ["none", "none"], ["Beale"])
    assert only == Combination("Adam", "none", "beale")
    for wrong in ((["Adm"], [], []), ([], ["StpLR"], []), ([], [], ["beal"])):
        with pytest.raises(UnknownNameError, match="Did you mean"):
            combinations(*wrong)


def test_required_options_are_derived_from_annotations():
    class Needy(LRScheduler):
        @staticmethod
        def value(
            t,
            base,
            /,
            *,
            count: Annotated[int, Ge(7)],
            few: Annotated[int, Le(2)],
            share: Annotated[float, Gt(0), Le(1)],
            factor: Annotated[float, Ge(3)],
            least: Annotated[float, Le(-1)],
            plain: float,
            shape: Literal["cos", "linear"],
            on: bool,
            maybe: int | None,
            ends: list[Annotated[int, Ge(1)]],
            weights: Annotated[list[float], MinLen(1)],
            lowest: Rate,
            highest: Rate,
            period: Steps,
            turns: list[Steps],
            lr_lambda: FunctionOfTime,
            long: Steps = 2000,
            short: Steps = 2,
            cycles: int = 2000,
        ):
            return base

    assert examples.scheduler("needy", 12, 0.1) == {
        "name": "needy",
        "count": 7,
        "few": 2,
        "share": 0.5,
        "factor": 3,
        "least": -1,
        "plain": 0.5,
        "shape": "cos",
        "on": False,
        "maybe": 4,
        "ends": [4],
        "weights": [0.5],
        "lowest": 0.05,
        "highest": 0.2,
        "period": 3,
        "turns": [3],
        "lr_lambda": "0.9 ** t",
        "long": 3,
    }
    assert tried("SGD", "Needy", "beale").verdict is Verdict.PASSED


def test_an_optimizer_that_raises_is_named():
    class Raising(Optimizer):
        @staticmethod
        def update(p, g, t, /, *, lr: NonNegative = 0.1):
            raise LookupError("nowhere")

    class Later(SGD):
        def _step(self, closure=None):
            raise LookupError("later")

    assert tried("Raising", "none", "beale").verdict is Verdict.FAILED
    assert "Raising: LookupError: nowhere (" in tried("Raising", "none", "beale").reason
    assert re.fullmatch(
        r"LookupError: later \(.*test_smoke\.py:\d+, after step 0\)", tried("Later", "none", "beale").reason
    )


@pytest.mark.parametrize("problem", PROBLEMS)
def test_an_optimizer_that_is_not_finite_fails(problem):
    class Wild(Optimizer):
        @staticmethod
        def update(p, g, t, /, *, lr: NonNegative = 0.1):
            p -= lr * sqrt(-1 - g * g)

    outcome = tried("Wild", "none", problem)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.reason == "diverged: loss is nan at step 1 (lane 0, lr 0.1)"


def test_a_last_step_that_is_not_finite_fails():
    class Late(SGD):
        def _step(self, closure=None):
            super()._step(closure)
            if self.param_groups[0]["lr"].max() < 0.9**10 * self.defaults["lr"].max():
                self.params.data[1] = np.nan

    outcome = tried("Late", "ExponentialLR", "beale", steps=12)
    assert outcome.verdict is Verdict.FAILED
    assert "(lane 1, lr 0.0005)" in outcome.reason


def test_an_average_that_is_not_finite_fails():
    class Lost(SGD):
        average = "momentum_buffer"

        def averaged(self):
            return {name: np.full_like(value, np.nan) for name, value in self.params.items()}

    outcome = tried("Lost", "none", "beale")
    assert outcome.verdict is Verdict.FAILED
    assert outcome.reason == "average/x is not finite after the last step (lane 0, lr 0.001)"


def test_an_optimizer_that_writes_across_lanes_fails():
    class Mixing(SGD):
        def _step(self, closure=None):
            super()._step(closure)
            self.params.data[:] = self.params.data.mean(axis=0)

    outcome = tried("Mixing", "StepLR", "quadratic")
    assert outcome.verdict is Verdict.FAILED
    assert outcome.reason == "loss of lane 2 differs between the pack and a run of the lane alone"


def test_an_optimizer_that_changes_its_rate_fails():
    class Own(SGD):
        def _step(self, closure=None):
            super()._step(closure)
            self.param_groups[0]["lr"] = 1e-4

    outcome = tried("Own", "none", "beale")
    assert outcome.verdict is Verdict.FAILED
    assert outcome.reason.startswith("lr at step 1 is 0.0001 where the schedule says 0.001 ")


def test_what_is_refused_is_not_applicable():
    class Matrices(SGD):
        def __init__(self, params, *args, **options):
            for name, shape in params.shapes.items():
                if len(shape) != 2:
                    raise ConfigError(f"Matrices: {name} is no matrix")
            super().__init__(params, *args, **options)

    verdicts = {each.combination.problem: each for each in outcomes(combinations(["Matrices"], ["none"], []))}
    assert verdicts.pop("mlp").verdict is Verdict.PASSED
    for each in verdicts.values():
        assert each.verdict is Verdict.NOT_APPLICABLE
        assert "is no matrix" in each.reason


def test_an_optimizer_of_one_lane_runs_alone():
    class Alone(SGD):
        batched = False

    assert tried("Alone", "StepLR", "mlp").verdict is Verdict.PASSED


def test_what_cannot_be_on_here_is_turned_off():
    class Cycling(LRScheduler):
        @staticmethod
        def value(t, base, /, *, cycle_momentum: bool = True, other: bool = True):
            return base

        def __init__(self, optimizer=None, **options):
            if options["cycle_momentum"]:
                raise ConfigError("Cycling: no momentum", field="cycle_momentum")
            assert options["other"]
            super().__init__(optimizer, **options)

    assert tried("Adam", "Cycling", "beale").verdict is Verdict.PASSED
