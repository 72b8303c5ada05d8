"""What every optimizer promises, for whatever is registered."""

import itertools

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.errors import ConfigError, StateError
from optrun.kernels.numpy_engine import NumpyEngine
from optrun.optim import SGD, Adam, AdamW, Optimizer
from optrun.optim.ops import where
from optrun.registry import NonNegative, optimizers
from tests.oracles.rules import variants

RULES = [optimizers.find(name) for name in optimizers]
VARIANTS = [(rule, options) for rule in RULES for options in variants(rule)]
EVERY_RULE = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
EVERY_VARIANT = pytest.mark.parametrize(("rule", "options"), VARIANTS, ids=str)
EVERY_DTYPE = pytest.mark.parametrize("dtype", ["float32", "float64"])
SHAPES = {"a.weight": (3, 5), "a.bias": (5,), "b.weight": (5, 2), "b.bias": (2,)}
STEPS = 12


def parameters(rng, lanes=1, dtype="float64", lane_fast=False):
    params = Parameters(SHAPES, lanes=lanes, arrays=Arrays(dtype=dtype), lane_fast=lane_fast)
    params.data[:] = rng.normal(size=params.data.shape)
    return params


def gradients(rng, lanes=1, steps=STEPS):
    """Gradients in which zeros, -0.0 and denormal numbers occur."""
    found = rng.normal(size=(steps, lanes, 32))
    found[rng.random(found.shape) < 0.1] = 0.0
    found[rng.random(found.shape) < 0.1] = -0.0
    found[rng.random(found.shape) < 0.05] *= 1e-310
    return found


def stepped(optimizer, grads):
    with np.errstate(all="ignore"):  # 0 / 0 where eps is 0, and NaN where a test wants it
        for grad in grads:
            optimizer.params.grad[:] = grad
            optimizer.step()
    return optimizer


def bits(optimizer):
    buffers = [optimizer.params.data]
    for entry in optimizer.state.values():
        buffers += [value for name, value in entry.items() if name != "step"]
    return [np.ascontiguousarray(buffer).tobytes() for buffer in buffers]


def per_lane(rule, options, lanes, rng):
    """Return hyperparameters that differ between lanes; in every third lane those are zero that may be."""
    values = {}
    for name, option in rule.options().items():
        if not option.is_float:
            continue
        centre = options.get(name, option.default)
        values[name] = np.full(lanes, centre) * rng.uniform(0.8, 1.0, lanes)
        zeros = np.where(np.arange(lanes) % 3 == 1, 0.0, values[name])
        try:
            rule.validate_options(
                {**{n: o.default for n, o in rule.options().items()}, **options, name: zeros}
            )
        except ConfigError:
            continue
        if all(bound.holds(zeros).all() for bound in option.bounds):
            values[name] = zeros
    return values


@EVERY_VARIANT
@EVERY_DTYPE
@pytest.mark.parametrize("lane_fast", [False, True])
def test_a_lane_has_the_bits_of_its_solo_run(rule, options, dtype, lane_fast, rng):
    lanes = 7
    values = per_lane(rule, options, lanes, rng)
    params, grads = parameters(rng, lanes, dtype, lane_fast), gradients(rng, lanes)
    grads[5:, 3] = np.nan
    start = params.data.copy()
    together = stepped(rule(params, **{**options, **values}), grads)
    for lane in range(lanes):
        solo = parameters(rng, 1, dtype)
        solo.data[:] = start[lane]
        own = {name: value[lane] for name, value in values.items()}
        stepped(rule(solo, **{**options, **own}), grads[:, lane])
        assert solo.data.tobytes() == np.ascontiguousarray(together.params.data[lane]).tobytes(), lane


@EVERY_VARIANT
@EVERY_DTYPE
def test_tiles_change_no_bit(rule, options, dtype, rng):
    grads = gradients(rng, lanes=4)
    start = parameters(rng, 4, dtype).data
    found = []
    for tile_bytes in (8, 40, 200, 1000, 1 << 20):
        for lane_fast in (False, True):
            params = parameters(rng, 4, dtype, lane_fast)
            params.data[:] = start
            found.append(bits(stepped(rule(params, engine=NumpyEngine(tile_bytes), **options), grads)))
    assert all(each == found[0] for each in found)


