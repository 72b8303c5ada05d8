"""What every optimizer promises, for whatever is registered."""

import re

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.errors import ConfigError
from optrun.kernels.numpy_engine import NumpyEngine
from optrun.registry import optimizers
from tests.optim.samples import (
    DTYPES,
    EVERY_LAST_VARIANT,
    EVERY_LAST_VARIANT_IN_SOME_LAYOUT_ON_EVERY_ENGINE,
    EVERY_LAST_VARIANT_ON_EVERY_ENGINE,
    EVERY_RULE,
    EVERY_RULE_IN_SOME_DTYPE,
    EVERY_RULE_ON_EVERY_ENGINE,
    EVERY_VARIANT_IN_SOME_DTYPE,
    EVERY_VARIANT_IN_SOME_LAYOUT_ON_EVERY_ENGINE,
    RULES,
    VARIANTS,
    accepted,
    bits,
    curve,
    gradients,
    in_turn,
    last_in_short,
    needs_groups,
    needs_lanes,
    parameters,
    per_lane,
    stepped,
)


@EVERY_VARIANT_IN_SOME_LAYOUT_ON_EVERY_ENGINE
def test_a_lane_has_the_bits_of_its_solo_run(engine, rule, options, dtype, lane_fast, rng):
    needs_lanes(rule)
    lanes = 17
    values = per_lane(rule, options, lanes, rng)
    params, grads = parameters(rng, rule, lanes, dtype, lane_fast), gradients(rng, rule, lanes)
    params.data[:, ::7] = np.array([np.inf, -0.0, 0.0])[rng.integers(0, 3, params.data[:, ::7].shape)]
    grads[3, :, 1::7] = -np.inf
    grads[5:, 3] = np.nan
    start = params.data.copy()
    together = stepped(rule(params, **{**options, **values}), grads)
    for lane in (0, 3, lanes - 1):
        solo = parameters(rng, rule, 1, dtype)
        solo.data[:] = start[lane]
        own = {name: value[lane] for name, value in values.items()}
        stepped(rule(solo, **{**options, **own}), grads[:, lane])
        # The sign of what NumPy makes of two NaNs depends on where in an array they are.
        found, expected = (
            np.where(np.isnan(each), np.nan, each) for each in (together.params.data[lane], solo.data[0])
        )
        assert found.tobytes() == expected.tobytes(), lane


@pytest.mark.full
@EVERY_RULE_IN_SOME_DTYPE
def test_tiles_change_no_bit(rule, options, dtype, rng):
    lanes = 4 if rule.batched else 1
    grads = gradients(rng, rule, lanes)
    start = parameters(rng, rule, lanes, dtype).data
    found = []
    for tile_bytes in (8, 200, 1 << 20):
        for lane_fast in (False, True):
            params = parameters(rng, rule, lanes, dtype, lane_fast)
            params.data[:] = start
            found.append(bits(stepped(rule(params, engine=NumpyEngine(tile_bytes), **options), grads)))
    assert all(each == found[0] for each in found)


@pytest.mark.full
@EVERY_LAST_VARIANT_ON_EVERY_ENGINE
def test_groups_have_the_bits_of_optimizers_of_their_own(engine, rule, options, rng):
    needs_groups(rule, options)
    grads, start, shapes = gradients(rng, rule), parameters(rng, rule).data, accepted(rule)
    chosen = [{"params": "a.*", "lr": 0.03}, {"params": "b.*", "lr": 0.5}]
    for order in (list(shapes), sorted(shapes)):
        grouped = Parameters({name: shapes[name] for name in order}, arrays=Arrays(dtype="float64"))
        whole = {name: grouped.slices[name] for name in order}
        grouped.data[:] = start
        optimizer = rule(grouped, chosen, **options)
        stepped(optimizer, grads)
        for lr, letter in ((0.03, "a"), (0.5, "b")):
            alone = Parameters(
                {name: shape for name, shape in shapes.items() if name[0] == letter},
                arrays=Arrays(dtype="float64"),
            )
            for name in alone:
                alone[name][:] = start[:, whole[name]].reshape(alone[name].shape)
            own = rule(alone, **{**options, "lr": lr})
            for grad in grads:
                for name in alone:
                    alone.grads[name][:] = grad[:, whole[name]].reshape(alone[name].shape)
                curve(own)
                own.step()
            for name in alone:
                assert alone[name].tobytes() == np.ascontiguousarray(grouped[name]).tobytes()


