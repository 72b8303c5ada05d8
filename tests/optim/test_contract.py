"""What every optimizer promises, for whatever is registered."""

import contextlib
import itertools

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.errors import ConfigError, PluginError, StateError
from optrun.kernels.numpy_engine import NumpyEngine
from optrun.kernels.stepper import Stepper
from optrun.kernels.trace import trace
from optrun.optim import SGD, Adam, AdamW, Optimizer
from optrun.optim.ops import where
from optrun.registry import NonNegative, optimizers
from tests.oracles.rules import variants

RULES = [optimizers.find(name) for name in optimizers]
VARIANTS = [(rule, options) for rule in RULES for options in variants(rule)]
EVERY_RULE = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
EVERY_VARIANT = pytest.mark.parametrize(("rule", "options"), VARIANTS, ids=str)


def needs_lanes(rule):
    if not rule.batched:
        pytest.skip(f"{rule.__name__} has one lane")


def needs_groups(rule):
    if not rule.batched:
        pytest.skip(f"{rule.__name__} has one group")


EVERY_DTYPE = pytest.mark.parametrize("dtype", ["float32", "float64"])
SHAPES = {"a.weight": (3, 5), "a.bias": (5,), "b.weight": (5, 2), "b.bias": (2,)}
STEPS = 12


def accepted(rule):
    """Return the shapes of those parameters that the rule takes: Muon's are matrices."""
    shapes = {}
    for name, shape in SHAPES.items():
        with contextlib.suppress(ConfigError):
            rule.validate_parameter(name, shape)
            shapes[name] = shape
    return shapes


def parameters(rng, rule=Optimizer, lanes=1, dtype="float64", lane_fast=False):
    params = Parameters(accepted(rule), lanes=lanes, arrays=Arrays(dtype=dtype), lane_fast=lane_fast)
    params.data[:] = rng.normal(size=params.data.shape)
    return params


def gradients(rng, rule=Optimizer, lanes=1, steps=STEPS):
    """Gradients in which zeros, -0.0 and denormal numbers occur."""
    found = rng.normal(size=(steps, lanes, parameters(rng, rule).size))
    found[rng.random(found.shape) < 0.1] = 0.0
    found[rng.random(found.shape) < 0.1] = -0.0
    found[rng.random(found.shape) < 0.05] *= 1e-310
    return found


def stepped(optimizer, grads):
    params = optimizer.params

    def bowl():
        """A quadratic whose gradient where all parameters are 0 is the given one."""
        params.grad[:] = grad + 0.5 * params.data
        return float((grad * params.data + 0.25 * params.data**2).sum())

    with np.errstate(all="ignore"):  # 0 / 0 where eps is 0, and NaN where a test wants it
        for grad in grads:
            params.grad[:] = grad
            optimizer.step(bowl if optimizer.needs_closure else None)
    return optimizer


def bits(optimizer):
    buffers = [optimizer.params.data]
    for entry in optimizer.state.values():
        buffers += [value for name, value in entry.items() if name != "step"]
    return [np.ascontiguousarray(buffer).tobytes() for buffer in buffers]


def per_lane(rule, options, lanes, rng):
    """Return hyperparameters that differ between lanes; each that may be zero is so in lanes of its own."""
    values = {}
    for name, option in rule.options().items():
        if not option.is_float:
            continue
        centre = options.get(name, option.default)
        factor = rng.uniform(0.8, 1.0, lanes)
        moved = np.full(lanes, centre) * factor
        holds = all(bound.holds(moved).all() for bound in option.bounds)
        values[name] = moved if holds else np.full(lanes, centre) / factor
        zeros = np.where(rng.random(lanes) < 0.4, 0.0, values[name])
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
    needs_lanes(rule)
    lanes = 17
    values = per_lane(rule, options, lanes, rng)
    params, grads = parameters(rng, rule, lanes, dtype, lane_fast), gradients(rng, rule, lanes)
    params.data[:, ::7] = np.array([np.inf, -0.0, 0.0])[rng.integers(0, 3, params.data[:, ::7].shape)]
    grads[3, :, 1::7] = -np.inf
    grads[5:, 3] = np.nan
    start = params.data.copy()
    together = stepped(rule(params, **{**options, **values}), grads)
    for lane in range(lanes):
        solo = parameters(rng, rule, 1, dtype)
        solo.data[:] = start[lane]
        own = {name: value[lane] for name, value in values.items()}
        stepped(rule(solo, **{**options, **own}), grads[:, lane])
        assert solo.data.tobytes() == np.ascontiguousarray(together.params.data[lane]).tobytes(), lane