@EVERY_VARIANT
def test_groups_have_the_bits_of_optimizers_of_their_own(rule, options, rng):
    grads, start = gradients(rng), parameters(rng).data
    chosen = [{"params": "a.*", "lr": 0.03}, {"params": ["*.weight", "b.bias"], "lr": 0.5}]
    for order in (list(SHAPES), sorted(SHAPES)):
        grouped = Parameters({name: SHAPES[name] for name in order}, arrays=Arrays(dtype="float64"))
        whole = {name: grouped.slices[name] for name in order}
        grouped.data[:] = start
        optimizer = rule(grouped, [chosen[0], {**chosen[1], "params": "b.*"}], **options)
        stepped(optimizer, grads)
        for lr, letter in ((0.03, "a"), (0.5, "b")):
            alone = Parameters(
                {name: shape for name, shape in SHAPES.items() if name[0] == letter},
                arrays=Arrays(dtype="float64"),
            )
            for name in alone:
                alone[name][:] = start[:, whole[name]].reshape(alone[name].shape)
            own = rule(alone, **{**options, "lr": lr})
            for grad in grads:
                for name in alone:
                    alone.grads[name][:] = grad[:, whole[name]].reshape(alone[name].shape)
                own.step()
            for name in alone:
                assert alone[name].tobytes() == np.ascontiguousarray(grouped[name]).tobytes()


@EVERY_VARIANT
@EVERY_DTYPE
def test_a_loaded_state_goes_on_as_if_nothing_had_happened(rule, options, dtype, rng):
    grads = gradients(rng)
    params = parameters(rng, dtype=dtype)
    start = params.data.copy()
    whole = stepped(rule(params, **options), grads)
    for stop in (0, 1, 5):
        first = parameters(rng, dtype=dtype)
        first.data[:] = start
        before = stepped(rule(first, **options), grads[:stop])
        second = parameters(rng, dtype=dtype)
        second.data[:] = first.data
        after = rule(second, lr=0.9)
        after.load_state_dict(before.state_dict())
        assert bits(stepped(after, grads[stop:])) == bits(whole)


@EVERY_VARIANT
def test_a_state_dict_is_a_copy(rule, options, rng):
    optimizer = stepped(rule(parameters(rng), **options), gradients(rng))
    saved, before = optimizer.state_dict(), bits(optimizer)
    for entry in saved["state"].values():
        for name in entry.keys() - {"step"}:
            entry[name][:] = 7
    saved["param_groups"][0]["params"].clear()
    assert bits(optimizer) == before
    assert optimizer.param_groups[0]["params"] == list(SHAPES)


@EVERY_RULE
def test_maximize_descends_the_negated_gradient(rule, rng):
    up, down = parameters(rng), parameters(rng)
    down.data[:] = up.data
    grads = gradients(rng)
    stepped(rule(up, maximize=True), grads)
    stepped(rule(down), -grads)
    assert up.data.tobytes() == down.data.tobytes()


@EVERY_RULE
def test_every_hyperparameter_out_of_bounds_is_refused_wherever_it_comes_from(rule, rng):
    for option in rule.options().values():
        for bound in option.bounds:
            beyond = {"≥": bound.limit - 1, ">": bound.limit, "≤": bound.limit + 1, "<": bound.limit}[
                bound.sign
            ]
            optimizer = rule(parameters(rng, lanes=2))
            for refused in (
                lambda value: rule(parameters(rng, lanes=2), **{option.name: value}),  # noqa: B023
                lambda value: rule(parameters(rng, lanes=2), [{"params": "*", option.name: value}]),  # noqa: B023
                lambda value: optimizer.param_groups[0].update({option.name: value}),  # noqa: B023
                lambda value: optimizer.param_groups[0].__setitem__(option.name, value),  # noqa: B023
            ):
                for value in (beyond, np.array([option.default, beyond])):
                    with pytest.raises(ConfigError, match=f"{rule.__name__}: {option.name} must be") as error:
                        refused(value)
                    assert error.value.field == option.name


@EVERY_RULE
@pytest.mark.parametrize("value", [True, "1e-3", None, np.nan, np.inf, [1e-3, 1e-3, 1e-3], {}])
def test_a_rate_that_is_no_number_is_refused(rule, value, rng):
    with pytest.raises(ConfigError, match="lr must be"):
        rule(parameters(rng, lanes=2), lr=value)


@EVERY_RULE
def test_an_unknown_hyperparameter_is_refused_with_the_nearest_one(rule, rng):
    with pytest.raises(
        ConfigError, match="unknown hyperparameter 'weight_decy'. Did you mean 'weight_decay'"
    ):
        rule(parameters(rng), weight_decy=0.1)
    with pytest.raises(ConfigError, match="unknown hyperparameter 'lrr'"):
        rule(parameters(rng), [{"params": "*", "lrr": 0.1}])
    with pytest.raises(ConfigError, match="maximize"):
        rule(parameters(rng), maximize=1)


