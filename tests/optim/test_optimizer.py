"""What is particular to some optimizers, and to groups, hooks and state."""

import ast
import inspect
import io
import itertools
import pickle
import textwrap
import tokenize

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.errors import ConfigError, PluginError, StateError
from optrun.kernels.numpy_engine import NumpyEngine
from optrun.kernels.stepper import Stepper
from optrun.kernels.trace import trace
from optrun.ops import norm, where
from optrun.optim import ASGD, LBFGS, SGD, Adam, AdamW, Muon, NAdam, NonlinearCG, Optimizer, SparseAdam
from optrun.registry import NonNegative, optimizers
from optrun.schedulers import LinearLR, StepLR
from tests.optim.samples import (
    SHAPES,
    STEPS,
    bits,
    gradients,
    parameters,
    stepped,
)
from tests.pairs import few_in_short


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


@pytest.mark.parametrize("seed", few_in_short(zip(range(60)), 4))
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


def test_hooks_are_called_around_the_step_until_removed(rng):
    called = []
    optimizer = SGD(parameters(rng))
    before = optimizer.register_step_pre_hook(lambda *given: called.append(("before", *given)))
    assert not optimizer.has_post_hooks
    optimizer.register_step_post_hook(lambda *given: called.append("unnamed"))
    assert optimizer.has_post_hooks
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


def test_hooks_are_called_around_saving_and_loading(rng):
    called = []
    source, target = (stepped(SGD(parameters(rng), momentum=0.9), gradients(rng)) for _ in range(2))
    source.register_state_dict_pre_hook(lambda *given: called.append(("save", *given)))
    source.register_state_dict_post_hook(lambda each, saved: {**saved, "note": 1})
    first = source.register_state_dict_post_hook(lambda *given: called.append("saved"), prepend=True)
    saved = source.state_dict()
    assert called == [("save", source), "saved"]
    assert saved["note"] == 1
    first.remove()
    source.state_dict()
    assert called[2:] == [("save", source)]

    called.clear()
    target.register_load_state_dict_pre_hook(lambda each, given: called.append(given.pop("note")))
    target.register_load_state_dict_pre_hook(lambda each, given: called.append("first"), prepend=True)
    target.register_load_state_dict_post_hook(lambda *given: called.append(given))
    target.load_state_dict(saved)
    assert called == ["first", 1, (target,)]
    renamed = {**saved, "optimizer": "Adam"}
    source.register_load_state_dict_pre_hook(lambda each, given: {**given, "optimizer": "SGD"})
    source.load_state_dict(renamed)


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


def forge_words(saved):
    saved["state"]["b.bias"]["exp_avg"] = np.array([["a", "b"]])


def forge_complex(saved):
    saved["state"]["b.bias"]["exp_avg"] = np.array([[1j, 2j]])


def forge_entry(saved):
    saved["state"]["b.bias"] = 5


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
        forge_words,
        forge_complex,
        forge_entry,
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
    with pytest.raises(ConfigError, match="unknown option"):
        SGD(parameters(rng)).param_groups[0].setdefault("momentun", 0.9)


def test_parameters_in_no_group_stay_and_start_fresh_when_added(rng):
    params = parameters(rng)
    frozen = params["b.weight"].copy()
    optimizer = stepped(Adam(params, [{"params": "a.*"}], lr=0.1), gradients(rng))
    assert params["b.weight"].tobytes() == frozen.tobytes()
    optimizer.add_param_group({"params": "b.*", "lr": 0.2})
    stepped(optimizer, gradients(rng, steps=2))
    for name, entry in optimizer.state.items():
        assert entry["step"] == (STEPS + 2 if name.startswith("a.") else 2)


