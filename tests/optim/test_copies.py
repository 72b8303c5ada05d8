"""Copies, by copy.deepcopy and by pickle: of parameters, optimizers, groups, averages and schedules."""

import copy
import pickle

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.errors import ConfigError
from optrun.optim import SGD, Adam
from optrun.registry import averages
from optrun.schedulers import LambdaLR, LinearLR, StepLR
from tests.optim.samples import LAST_VARIANTS, bits, gradients, in_turn, parameters, stepped
from tests.oracles.schedules import EVERY, METRICS, built


def pickled(thing):
    return pickle.loads(pickle.dumps(thing))


WAYS = {"deepcopy": copy.deepcopy, "pickle": pickled}
EVERY_WAY = pytest.mark.parametrize("copied", WAYS.values(), ids=WAYS.keys())


@pytest.mark.full
@pytest.mark.parametrize(("rule", "options", "way"), in_turn(LAST_VARIANTS, WAYS), ids=str)
def test_an_optimizer_and_its_copy_go_on_alike_and_apart(rule, options, way, rng):
    grads = gradients(rng, rule)
    optimizer = stepped(rule(parameters(rng, rule), **options), grads[:5])
    params, twin = WAYS[way]((optimizer.params, optimizer))
    assert twin.params is params
    assert bits(twin) == bits(optimizer)
    before = bits(optimizer)
    after = bits(stepped(twin, grads[5:]))
    assert bits(optimizer) == before
    assert bits(stepped(optimizer, grads[5:])) == after


@EVERY_WAY
def test_the_views_of_copied_parameters_are_views_of_the_copy(copied, rng):
    params = Parameters(
        {"a": (2, 3), "b": ()}, lanes=3, arrays=Arrays(dtype="float64"), lane_fast=True, inputs_first={"a"}
    )
    params.data[:], params.grad[:] = rng.normal(size=(2, *params.data.shape))
    twin = copied(params)
    assert (twin.data.tobytes(), twin.grad.tobytes()) == (params.data.tobytes(), params.grad.tobytes())
    assert (twin.data.strides, twin.inputs_first) == (params.data.strides, {"a"})
    twin.data[:], twin.grads["a"][:] = 7, 8
    assert (twin["a"] == 7).all()
    assert (twin.grad[:, :6] == 8).all()
    assert not (params.data == 7).any()


@EVERY_WAY
def test_a_copied_group_is_a_group_that_nobody_schedules(copied):
    optimizer = Adam(Parameters({"x": (1,)}, lanes=2), lr=np.array([0.1, 0.2]))
    StepLR(optimizer, step_size=1)
    twin = copied(optimizer.param_groups[0])
    assert {name: np.array(value).tolist() for name, value in twin.items()} == {
        name: np.array(value).tolist() for name, value in optimizer.param_groups[0].items()
    }
    assert not twin.schedules
    twin["beta1"] = 0.5
    assert optimizer.param_groups[0]["beta1"] == 0.9
    with pytest.raises(ConfigError, match="must be < 1"):
        twin["beta1"] = 1.5
    with pytest.raises(ValueError, match="read-only"):
        twin["lr"][:] = 3
    StepLR(copied(optimizer), step_size=2)


@pytest.mark.full
@pytest.mark.parametrize(("spec", "way"), in_turn(zip(EVERY), WAYS), ids=str)
def test_a_copied_schedule_leads_the_copied_optimizer(spec, way):
    optimizer = SGD(Parameters.of({"x": np.zeros(1)}), lr=0.1)
    scheduler = built(spec, optimizer)
    observed = METRICS if scheduler.needs_metrics else [None] * len(METRICS)
    for metrics in observed[:50]:
        optimizer.step()
        scheduler.step(metrics)
    twin = WAYS[way](scheduler)
    assert twin.get_last_lr() == scheduler.get_last_lr()
    with pytest.raises(ConfigError, match="has a scheduler already"):
        LinearLR(twin.optimizer)
    for metrics in observed[50:]:
        for each in (scheduler, twin):
            each.optimizer.step()
            each.step(metrics)
        assert twin.optimizer.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
        assert twin.get_last_lr() == scheduler.get_last_lr()


def test_a_schedule_by_a_python_function_is_copied():
    scheduler = LambdaLR(SGD(Parameters({"x": (1,)}), lr=1.0), lr_lambda=lambda t: 1 / (1 + t))
    twin = copy.deepcopy(scheduler)
    twin.step()
    assert (twin.get_last_lr(), scheduler.get_last_lr()) == ([0.5], [1.0])


@EVERY_WAY
@pytest.mark.parametrize("name", list(averages))
def test_a_copied_average_goes_on(name, copied, rng):
    params = parameters(rng)
    average = averages.find(name)(params, start=2, every=3)
    for _ in range(7):
        params.data += 1
        average.step()
    twin = copied(average)
    for each in (average, twin):
        for _ in range(7):
            each.params.data += 1
            each.step()
    for key, value in average.averaged().items():
        assert twin.averaged()[key].tobytes() == value.tobytes()