def random_rule(draw):
    """Return the update of a rule made of random sums of terms, whose coefficients h0 … h3 may be zero."""

    def term(leaf, depth):
        if depth == 0 or draw.random() < 0.2:
            return leaf()
        left, right = term(leaf, depth - 1), term(leaf, depth - 1)
        kind = draw.integers(0, 5)
        return left + right if kind < 2 else left - right if kind < 4 else leaf.coefficient() * (left + right)

    class Leaf:
        def __init__(self, arrays, coefficients):
            self.arrays, self.coefficients = arrays, coefficients

        def coefficient(self):
            return self.coefficients[draw.integers(0, len(self.coefficients))]

        def __call__(self):
            array = self.arrays[draw.integers(0, len(self.arrays))]
            return self.coefficient() * array if draw.random() < 0.7 else array * 1.5

    def update(p, g, t, /, a, *, h0, h1, h2, h3):
        leaf = Leaf((p, g, a), (h0, h1, h2, h3))
        a[:] = term(leaf, 3)
        p[:] = term(leaf, 3)

    return update


@pytest.mark.parametrize("seed", range(60))
def test_a_lane_of_any_rule_has_its_solo_bits(seed):
    """The law of absent terms on random rules: zeros in some lanes, infinities and signed zeros in the arrays."""
    rng, lanes, names = np.random.default_rng(seed), 9, ("h0", "h1", "h2", "h3")
    program = trace(random_rule(np.random.default_rng(seed)), ("a",), names, {})
    values = {name: rng.choice([0.0, 0.0, 1.0, 0.5, -2.0], lanes) for name in names}
    if seed % 3 == 0:
        values["h0"][:] = 0.0
    start = {name: rng.choice([0.0, -0.0, 1.0, -3.0, np.inf, 0.25], (lanes, 6)) for name in ("p", "g", "a")}

    def run(lane):
        buffers = {name: np.ascontiguousarray(value[lane]) for name, value in start.items()}
        stepper = Stepper(program, NumpyEngine(), buffers.__getitem__, [slice(0, 6)])
        columns = {name: value[None, lane] for name, value in values.items()}
        stepper.prepare(
            1,
            1,
            {name: each[:, :1] if (each == each[0, 0]).all() else each for name, each in columns.items()},
            frozenset(),
        )
        with np.errstate(all="ignore"):
            stepper.run(0)
        return {name: buffers[name] for name in ("p", "a") if name in stepper.live}

    together = run(slice(None))
    for lane in range(lanes):
        solo = run(slice(lane, lane + 1))
        for name, value in solo.items():
            expected, found = value[0], together[name][lane]
            same = (expected.view(np.int64) == found.view(np.int64)) | (np.isnan(expected) & np.isnan(found))
            assert same.all(), (lane, name, expected, found)


@EVERY_VARIANT
@EVERY_DTYPE
def test_tiles_change_no_bit(rule, options, dtype, rng):
    lanes = 4 if rule.batched else 1
    grads = gradients(rng, rule, lanes)
    start = parameters(rng, rule, lanes, dtype).data
    found = []
    for tile_bytes in (8, 40, 200, 1000, 1 << 20):
        for lane_fast in (False, True):
            params = parameters(rng, rule, lanes, dtype, lane_fast)
            params.data[:] = start
            found.append(bits(stepped(rule(params, engine=NumpyEngine(tile_bytes), **options), grads)))
    assert all(each == found[0] for each in found)


@EVERY_VARIANT
def test_groups_have_the_bits_of_optimizers_of_their_own(rule, options, rng):
    needs_groups(rule)
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
                own.step()
            for name in alone:
                assert alone[name].tobytes() == np.ascontiguousarray(grouped[name]).tobytes()