def test_torch_spellings_are_accepted_everywhere(rng):
    optimizer = Adam(parameters(rng), [{"params": "*", "betas": (0.5, 0.6)}], betas=(0.1, 0.2))
    assert (optimizer.defaults["beta1"], optimizer.defaults["beta2"]) == (0.1, 0.2)
    assert (optimizer.param_groups[0]["beta1"], optimizer.param_groups[0]["beta2"]) == (0.5, 0.6)
    optimizer.param_groups[0]["betas"] = (0.7, 0.8)
    assert optimizer.param_groups[0]["beta2"] == 0.8
    with pytest.raises(ConfigError, match="betas must be a list of 2: .beta1, beta2. .got .0.9"):
        Adam(parameters(rng), betas=(0.9,))
    with pytest.raises(ConfigError, match="betas and beta1 are both set: choose one"):
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


def test_a_hyperparameter_that_chooses_a_program_needs_a_hash(rng):
    class Newcomer(Optimizer):
        @staticmethod
        def update(p, g, t, /, *, lr: NonNegative = 0.1, sizes: list[int] | tuple[int, ...] = ()):
            p -= lr * g

    try:
        Newcomer(parameters(rng), sizes=(1, 2)).step()
        with pytest.raises(ConfigError, match=r"Newcomer: sizes .* must be hashable, .*\[1, 2\]") as caught:
            Newcomer(parameters(rng), sizes=[1, 2])
        assert caught.value.field == "sizes"
    finally:
        del optimizers._classes["newcomer"], optimizers._names["newcomer"]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (lambda p, g, lr: lr > 0.5 and g, r"use where\(\.\.\.\)"),
        (lambda p, g, lr: p.__isub__(g / norm(g)), "set per_tensor = True"),
        (lambda p, g, lr: p.__isub__(g @ g), "set per_tensor = True"),
        (lambda p, g, lr: p.__isub__(g / len(p.shape)), "set per_tensor = True"),
    ],
)
def test_a_rule_that_no_engine_can_run_is_refused_at_its_own_line(body, complaint, rng):
    class Newcomer(Optimizer):
        @staticmethod
        def update(p, g, t, /, *, lr: NonNegative = 0.1):
            body(p, g, lr)

    place = rf"\(.*test_optimizer\.py:{body.__code__.co_firstlineno}\)"
    try:
        with pytest.raises(PluginError, match=rf"Newcomer: TypeError: .*{complaint}.* {place}"):
            Newcomer(parameters(rng)).step()
    finally:
        del optimizers._classes["newcomer"], optimizers._names["newcomer"]


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


def test_a_number_per_lane_goes_on_when_a_flag_or_the_rate_is_changed(rng):
    """NAdam's product of momenta counts all steps, whatever is set between them."""
    optimizer = NAdam(parameters(rng, lanes=2), beta1=np.array([0.9, 0.5]))
    expected = np.ones(2)
    for t, grad in enumerate(gradients(rng, lanes=2), 1):
        if t == 4:
            optimizer.param_groups[0]["maximize"] = True
        if t == 7:
            optimizer.param_groups[0]["lr"] = 0.5
        if t == 9:
            optimizer.load_state_dict(optimizer.state_dict())
        stepped(optimizer, [grad])
        expected = expected * np.array([0.9, 0.5]) * (1 - 0.5 * 0.96 ** (t * 4e-3))
        np.testing.assert_allclose(optimizer.state["a.bias"]["mu_product"], expected, rtol=1e-14)


def test_numbers_that_differ_within_a_group_are_refused(rng):
    optimizer = stepped(NAdam(parameters(rng)), gradients(rng))
    saved = optimizer.state_dict()
    saved["state"]["b.bias"]["mu_product"] = np.array([0.5])
    with pytest.raises(StateError, match="mu_product of b.bias differs from"):
        optimizer.load_state_dict(saved)
    with pytest.raises(StateError, match="not a state_dict"):
        optimizer.load_state_dict(None)