@EVERY_LAST_VARIANT_IN_SOME_LAYOUT_ON_EVERY_ENGINE
def test_a_loaded_state_goes_on_as_if_nothing_had_happened(engine, rule, options, dtype, lane_fast, rng):
    grads = gradients(rng, rule)
    params = parameters(rng, rule, dtype=dtype, lane_fast=lane_fast)
    start = params.data.copy()
    whole = stepped(rule(params, **options), grads)
    for stop in (1, 5):
        first = parameters(rng, rule, dtype=dtype)
        first.data[:] = start
        before = stepped(rule(first, **options), grads[:stop])
        second = parameters(rng, rule, dtype=dtype)
        second.data[:] = first.data
        after = rule(second, lr=0.9)
        after.load_state_dict(before.state_dict())
        assert bits(stepped(after, grads[stop:])) == bits(whole)


@pytest.mark.full
@EVERY_LAST_VARIANT
def test_a_state_dict_is_a_copy(rule, options, rng):
    optimizer = stepped(rule(parameters(rng, rule), **options), gradients(rng, rule))
    saved, before = optimizer.state_dict(), bits(optimizer)
    for entry in saved["state"].values():
        for name in entry.keys() - {"step"}:
            entry[name][:] = 7
    saved["param_groups"][0]["params"].clear()
    assert bits(optimizer) == before
    assert optimizer.param_groups[0]["params"] == list(accepted(rule))


@EVERY_RULE_ON_EVERY_ENGINE
def test_maximize_descends_the_negated_gradient(engine, rule, rng):
    up, down = parameters(rng, rule), parameters(rng, rule)
    down.data[:] = up.data
    ascending, descending = rule(up, maximize=True), rule(down)
    for grad in gradients(rng, rule):
        for sign, optimizer in ((1.0, ascending), (-1.0, descending)):

            def line(sign=sign, params=optimizer.params, grad=grad):
                params.grad[:] = sign * grad
                return sign * float((grad * params.data).sum())

            optimizer.step(line)
    assert up.data.tobytes() == down.data.tobytes()


@EVERY_RULE
def test_every_hyperparameter_out_of_bounds_is_refused_wherever_it_comes_from(rule, rng):
    lanes = 2 if rule.batched else 1
    for option in rule.options().values():
        for bound in option.bounds:
            beyond = {"≥": bound.limit - 1, ">": bound.limit, "≤": bound.limit + 1, "<": bound.limit}[
                bound.sign
            ]
            optimizer = rule(parameters(rng, rule, lanes))
            for refused in (
                lambda value: rule(parameters(rng, rule, lanes), **{option.name: value}),  # noqa: B023
                lambda value: rule(parameters(rng, rule, lanes), [{"params": "*", option.name: value}]),  # noqa: B023
                lambda value: optimizer.param_groups[0].update({option.name: value}),  # noqa: B023
                lambda value: optimizer.param_groups[0].__setitem__(option.name, value),  # noqa: B023
            ):
                for value in (beyond, np.array([option.default, beyond][-lanes:])):
                    with pytest.raises(
                        ConfigError, match=re.escape(f"{rule.__name__}: {option.name} must be")
                    ) as error:
                        refused(value)
                    assert error.value.field == option.name


@EVERY_RULE
def test_a_rate_that_is_no_number_is_refused(rule, rng):
    for value in (True, "1e-3", None, np.nan, np.inf, [1e-3, 1e-3, 1e-3], {}):
        with pytest.raises(ConfigError, match="lr must be"):
            rule(parameters(rng, rule), lr=value)


@EVERY_RULE
def test_an_unknown_hyperparameter_is_refused_with_the_nearest_one(rule, rng):
    for name in rule.options():
        with pytest.raises(ConfigError, match=f"unknown option '{name}z'.*Did you mean"):
            rule(parameters(rng, rule), **{f"{name}z": 0.1})
    with pytest.raises(ConfigError, match="unknown option 'lrr'"):
        rule(parameters(rng, rule), [{"params": "*", "lrr": 0.1}])
    with pytest.raises(ConfigError, match="maximize"):
        rule(parameters(rng, rule), maximize=1)


@EVERY_RULE
def test_a_closure_is_called_before_the_step_and_its_loss_returned(rule, rng):
    params, losses = parameters(rng, rule), []
    optimizer, before = rule(params), params.data.copy()

    def closure():
        assert losses or params.data.tobytes() == before.tobytes()
        params.grad[:] = 1
        losses.append(42.0 - len(losses))
        return losses[-1]

    assert optimizer.step(closure) == 42.0
    assert rule.needs_closure or len(losses) == 1
    optimizer.step(closure)  # at its first step ADOPT only observes
    assert params.data.tobytes() != before.tobytes()


@EVERY_RULE_ON_EVERY_ENGINE
def test_the_gradient_is_only_read(engine, rule, rng):
    if rule.needs_closure:
        pytest.skip(f"{rule.__name__} asks the closure for gradients")
    params, grads = parameters(rng, rule), gradients(rng, rule)
    optimizer = rule(params, **({"weight_decay": 0.1} if "weight_decay" in rule.options() else {}))
    for grad in grads:
        params.grad[:] = grad
        optimizer.step(loss=1.0)
        assert params.grad.tobytes() == np.ascontiguousarray(grad).tobytes()
    optimizer.zero_grad()
    assert not params.grad.any()