@EVERY_VARIANT
@EVERY_DTYPE
def test_a_loaded_state_goes_on_as_if_nothing_had_happened(rule, options, dtype, rng):
    grads = gradients(rng, rule)
    params = parameters(rng, rule, dtype=dtype)
    start = params.data.copy()
    whole = stepped(rule(params, **options), grads)
    for stop in (0, 1, 5):
        first = parameters(rng, rule, dtype=dtype)
        first.data[:] = start
        before = stepped(rule(first, **options), grads[:stop])
        second = parameters(rng, rule, dtype=dtype)
        second.data[:] = first.data
        after = rule(second, lr=0.9)
        after.load_state_dict(before.state_dict())
        assert bits(stepped(after, grads[stop:])) == bits(whole)


@EVERY_VARIANT
def test_a_state_dict_is_a_copy(rule, options, rng):
    optimizer = stepped(rule(parameters(rng, rule), **options), gradients(rng, rule))
    saved, before = optimizer.state_dict(), bits(optimizer)
    for entry in saved["state"].values():
        for name in entry.keys() - {"step"}:
            entry[name][:] = 7
    saved["param_groups"][0]["params"].clear()
    assert bits(optimizer) == before
    assert optimizer.param_groups[0]["params"] == list(accepted(rule))


@EVERY_RULE
def test_maximize_descends_the_negated_gradient(rule, rng):
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
                    words = "must be" if option.is_float else "nput should be"
                    with pytest.raises(
                        ConfigError, match=f"{rule.__name__}: {option.name}:? .*{words}"
                    ) as error:
                        refused(value)
                    assert error.value.field == option.name


@EVERY_RULE
@pytest.mark.parametrize("value", [True, "1e-3", None, np.nan, np.inf, [1e-3, 1e-3, 1e-3], {}])
def test_a_rate_that_is_no_number_is_refused(rule, value, rng):
    with pytest.raises(ConfigError, match="lr must be"):
        rule(parameters(rng, rule), lr=value)


@EVERY_RULE
def test_an_unknown_hyperparameter_is_refused_with_the_nearest_one(rule, rng):
    for name in rule.options():
        with pytest.raises(ConfigError, match=f"unknown hyperparameter '{name}z'.*Did you mean"):
            rule(parameters(rng, rule), **{f"{name}z": 0.1})
    with pytest.raises(ConfigError, match="unknown hyperparameter 'lrr'"):
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
        losses.append(42.0 + len(losses))
        return losses[-1]

    assert optimizer.step(closure) == 42.0
    assert rule.needs_closure or len(losses) == 1
    assert params.data.tobytes() != before.tobytes()


@EVERY_RULE
def test_the_gradient_is_only_read(rule, rng):
    if rule.needs_closure:
        pytest.skip(f"{rule.__name__} asks the closure for gradients")
    params, grads = parameters(rng, rule), gradients(rng, rule)
    optimizer = rule(params, **({"weight_decay": 0.1} if "weight_decay" in rule.options() else {}))
    for grad in grads:
        params.grad[:] = grad
        optimizer.step()
        assert params.grad.tobytes() == np.ascontiguousarray(grad).tobytes()
    optimizer.zero_grad()
    assert not params.grad.any()


def test_hooks_are_called_around_the_step_until_removed(rng):
    called = []
    optimizer = SGD(parameters(rng))
    before = optimizer.register_step_pre_hook(lambda *given: called.append(("before", *given)))
    optimizer.register_step_post_hook(lambda *given: called.append("unnamed"))
    after = optimizer.register_step_post_hook(lambda *given: called.append(("after", *given)))
    optimizer.step()
    before.remove()
    before.remove()
    optimizer.step()
    after.remove()
    optimizer.step()
    afterwards = ["unnamed", ("after", optimizer, (), {})]
    assert called == [("before", optimizer, (), {}), *afterwards, *afterwards, "unnamed"]


def test_a_pre_hook_may_replace_the_arguments(rng):
    optimizer = SGD(parameters(rng))
    optimizer.register_step_pre_hook(lambda each, args, kwargs: ((lambda: 7.0,), kwargs))
    assert optimizer.step(lambda: 1.0) == 7.0


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
    assert bits(sgd) == before


def forge_extra(saved):
    saved["state"]["b.bias"]["exp_avg_sq"] = np.zeros((1, 2))
    saved["state"]["b.bias"]["zz"] = np.zeros((1, 2))