def test_a_momentum_that_is_scheduled_may_come_to_zero_also_after_a_resume(rng):
    def made():
        optimizer = SGD(parameters(np.random.default_rng(5)), momentum=0.9, nesterov=True)
        return optimizer, LinearLR(
            optimizer, start_factor=0.0, end_factor=1.0, total_iters=3, hyperparameter="momentum"
        )

    def go(optimizer, scheduler, grads):
        for grad in grads:
            stepped(optimizer, [grad])
            scheduler.step()

    grads = gradients(rng)
    (whole, along), (first, before), (second, after) = made(), made(), made()
    go(whole, along, grads)
    go(first, before, grads[:1])
    second.load_state_dict(first.state_dict())
    after.load_state_dict(before.state_dict())
    second.params.data[:] = first.params.data
    go(second, after, grads[1:])
    assert bits(second) == bits(whole)


def test_amsgrad_turned_off_and_on_keeps_its_maximum_also_after_a_resume(rng):
    def go(resumed):
        optimizer = Adam(parameters(np.random.default_rng(5)), amsgrad=True)
        for amsgrad in (True, False, True):
            optimizer.param_groups[0]["amsgrad"] = amsgrad
            stepped(optimizer, gradients(np.random.default_rng(7))[:3])
            if resumed:
                optimizer.load_state_dict(optimizer.state_dict())
        return bits(optimizer)

    assert go(resumed=True) == go(resumed=False)


def test_asgd_keeps_the_average_of_its_parameters(rng):
    params = parameters(rng)
    optimizer = ASGD(params, t0=3.0, lr=0.1)
    assert optimizer.averaged() is None
    seen = []
    for grad in gradients(rng):
        stepped(optimizer, [grad])
        seen.append(params["a.weight"].copy())
    np.testing.assert_allclose(optimizer.averaged()["a.weight"], np.mean(seen[4:], axis=0), rtol=1e-13)
    assert SGD(parameters(rng)).averaged() is None


def test_muon_takes_matrices_alone(rng):
    with pytest.raises(ConfigError, match=r"a\.bias is no matrix \(its shape is \(5,\)\)") as error:
        Muon(parameters(rng))
    assert error.value.field == "params"
    assert list(Muon(parameters(rng), [{"params": "*.weight"}]).param_groups[0]["params"]) == [
        "a.weight",
        "b.weight",
    ]


def test_lbfgs_has_one_lane_one_group_and_a_closure(rng):
    with pytest.raises(ConfigError, match="supports one lane, not 2"):
        LBFGS(parameters(rng, lanes=2))
    with pytest.raises(ConfigError, match="one parameter group"):
        LBFGS(parameters(rng), [{"params": "a.*"}, {"params": "b.*"}])
    with pytest.raises(ConfigError, match="needs a closure"):
        LBFGS(parameters(rng)).step()


@pytest.mark.parametrize(
    ("forged", "said"),
    [
        ({"d": np.zeros((1, 3))}, "d of a.weight"),
        ({"zz": np.zeros(1)}, "'zz' of a.weight is unknown"),
        ({"n_iter": np.zeros(2)}, "n_iter of a.weight"),
        ({"n_iter": None}, "'n_iter' of a.weight is missing"),
        ({"prev_flat_grad": None}, "'prev_flat_grad' of a.weight is missing"),
    ],
)
def test_a_forged_state_of_lbfgs_is_refused(forged, said, rng):
    optimizer = stepped(LBFGS(parameters(rng)), gradients(rng, steps=2))
    saved = optimizer.state_dict()
    entry = saved["state"]["a.weight"] | forged
    saved["state"]["a.weight"] = {name: value for name, value in entry.items() if value is not None}
    with pytest.raises(StateError, match=said):
        optimizer.load_state_dict(saved)


