"""Programs: traced, folded and lowered, they compute what the rule says when NumPy runs it directly."""

import numpy as np
import pytest

from optrun import ops
from optrun.kernels.evaluate import evaluate
from optrun.kernels.fold import Known, fold, live_variables
from optrun.kernels.lower import lower
from optrun.kernels.program import coefficients_of
from optrun.kernels.trace import trace
from tests.kernels.engines import EVERY_ENGINE

OLD = {
    "p": [1.5, -2.0, 0.0, 4.0],
    "g": [0.5, 0.25, -3.0, -0.0],
    "a": [1.0, 2.0, -1.0, 0.5],
    "b": [0.1, 0.2, 0.3, -4.0],
}


def reads_after_write(p, g, t, /, a, b, *, h):
    b[:] = a
    a += g
    p -= h * a + b


def chain(p, g, t, /, a, b, *, h):
    a[:] = ops.where(g * b > 0, h * a, ops.where(g * b < 0, a / h, a))
    b[:] = ops.sign(g) * ops.minimum(ops.abs(g), 1.0)
    p *= 1 - h * 0.1
    p -= a * b


def shared_value(p, g, t, /, a, b, *, h):
    a[:] = h * g + a
    b[:] = a
    p[:] = ops.maximum(p - a, -1.0)


def swap_into(p, g, t, /, a, b, *, h):
    old = a * 1.0
    a[:] = ops.where(t > 1, a, g)
    b /= 2.0
    p += old - ops.sqrt(a * a)


def constant(p, g, t, /, a, b, *, h):
    a[:] = 3.0
    b[:] = h
    p -= a * g


def branches(p, g, t, /, a, b, *, h):
    a[:] = ops.where(g * b > h - 1, h * g, g + h) * b
    b[:] = ops.where(a > p, a - g, p * h) - ops.where(a > p, p * h, a - g)
    p += ops.where(-g > a, -a, -b)


RULES = [reads_after_write, chain, shared_value, swap_into, constant, branches]


def directly(rule, h, t):
    values = {name: np.array(value) for name, value in OLD.items()}
    rule(values["p"], values["g"], t, values["a"], values["b"], h=h)
    return {name: values[name] for name in ("p", "a", "b")}


def by_engine(engine, rule, h, t, known=None):
    program = trace(rule, ("a", "b"), ("h",), {})
    outputs = fold(program, known or {}, program.outputs.keys())
    coefficients = coefficients_of(program.outputs)
    values = {"h": np.full((1, 1), h)}
    numbers = [evaluate(each, np.full((1, 1), float(t)), values, {}) for each in coefficients]
    buffers = {name: np.array([value]) for name, value in OLD.items()}
    bound = engine.bind(lower(outputs, coefficients), buffers, [number.reshape(()) for number in numbers])
    bound()
    assert buffers["g"].tolist() == [OLD["g"]]
    return {name: buffers[name][0] for name in ("p", "a", "b")}


@EVERY_ENGINE
@pytest.mark.parametrize("rule", RULES)
def test_the_engine_computes_what_numpy_does(engine, rule):
    for h, t in ((0.5, 1), (1.0, 2), (2.0, 2)):
        expected, found = directly(rule, h, t), by_engine(engine(), rule, h, t)
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=f"{name} with {h} at {t}")


def test_a_term_whose_coefficient_is_zero_is_absent():
    def rule(p, g, t, /, a, *, h):
        p += h * a
        a *= 2.0

    program = trace(rule, ("a",), ("h",), {})
    coefficient = next(each for each in program.coefficients if each.op == "hyperparameter")
    assert fold(program, {coefficient: Known.ZERO}, {"p"})["p"].op == "input"
    assert fold(program, {coefficient: Known.ONE}, {"p"})["p"].op == "add"
    assert fold(program, {coefficient: Known.SOME_ZERO}, {"p"})["p"].op == "where"


def test_state_is_left_out_while_it_stays_at_zero_and_kept_while_it_may_come_to_matter():
    def rule(p, g, t, /, gathering, resting, *, h):
        gathering += g
        resting[:] = ops.where(h > 0, resting + g, resting)
        p += h * gathering + h * resting

    program = trace(rule, ("gathering", "resting"), ("h",), {})
    zero = dict.fromkeys(program.coefficients, Known.ZERO)
    assert live_variables(program, zero) == {"p", "gathering"}
    assert live_variables(program, {}) == {"p", "gathering", "resting"}


def test_state_that_is_the_old_value_of_another_one_does_not_rest():
    def rule(p, g, t, /, last, before_last, *, h):
        p += h * before_last - g
        before_last[:] = last
        last += g

    program = trace(rule, ("last", "before_last"), ("h",), {})
    zero = dict.fromkeys(program.coefficients, Known.ZERO)
    assert live_variables(program, zero) == {"p", "last", "before_last"}


def test_equal_expressions_are_computed_once():
    def rule(p, g, t, /, a, *, h):
        a += h * (g * g)
        p -= h * (g * g)

    program = trace(rule, ("a",), ("h",), {})
    listing = lower(program.outputs, program.coefficients)
    assert sorted(instruction.op for instruction in listing.instructions) == ["add", "mul", "mul", "sub"]


def test_a_step_allocates_no_arrays():
    import tracemalloc

    from optrun.arrays import Arrays, Parameters
    from optrun.optim import Adam

    params = Parameters({"x": (100_000,)}, arrays=Arrays(dtype="float64"))
    params.grad[:] = 1.0
    optimizer = Adam(params)
    optimizer.step()
    tracemalloc.start()
    for _ in range(20):
        optimizer.step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_a_rule_says_what_it_may_not_do():
    def vector(p, g, t, /):
        p -= np.ones(3) * g

    def sum_of_elements(p, g, t, /):
        p -= ops.sum(g)

    def numpy_word(p, g, t, /):
        p -= np.exp(g)

    def numbers_joined(p, g, t, /):
        p -= ops.where((g > 0) & g, 1.0, 2.0)

    def slice_of_array(p, g, t, /):
        p[1:] = g

    def text(p, g, t, /):
        p -= "x" * g

    def nothing(p, g, t, /):
        p = p - g

    def returning(p, g, t, /):
        p -= g
        return p

    for rule, message in [
        (vector, "symbols and numbers, not ndarray"),
        (sum_of_elements, "set per_tensor = True"),
        (numpy_word, "np.exp takes numbers: use the words of optrun.ops"),
        (numbers_joined, "join comparisons"),
        (slice_of_array, "whole arrays"),
        (text, "not str"),
        (nothing, "never assigns p"),
        (returning, "returns a value"),
    ]:
        with pytest.raises(TypeError, match=message):
            trace(rule, (), (), {})


def test_state_that_is_read_is_assigned():
    def forgotten(p, g, t, /, a):
        a = 0.9 * a + g
        p -= a

    def unused(p, g, t, /, a):
        p -= g

    with pytest.raises(TypeError, match="never assigns a in place"):
        trace(forgotten, ("a",), (), {})
    assert trace(unused, ("a",), (), {}).outputs["a"].op == "input"