def forge_missing(saved):
    for entry in saved["state"].values():
        del entry["exp_avg"]


def forge_parameter(saved):
    saved["state"]["zz"] = saved["state"]["b.bias"]


def forge_dropped(saved):
    del saved["state"]["b.bias"]


def forge_step(saved):
    saved["state"]["b.bias"]["step"] = 3


def forge_text(saved):
    for entry in saved["state"].values():
        entry["step"] = "3"


def forge_rate(saved):
    saved["param_groups"][-1]["lr"] = -1.0


def forge_groups(saved):
    del saved["param_groups"]


@pytest.mark.parametrize(
    "forge",
    [
        forge_extra,
        forge_missing,
        forge_parameter,
        forge_dropped,
        forge_step,
        forge_text,
        forge_rate,
        forge_groups,
    ],
)
def test_a_forged_state_is_refused_and_nothing_changed(forge, rng):
    groups = [{"params": "a.*", "lr": 0.5}, {"params": "b.*"}]
    saved = stepped(Adam(parameters(rng), groups), gradients(rng)).state_dict()
    forge(saved)
    adam = stepped(Adam(parameters(rng), groups, lr=0.3), gradients(rng, steps=2))
    before, rates = bits(adam), [group["lr"] for group in adam.param_groups]
    with pytest.raises(StateError):
        adam.load_state_dict(saved)
    assert bits(adam) == before
    assert [group["lr"] for group in adam.param_groups] == rates


@EVERY_VARIANT
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
    used.params.data[:] = fresh.params.data
    grads = gradients(rng, rule)
    assert bits(stepped(used, grads)) == bits(stepped(fresh, grads))


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
        with pytest.raises(PluginError, match=r"Branching: TypeError: .* use where\(\.\.\.\) \(.*\.py:\d+\)"):
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


def test_momentum_turned_on_later_starts_from_nothing_in_every_lane(rng):
    grads = gradients(rng, lanes=2)
    params, start = parameters(rng, lanes=2), None
    start = params.data.copy()

    def run(params, momentum, later, grads):
        optimizer = stepped(SGD(params, momentum=momentum), grads[:5])
        optimizer.param_groups[0]["momentum"] = later
        return stepped(optimizer, grads[5:])

    together = run(params, np.array([0.0, 0.9]), np.array([0.9, 0.9]), grads)
    for lane, momentum in enumerate((0.0, 0.9)):
        solo = parameters(rng)
        solo.data[:] = start[lane]
        run(solo, momentum, 0.9, grads[:, lane])
        assert solo.data.tobytes() == together.params.data[lane].tobytes()


def test_a_rate_per_lane_is_replaced_not_written_into(rng):
    optimizer = SGD(parameters(rng, lanes=2), lr=np.array([0.1, 0.2]))
    with pytest.raises(ValueError, match="read-only"):
        optimizer.param_groups[0]["lr"][:] = -5


def test_an_empty_list_of_groups_is_refused(rng):
    with pytest.raises(ConfigError, match="empty"):
        SGD(parameters(rng), [])


def test_parameters_without_elements_are_left_alone(rng):
    params = Parameters({"none": (0,), "some": (2,)}, arrays=Arrays(dtype="float64"))
    params.grad[:] = 1.0
    SGD(params, [{"params": "none"}, {"params": "some"}], lr=0.5).step()
    assert params["some"].tolist() == [[-0.5, -0.5]]


def test_a_base_class_of_ones_own_is_no_optimizer():
    class _Base(Optimizer):
        pass

    class Shared(Optimizer):
        pass

    assert "_Base" not in optimizers
    assert "Shared" not in optimizers


def test_a_signature_that_is_none_of_a_rule_is_refused_where_it_is_written():
    with pytest.raises(TypeError, match="p, g, t before a slash"):
        type("NoSlash", (Optimizer,), {"update": staticmethod(lambda p, g, t, *, lr=0.1: None)})
    with pytest.raises(TypeError, match="needs a hyperparameter lr"):
        type("NoRate", (Optimizer,), {"update": staticmethod(lambda p, g, t, /: None)})
    with pytest.raises(ConfigError, match=r"Parameters\.of"):
        SGD([np.zeros(3)])
