"""Averages of the parameters: torch's AveragedModel, closed forms, and lanes that leave each other alone."""

import tracemalloc

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.errors import ConfigError, StateError
from optrun.optim import EMA, SWA, Average
from optrun.registry import averages

STEPS = 600
SHAPES = {"weight": (3, 2), "bias": (3,)}


def walk(seed, dtype="float64"):
    """Return the parameters after each step, `[STEPS, P]`."""
    return np.random.default_rng(seed).standard_normal((STEPS, 9)).cumsum(axis=0).astype(dtype)


def trail(name, walks, dtype="float64", lane_fast=False, **options):
    """Return the average after each step `[STEPS, B, P]`, NaN before there is one."""
    params = Parameters(SHAPES, lanes=len(walks), arrays=Arrays(dtype=dtype), lane_fast=lane_fast)
    average = averages.find(name)(params, **options)
    trace = np.full((STEPS, len(walks), 9), np.nan, dtype)
    for k in range(STEPS):
        params.data[:] = [each[k] for each in walks]
        average.step()
        views = average.averaged()
        if views is not None:
            trace[k] = np.concatenate([views[each].reshape(len(walks), -1) for each in SHAPES], axis=1)
    return trace


def torch_trail(name, walk, start, every, decay):
    torch = pytest.importorskip("torch")
    utils = torch.optim.swa_utils
    model = torch.nn.Linear(2, 3).double()
    function = utils.get_ema_avg_fn(decay) if name == "EMA" else utils.get_swa_avg_fn()
    averaged = utils.AveragedModel(model, avg_fn=function)
    trace = np.full(walk.shape, np.nan)
    for k in range(1, len(walk) + 1):
        with torch.no_grad():
            model.weight[:] = torch.tensor(walk[k - 1, :6]).reshape(3, 2)
            model.bias[:] = torch.tensor(walk[k - 1, 6:])
        if k >= start and (k - start) % every == 0:
            averaged.update_parameters(model)
        if averaged.n_averaged:
            parts = [averaged.module.weight.detach().numpy().ravel(), averaged.module.bias.detach().numpy()]
            trace[k - 1] = np.concatenate(parts)
    return trace


@pytest.mark.full
@pytest.mark.parametrize(("start", "every"), [(0, 1), (0, 7), (5, 1), (100, 10)])
@pytest.mark.parametrize(("name", "decay"), [("SWA", 0.0), ("EMA", 0.999), ("EMA", 0.3)])
def test_an_average_is_that_of_torch(engine, name, decay, start, every):
    options = {"start": start, "every": every} | ({"decay": decay} if name == "EMA" else {})
    ours = trail(name, [walk(0)], **options)[:, 0]
    np.testing.assert_allclose(ours, torch_trail(name, walk(0), start, every, decay), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(("start", "every"), [(0, 1), (0, 7), (1, 1), (100, 10), (STEPS, 3)])
def test_the_parameters_that_count_are_those_after_start_and_every_so_many_steps(start, every):
    counted = [k for k in range(start, STEPS + 1, every) if k]
    ours, path = trail("swa", [walk(1)], start=start, every=every)[:, 0], walk(1)
    for k in range(1, STEPS + 1):
        chosen = [path[each - 1] for each in counted if each <= k]
        expected = np.mean(chosen, axis=0) if chosen else np.full(9, np.nan)
        np.testing.assert_allclose(ours[k - 1], expected, rtol=1e-11, atol=1e-12)


def test_ema_is_its_closed_form_and_its_ends_are_the_parameters_and_the_first_of_them():
    path, decay = walk(2), 0.9
    weights = (1 - decay) * decay ** np.arange(STEPS - 1, -1, -1)
    weights[0] = decay ** (STEPS - 1)
    np.testing.assert_allclose(trail("ema", [path], decay=decay)[-1, 0], weights @ path, rtol=1e-11)
    assert trail("ema", [path], decay=0.0)[:, 0].tobytes() == path.tobytes()
    assert (trail("ema", [path], decay=1.0)[:, 0] == path[0]).all()


@pytest.mark.parametrize("lane_fast", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", list(averages))
def test_a_lane_is_its_solo_average(engine, name, dtype, lane_fast):
    walks = [walk(seed, dtype) for seed in range(12)]
    walks[3][50:] = np.nan
    decays = np.array([0.0, 1.0, 0.3, 0.5, 0.9, 0.99] * 2)
    lanes = {"decay": decays} if name == "EMA" else {}
    together = trail(name, walks, dtype, lane_fast, start=3, every=2, **lanes)
    for lane, each in enumerate(walks):
        options = {"decay": decays[lane]} if name == "EMA" else {}
        alone = trail(name, [each], dtype, start=3, every=2, **options)
        assert alone[:, 0].tobytes() == np.ascontiguousarray(together[:, lane]).tobytes()


@pytest.mark.parametrize("name", list(averages))
def test_a_state_goes_on_to_the_same_bits(engine, name):
    path, params = walk(4), Parameters(SHAPES, arrays=Arrays(dtype="float64"))
    first, second = (averages.find(name)(params, start=4, every=3) for _ in range(2))
    for k in range(STEPS):
        params.data[:] = path[k]
        first.step()
        if k in (0, 2, 100):
            state = first.state_dict()
            second = averages.find(name)(params, start=4, every=3)
            second.load_state_dict(state)
            state["values"]["bias"][:] = 0  # a copy
        else:
            second.step()
    assert (first.steps, first.updates) == (second.steps, second.updates) == (STEPS, 199)
    for each in SHAPES:
        assert first.averaged()[each].tobytes() == second.averaged()[each].tobytes()


def test_a_state_that_does_not_fit_is_refused():
    params, other = Parameters(SHAPES), Parameters({"weight": (3, 2)})
    with pytest.raises(StateError, match="not a state of EMA"):
        EMA(params).load_state_dict(SWA(params).state_dict())
    with pytest.raises(StateError, match="other names than"):
        SWA(params).load_state_dict(SWA(other).state_dict())


def test_a_step_allocates_nothing():
    params = Parameters({"w": (1000,)}, lanes=4)
    average = EMA(params)
    for _ in range(3):
        average.step()
    tracemalloc.start()
    try:
        for _ in range(100):
            average.step()
        assert tracemalloc.get_traced_memory()[1] < 2000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"decay": 1.5}, "decay"),
        ({"decay": [0.1, 0.2]}, "decay"),
        ({"decya": 0.5}, "decya"),
        ({"start": -1}, "start"),
        ({"every": 0}, "every"),
        ({"every": 1.5}, "every"),
    ],
)
def test_wrong_options_are_refused(options, field):
    with pytest.raises(ConfigError) as caught:
        EMA(Parameters(SHAPES), **options)
    assert caught.value.field == field


def test_a_rule_with_another_signature_is_no_average():
    with pytest.raises(TypeError, match="before a slash"):

        class Wrong(Average):
            @staticmethod
            def update(a, p, *, decay=0.5):
                a[:] = p