def test_the_state_of_a_search_is_that_of_the_first_parameter_and_may_have_no_direction_yet():
    params = Parameters({"x": (1,), "y": (2,)}, arrays=Arrays(dtype="float64"))
    optimizer = LBFGS(params)
    optimizer.step(lambda: 0.0)  # at a minimum
    saved = optimizer.state_dict()
    assert saved["state"] == {"x": {"step": 1, "n_iter": 0, "t": 0.0, "H_diag": 1.0}, "y": {"step": 1}}
    used = stepped(LBFGS(params), np.ones((2, 1, 3)))
    used.load_state_dict(saved)
    assert used.state_dict()["state"] == saved["state"]
    assert NonlinearCG(params).state_bytes(5) == 8 * (2 * 3 + 2)  # two vectors, two numbers


@pytest.mark.parametrize("rule", [LBFGS, NonlinearCG])
def test_a_memory_that_is_loaded_has_the_types_and_the_bits_of_the_one_that_was_saved(rule, rng):
    def told(optimizer):
        """Numbers are Python's, of double precision, and vectors those of the parameters."""
        return {
            name: [
                type(value),
                *((type(each), np.asarray(each).dtype, np.asarray(each).tobytes()) for each in of),
            ]
            for name, value in vars(optimizer._updates[0].memory).items()
            for of in [value if isinstance(value, list) else [value]]
        }

    saved = stepped(rule(parameters(rng, dtype="float32")), gradients(rng, steps=4))
    loaded = rule(parameters(rng, dtype="float32"))
    loaded.load_state_dict(saved.state_dict())
    assert told(loaded) == told(saved)


def code_lines(cls):
    """Return how many lines of a class hold code: no docstring, comment or blank line."""
    source = textwrap.dedent(inspect.getsource(cls))
    tree = ast.parse(source)
    docstring = tree.body[0].body[0]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    idle = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    lines = {line for kind, _, (line, _), (_, _), _ in tokens if kind not in idle}
    return len(lines - set(range(docstring.lineno, docstring.end_lineno + 1)))


def test_adam_is_at_most_sixteen_lines_of_code_its_search_space_among_them():
    assert code_lines(Adam) <= 16


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
    with pytest.raises(TypeError, match="Untyped.update: lr needs a type, such as lr: float"):
        type("Untyped", (Optimizer,), {"update": staticmethod(lambda p, g, t, /, *, lr=0.1: None)})
    with pytest.raises(ConfigError, match=r"Parameters\.of"):
        SGD([np.zeros(3)])
    with pytest.raises(ConfigError, match=r"groups must be a list of mappings \(got 0\.1\)"):
        SGD(Parameters(SHAPES), 0.1)


def test_a_truth_value_of_numpy_is_no_number():
    with pytest.raises(ConfigError, match=r"SGD: lr must be a number \(got true\)"):
        SGD(Parameters(SHAPES), lr=np.True_)


@pytest.mark.parametrize(
    ("digits", "shown"), [(400, "1" + "0" * 49 + "…"), (5000, "a number that is too long to be shown")]
)
def test_a_long_value_is_shortened_in_a_message(digits, shown):
    with pytest.raises(ConfigError, match=rf"SGD: lr must be finite \(got {shown}\)$"):
        SGD(Parameters(SHAPES), lr=10**digits)


def test_sparse_adam_takes_no_zero_as_torchs_but_a_schedule_may_go_there(rng):
    for name in ("lr", "eps"):
        with pytest.raises(ConfigError, match=f"SparseAdam: {name} must be > 0") as error:
            SparseAdam(parameters(rng), **{name: 0.0})
        assert error.value.field == name
    optimizer = SparseAdam(parameters(rng))
    scheduler = LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=2)
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    assert scheduler.get_last_lr() == [0.0]


def test_a_name_that_looks_like_a_glob_names_its_parameter(rng):
    params = Parameters({"w[0]": (2,), "w0": (2,), "w[1]": (2,), "a*": (2,), "ab": (2,)})
    for pattern, expected in (
        ("w[0]", ["w[0]"]),
        ("w[01]", ["w0"]),
        ("a*", ["a*"]),
        (["w[1]", "a?"], ["w[1]", "a*", "ab"]),
    ):
        assert SGD(params, [{"params": pattern}]).param_groups[0]["params"] == expected
    saved = SGD(params, [{"params": ["w[0]", "w[1]"]}]).state_dict()
    SGD(params, [{"params": "w[[]*"}]).load_state_dict(saved)