@pytest.mark.parametrize(("rule", "dtype"), in_turn(zip(RULES), DTYPES), ids=str)
def test_where_the_gradient_is_zero_nothing_but_decay_moves(rule, dtype, rng):
    if "Noise" in rule.__name__:
        pytest.skip(f"{rule.__name__} adds to the gradient")
    decays = {name: 0.0 for name in ("weight_decay", "lambd") if name in rule.options()}
    # Of rules that find the rate themselves, which begin with a tiny one.
    first = {name: 0.5 for name in ("d0", "reps_rel", "r_eps", "wrap.0.s_init") if name in rule.options()}
    params = parameters(rng, rule, dtype=dtype)
    params.data[0, :2] = [0.0, -0.0]
    before = params.data.copy()
    optimizer = rule(params, **decays)

    def closure():
        params.grad[:] = 0
        return 1.0

    for _ in range(3):
        assert optimizer.step(closure) == 1.0
    assert params.data.tobytes() == before.tobytes()
    if "weight_decay" in rule.options() and "Hyperball" not in rule.__name__:  # which keeps the norm
        stepped(rule(params, weight_decay=0.1, lr=0.1, **first), np.zeros((3, 1, params.size)))
        large = np.abs(before) > 0.5
        assert (np.abs(params.data[large]) < np.abs(before[large])).all()


@EVERY_RULE_IN_SOME_DTYPE
def test_parameters_and_state_keep_the_dtype(rule, options, dtype, rng):
    optimizer = stepped(rule(parameters(rng, rule, dtype=dtype), **options), gradients(rng, rule))
    assert optimizer.params.data.dtype == dtype
    for name, entry in optimizer.state.items():
        for state, value in entry.items():
            assert state in ("step", "ro") or value.ndim == 1 or value.dtype == dtype, (name, state)


@pytest.mark.full
@EVERY_LAST_VARIANT
def test_a_loaded_state_is_saved_again_as_it_was(rule, options, rng):
    first = stepped(rule(parameters(rng, rule), **options), gradients(rng, rule))
    second = rule(parameters(rng, rule))
    second.load_state_dict(first.state_dict())
    again = second.state_dict()
    for parameter, entry in first.state_dict()["state"].items():
        assert entry.keys() == again["state"][parameter].keys()
        for name, value in entry.items():
            np.testing.assert_array_equal(value, again["state"][parameter][name])


@EVERY_RULE
def test_a_fresh_state_makes_an_optimizer_fresh(rule, rng):
    fresh = rule(parameters(rng, rule))
    used = stepped(rule(parameters(rng, rule)), gradients(rng, rule))
    used.load_state_dict(fresh.state_dict())
    assert used.state_dict()["state"].keys() == fresh.state_dict()["state"].keys()
    used.params.data[:] = fresh.params.data
    grads = gradients(rng, rule)
    assert bits(stepped(used, grads)) == bits(stepped(fresh, grads))


@EVERY_VARIANT_IN_SOME_DTYPE
def test_the_bytes_of_the_state_are_known_before_it_is_there(rule, options, dtype, rng):
    optimizer = rule(parameters(rng, rule, 3 if rule.batched else 1, dtype), **options)
    steps = 12
    foreseen = optimizer.state_bytes(steps)
    stepped(optimizer, gradients(rng, rule, optimizer.params.lanes, steps))
    numbers = {*rule.scalar_states(), "step", "n_iter", "t", "H_diag", "ro"}
    taken = sum(
        value.nbytes
        for entry in optimizer.state.values()
        for name, value in entry.items()
        if name not in numbers
    )
    # L-BFGS may find the minimum before it has all pairs.
    assert taken <= foreseen if rule.needs_closure else taken == foreseen


INERT = [(optimizers.find(name), options) for name, options in (("SGD", {}), ("Muon", {"ns_steps": 0}))]


@pytest.mark.parametrize(("rule", "options"), [*last_in_short(VARIANTS), *INERT], ids=str)
def test_a_hyperparameter_that_is_not_read_changes_no_bit(rule, options, rng):
    start, grads = parameters(rng, rule), gradients(rng, rule)
    floats = {name: option for name, option in rule.options().items() if option.is_float}
    of = rule(start.copy(), **options)
    inert = {name for name in floats if not of.is_read(name)}
    if (rule, options) in INERT:
        assert inert == {"SGD": {"dampening"}, "Muon": {"ns_a", "ns_b", "ns_c"}}[rule.__name__]
    kept = stepped(of, grads).params.data.tobytes()
    for name in inert:
        value = next(each for each in (0.25, 3.0) if all(bound.holds(each) for bound in floats[name].bounds))
        other = rule(start.copy(), **{**options, name: value})
        assert stepped(other, grads).params.data.tobytes() == kept, name