@EVERY_RULE
def test_a_closure_is_called_before_the_step_and_its_loss_returned(rule, rng):
    params = parameters(rng)
    optimizer, before = rule(params), params.data.copy()

    def closure():
        assert params.data.tobytes() == before.tobytes()
        params.grad[:] = 1
        return 42.0

    assert optimizer.step(closure) == 42.0
    assert params.data.tobytes() != before.tobytes()


@EVERY_RULE
def test_the_gradient_is_only_read(rule, rng):
    params, grads = parameters(rng), gradients(rng)
    optimizer = rule(params, weight_decay=0.1)
    for grad in grads:
        params.grad[:] = grad
        optimizer.step()
        assert params.grad.tobytes() == np.ascontiguousarray(grad).tobytes()
    optimizer.zero_grad()
    assert not params.grad.any()


def test_hooks_are_called_around_the_step_until_removed(rng):
    called = []
    optimizer = SGD(parameters(rng))
    before = optimizer.register_step_pre_hook(lambda each: called.append(("before", each)))
    after = optimizer.register_step_post_hook(lambda each: called.append(("after", each)))
    optimizer.step()
    before.remove()
    before.remove()
    optimizer.step()
    after.remove()
    optimizer.step()
    assert called == [("before", optimizer), ("after", optimizer), ("after", optimizer)]


def test_the_state_of_another_optimizer_is_refused_and_nothing_changed(rng):
    adam = stepped(Adam(parameters(rng)), gradients(rng))
    sgd = stepped(SGD(parameters(rng), momentum=0.9), gradients(rng))
    before = bits(sgd)
    with pytest.raises(StateError, match="state of Adam, not of SGD"):
        sgd.load_state_dict(adam.state_dict())
    other = Parameters({**SHAPES, "b.bias": (3,)})
    with pytest.raises(StateError, match=r"momentum_buffer of b\.bias is \(1, 3\), not \(1, 2\)"):
        sgd.load_state_dict(stepped(SGD(other, momentum=0.9), [1.0]).state_dict())
    renamed = Parameters({f"x{name}": shape for name, shape in SHAPES.items()})
    with pytest.raises(StateError, match="groups"):
        sgd.load_state_dict(SGD(renamed).state_dict())
    forged = sgd.state_dict()
    forged["state"]["b.bias"]["exp_avg"] = np.zeros((1, 2))
    with pytest.raises(StateError, match="b.bias has an unknown state 'exp_avg'"):
        sgd.load_state_dict(forged)
    assert bits(sgd) == before


def test_only_state_that_the_hyperparameters_ask_for_is_kept(rng):
    def kept(optimizer):
        return set(next(iter(stepped(optimizer, gradients(rng)).state.values()))) - {"step"}

    assert kept(SGD(parameters(rng))) == set()
    assert kept(SGD(parameters(rng), momentum=0.9)) == {"momentum_buffer"}
    assert kept(SGD(parameters(rng, lanes=2), momentum=np.array([0.9, 0.0]))) == {"momentum_buffer"}
    assert kept(Adam(parameters(rng))) == {"exp_avg", "exp_avg_sq"}
    assert kept(AdamW(parameters(rng), amsgrad=True)) == {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}


def test_a_parameter_is_in_one_group_and_a_pattern_matches_something(rng):
    with pytest.raises(ConfigError, match=r"'b\.bias' is in two groups"):
        SGD(parameters(rng), [{"params": "b.*"}, {"params": "*.bias"}])
    with pytest.raises(ConfigError, match=r"no parameter matches 'a\.bais'. Did you mean 'a\.bias'"):
        SGD(parameters(rng), [{"params": "a.bais"}])
    with pytest.raises(ConfigError, match="a group needs params"):
        SGD(parameters(rng), [{"lr": 0.1}])
    with pytest.raises(ConfigError, match="unknown hyperparameter"):
        SGD(parameters(rng)).param_groups[0].setdefault("momentun", 0.9)


def test_parameters_in_no_group_stay_and_start_fresh_when_added(rng):
    params = parameters(rng)
    frozen = params["b.weight"].copy()
    optimizer = stepped(Adam(params, [{"params": "a.*"}], lr=0.1), gradients(rng))
    assert params["b.weight"].tobytes() == frozen.tobytes()
    optimizer.add_param_group({"params": "b.*", "lr": 0.2})
    stepped(optimizer, gradients(rng, steps=2))
    assert {name: entry["step"] for name, entry in optimizer.state.items()} == {
        "a.weight": STEPS + 2,
        "a.bias": STEPS + 2,
        "b.weight": 2,
        "b.bias": 2,
    }