@pytest.mark.parametrize("values", [[1 + 2j], ["1"], [True], [None], [[1], [1, 2]], "1"], ids=str)
def test_parameters_that_are_no_real_numbers_are_refused(values):
    with pytest.raises(ConfigError, match="w must be real numbers"):
        Parameters.of({"w": values})
    with pytest.raises(ConfigError, match="w must be real numbers"):
        Parameters({"w": (1,)}).set_lane(0, {"w": values})


def test_a_state_from_before_there_was_a_switch_is_one_with_its_default(rng):
    older = stepped(Adam(parameters(rng), lr=0.5), gradients(rng)).state_dict()
    for group in older["param_groups"]:
        for switch in ("maximize", "amsgrad", "decoupled_weight_decay"):
            del group[switch]
    newer = Adam(parameters(rng), maximize=True)
    newer.load_state_dict(older)
    assert newer.param_groups[0]["maximize"] is False
    del older["param_groups"][0]["lr"]
    with pytest.raises(StateError, match="lr is required"):
        newer.load_state_dict(older)


def test_a_group_has_a_rule_of_its_own_with_its_own_defaults(rng):
    params = parameters(rng, dtype="float64")
    twin = params.copy()
    optimizer = SGD(params, [{"params": "a.*", "lr": 0.1}, {"params": "b.*", "rule": Adam, "lr": 0.2}])
    own = [SGD(twin, [{"params": "a.*", "lr": 0.1}]), Adam(twin, [{"params": "b.*", "lr": 0.2}])]
    for grad in gradients(rng):
        params.grad[:] = twin.grad[:] = grad
        for each in (optimizer, *own):
            each.step()
    assert params.data.tobytes() == twin.data.tobytes()
    assert optimizer.param_groups[1]["beta2"] == 0.999
    saved = optimizer.state_dict()
    again = SGD(params, [{"params": "a.*"}, {"params": "b.*", "rule": Adam}])
    again.load_state_dict(saved)
    assert bits(again) == bits(optimizer)
    assert bits(pickle.loads(pickle.dumps(optimizer))) == bits(optimizer)


@pytest.mark.parametrize("rule", [LBFGS, ASGD])
def test_a_rule_that_works_alone_is_none_of_a_group(rule, rng):
    with pytest.raises(ConfigError, match="goes with no other rule"):
        SGD(parameters(rng), [{"params": "a.*"}, {"params": "b.*", "rule": rule}])


def test_a_schedule_is_of_the_groups_that_have_the_hyperparameter(rng):
    optimizer = SGD(parameters(rng), [{"params": "a.*"}, {"params": "b.*", "rule": Adam}], lr=0.1)
    StepLR(optimizer, step_size=1, gamma=0.5, hyperparameter="beta1").step()
    assert optimizer.param_groups[1]["beta1"] == 0.45
    with pytest.raises(ConfigError, match="group 0 has no beta1"):
        StepLR(optimizer, step_size=1, hyperparameter="beta1", groups=[0])


@pytest.mark.parametrize("steps", [[2, 3], [-1, -1], [True, True], [2.0, 2.0], [2]])
def test_a_state_of_a_rule_with_a_closure_has_one_count_of_steps(steps):
    def made():
        return LBFGS(Parameters({"x": (1,), "y": (2,)}))

    saved = stepped(made(), np.ones((2, 1, 3))).state_dict()
    made().load_state_dict(saved)
    for name, step in itertools.zip_longest(("x", "y"), steps):
        saved["state"][name]["step"] = step
        if step is None:
            del saved["state"][name]["step"]
    with pytest.raises(StateError, match="not one count for all"):
        made().load_state_dict(saved)