def test_torch_spellings_are_accepted_everywhere(rng):
    optimizer = Adam(parameters(rng), [{"params": "*", "betas": (0.5, 0.6)}], betas=(0.1, 0.2))
    assert (optimizer.defaults["beta1"], optimizer.defaults["beta2"]) == (0.1, 0.2)
    assert (optimizer.param_groups[0]["beta1"], optimizer.param_groups[0]["beta2"]) == (0.5, 0.6)
    optimizer.param_groups[0]["betas"] = (0.7, 0.8)
    assert optimizer.param_groups[0]["beta2"] == 0.8
    with pytest.raises(ConfigError, match="betas must be 2 numbers"):
        Adam(parameters(rng), betas=(0.9,))
    with pytest.raises(ConfigError, match="betas and beta1 say the same thing twice"):
        Adam(parameters(rng), betas=(0.9, 0.99), beta1=0.9)


@pytest.mark.parametrize(("momentum", "dampening"), [(0.0, 0.0), (0.9, 0.1), (np.array([0.9, 0.0]), 0.0)])
def test_nesterov_needs_momentum_without_dampening(momentum, dampening, rng):
    with pytest.raises(ConfigError, match="nesterov needs"):
        SGD(parameters(rng, lanes=2), nesterov=True, momentum=momentum, dampening=dampening)


def test_a_hyperparameter_may_change_between_steps(rng):
    """Against the plain formula: a changed rate, momentum and flag count from the next step on."""
    params = parameters(rng)
    optimizer = SGD(params, lr=0.1, momentum=0.5)
    expected, buffer = params.data.copy(), 0.0
    for t, grad in enumerate(gradients(rng)):
        group = optimizer.param_groups[0]
        group["lr"], group["momentum"] = 0.1 / (t + 1), [0.5, 0.9][t > 5]
        if t == 8:
            group["maximize"] = True
        params.grad[:] = grad
        optimizer.step()
        signed = -grad if t >= 8 else grad
        buffer = signed if t == 0 else group["momentum"] * buffer + signed
        expected -= group["lr"] * buffer
        np.testing.assert_allclose(params.data, expected, rtol=1e-13, atol=1e-300)


def test_a_rule_of_ones_own_is_registered_and_needs_no_more_than_its_update(rng):
    class Heavy(Optimizer):
        @staticmethod
        def update(
            p, g, t, /, velocity, *, lr: NonNegative = 0.1, friction: NonNegative = 0.5, signed: bool = False
        ):
            velocity[:] = (1 - friction) * velocity + where(t > 2, 2.0 * g, g)
            p -= lr * velocity

    try:
        assert optimizers.find("heavy") is Heavy
        params = parameters(rng)
        expected, velocity = params.data.copy(), 0.0
        grads = gradients(rng)
        stepped(optimizers.find("HEAVY")(params, friction=0.25), grads)
        for t, grad in enumerate(grads, 1):
            velocity = 0.75 * velocity + (2.0 * grad if t > 2 else grad)
            expected -= 0.1 * velocity
        np.testing.assert_allclose(params.data, expected, rtol=1e-13)
    finally:
        del optimizers._classes["heavy"], optimizers._names["heavy"]


def test_a_rule_cannot_branch_on_what_differs_between_lanes(rng):
    class Branching(Optimizer):
        @staticmethod
        def update(p, g, t, /, *, lr: NonNegative = 0.1):
            if lr > 0.5:
                p -= g

    try:
        with pytest.raises(TypeError, match=r"use where\(\.\.\.\)"):
            Branching(parameters(rng)).step()
    finally:
        del optimizers._classes["branching"], optimizers._names["branching"]


def test_lanes_of_many_widths_have_their_solo_bits(rng):
    for lanes, dtype in itertools.product((1, 2, 3, 8, 31, 257), ("float32", "float64")):
        params = Parameters({"x": (2,)}, lanes=lanes, arrays=Arrays(dtype=dtype), lane_fast=True)
        params.data[:] = rng.normal(size=(lanes, 2))
        start, lr = params.data.copy(), rng.uniform(1e-3, 1, lanes)
        grads = rng.normal(size=(5, lanes, 2))
        stepped(Adam(params, lr=lr), grads)
        for lane in {0, lanes // 2, lanes - 1}:
            solo = Parameters({"x": (2,)}, arrays=Arrays(dtype=dtype))
            solo.data[:] = start[lane]
            stepped(Adam(solo, lr=lr[lane]), grads[:, lane])
            assert solo.data.tobytes() == params.data[lane].tobytes()


def test_an_impossible_combination_set_later_is_refused_at_the_next_step(rng):
    optimizer = stepped(SGD(parameters(rng), momentum=0.9, nesterov=True), gradients(rng, steps=1))
    optimizer.param_groups[0]["momentum"] = 0.0
    with pytest.raises(ConfigError, match="nesterov needs momentum"):
        optimizer.step()
