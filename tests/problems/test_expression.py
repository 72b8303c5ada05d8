"""Functions in a config: values and gradients are SymPy's, and mistakes are named with their place."""

import operator
from functools import reduce

import numpy as np
import pytest

import optrun
from optrun import ops
from optrun.arrays import Arrays, Parameters
from optrun.config import ConfigErrors, from_mapping
from optrun.problems import Expression
from optrun.problems.formula_words import GRAMMAR
from optrun.sweeps.plan.packs import grouped
from tests.problems.cases import SMALL

X, XY = {"x": [0.3, -1.2, 0.7, 2.1]}, {"x": 0.3, "y": -1.2}
C = {"c": [1.0, 2.0, 3.0, 4.0]}
FORMULAS = [
    ("(1 - x)**2 + a * (y - x**2)**2", XY, {"a": 100.0}, ""),
    ("x**4 - 3 * x + +y**2 / (1 + x**2) - y**-2", XY, {}, ""),
    ("exp(x) * log(y**2) + sin(x * y) - cos(y) / sqrt(1 + x**2)", XY, {}, ""),
    ("tanh(x) + arctan(y) + log1p(x) + pi * x + e**y", XY, {}, ""),
    ("x**1.5 + power(x, 2.5) + x**0.5 + 2**y + (1 + x**2)**y + x**(1 / 2)", XY, {}, ""),
    (
        "abs(y) * x + sign(y) * x + clip(y, -1, 1) * x + max(x, y, 0.1) * min(x, y**2)",
        XY,
        {},
        "-x*y - x - x + x*x",
    ),
    ("maximum(x, y) - minimum(x, 3) + lerp(x, y, 0.25) + x**2 if x > y else y", XY, {}, "x + (y-x)/4 + x**2"),
    (
        "(x > 0) * x**3 + (0 < y < 1) * y + where(y < 0, x * y, x) + (-x if 2 < 1 else x)",
        XY,
        {},
        "x**3 + x*y + x",
    ),
    ("y % 0.7 * x + mod(x, 0.2) + y // 0.7 * x", XY, {}, "(y + 1.4) * x + x - 0.2 - 2 * x"),
    ("floor(y) * x + ceil(y) * x", XY, {}, "-3 * x"),
    ("sum(x**2) + norm(x) + mean(x**3) + prod(x) + dot(x, c)", X, C, ""),
    ("sum(100 * (x[1:] - x[:-1]**2)**2 + (1 - x[:-1])**2)", X, {}, ""),
    ("sum(100 * (x[i + 1] - x[i]**2)**2 + (1 - x[i])**2 for i in range(len(x) - 1))", X, {}, ""),
    ("sum([(i + 1) * x[len(x) - 1 - i]**2 * c[i] for i in range(len(x))])", X, C, ""),
    ("x[0] * x[-1] + sum(x[::2]) * x[1] + sum(x[::-1] * c)", X, C, ""),
    ("prod(1 + x[2 * k]**2 for k in range(2)) + mean(x[k] * x[k - 1] for k in range(3, 0, -1))", X, {}, ""),
    (
        "sum((i != j) * x[i] * x[j]**2 / (i + j + 1) for i in range(3) for j in range(i, 4))",
        X,
        {},
        "sum(x[i] * x[j]**2 / (i + j + 1) for i in range(3) for j in range(i, 4) if i != j)",
    ),
    (
        "sum(sum(x[j] for j in range(i + 1))**2 for i in range(len(x))) + sum(a for i in range(3)) * x[0]",
        X,
        {"a": 2.0},
        "",
    ),
    ("sum((x[i] - x[j])**2 * (i + 1) for i in range(4) for j in range(i))", X, {}, ""),
    ("mean(x[i]**2 * x[j] for i in range(3, -1, -1) for j in range(i + 1))", X, {}, ""),
    ("mean(x[i] * x[j] * x[k] for i in range(4) for j in range(i) for k in range(j, 3))", X, {}, ""),
    ("sum(prod(1 + x[j] for j in range(i)) * sum(x[k] for k in range(i, 3)) for i in range(4))", X, {}, ""),
    (
        "max((x[i] - 1)**2 for i in range(4)) + min(x[i] * x[(i + 1) % 4] for i in range(4))",
        X,
        {},
        "(x[1]-1)**2 + x[1]*x[2]",
    ),
    ("sum(x * y[0] - y[1]**3 * z) + norm(y)", {"x": [1.5, 2.5], "y": [0.5, -0.7], "z": 0.4}, {}, ""),
    ("θ**2 +\n 2 * x_2", {"θ": 0.5, "x_2": 1.0}, {}, "θ**2 + 2*x_2"),
]


def total(values):
    return reduce(operator.add, list(values), 0)


def meanings(sympy):
    """The words, as SymPy and plain Python mean them, for its numbers and arrays of them."""
    return {
        **{name: getattr(sympy, name) for name in ("sqrt", "exp", "log", "sin", "cos", "tanh")},
        "arctan": sympy.atan,
        "log1p": lambda x: sympy.log(1 + x),
        "power": operator.pow,
        "sum": total,
        "prod": lambda values: reduce(operator.mul, list(values), 1),
        "mean": lambda values: total(found := list(values)) / len(found),
        "norm": lambda x: sympy.sqrt(total(x**2)),
        "dot": lambda x, y: total(x * y),
        "len": len,
        "range": range,
        "pi": sympy.pi,
        "e": sympy.E,
    }


def at_start(problem):
    params = Parameters(problem.shapes, arrays=problem.arrays, lane_fast=True)
    params.set_lane(0, problem.initial(0))
    loss = problem.loss_and_grad(params, params.grads, None).copy()
    return loss[0], np.concatenate([np.ravel(params.grads[name][0]) for name in problem.shapes])


@pytest.mark.parametrize(("f", "start", "parameters", "there"), FORMULAS, ids=[f for f, *_ in FORMULAS])
def test_values_and_gradients_are_sympys(f, start, parameters, there):
    """``there`` is what f is near the start, where SymPy cannot tell."""
    sympy = pytest.importorskip("sympy")
    loss, grad = at_start(Expression(Arrays(dtype="float64"), f=f, start=start, parameters=parameters))
    names, point = {**parameters}, {}
    for name, value in start.items():
        symbols = [sympy.Symbol(f"{name}_{i}", real=True) for i in range(np.size(value))]
        point |= dict(zip(symbols, np.ravel(value).tolist(), strict=True))
        names[name] = np.array(symbols) if np.ndim(value) else symbols[0]
    names |= {name: np.array(value) for name, value in parameters.items()}
    exact = eval(there or f, {**meanings(sympy), **names, "__builtins__": {}})
    wanted = sympy.lambdify(list(point), [exact, *(sympy.diff(exact, each) for each in point)], "mpmath")
    value, *slopes = map(float, wanted(*point.values()))
    assert loss == pytest.approx(value, rel=1e-13)
    np.testing.assert_allclose(grad, slopes, rtol=1e-10, atol=1e-13)


START = {"x": 1.0, "y": [2.0, 3.0]}
MISTAKES = [
    (
        {"f": "x + y"},
        "f: column 1: this is a vector of 2 numbers: sum(…) or norm(…) makes it one\n    x + y\n    ^~~~~",
    ),
    ({"f": "x + y[2]"}, "f: column 5: there is no element 2 in a vector of 2: they count from 0"),
    ({"f": "x[0] + y[0]"}, "f: column 1: x is one number; [1.0, 2.0], say, is a vector"),
    ({"f": "x + y[0.5]"}, "f: column 7: an index is a whole number, such as 0, i + 1 or len(x) - 1"),
    ({"f": "x + y[k]"}, "f: column 7: unknown name 'k'"),
    ({"f": "sum(y[i] for i in range(len(z)))"}, "f: column 29: unknown name 'z'"),
    ({"f": "sum(i for i in range(99999999))"}, "f: column 16: an index has at most 10,000,000 values"),
    ({"f": "x + sum(y[i] for i in range(2, 2))"}, "f: column 23: an index without values"),
    ({"f": "x + mean(y[j] for i in range(1) for j in range(i))"}, "f: column 5: mean of no terms"),
    ({"f": "x + max(y)"}, "f: column 5: max takes at least two numbers (got 1): that of a vector"),
    ({"f": "sum(x for x in range(3))"}, "f: column 11: 'x' has a meaning already"),
    ({"f": "sum(y[i] for i in range(3) if i)"}, "f: column 31: an index has no 'if'"),
    ({"f": "sum(y[i - 1] for i in range(2))"}, "f: column 5: elements -1 … 0 are not all in a vector of 2"),
    ({"f": "sum(y for i in range(2))"}, "f: column 5: each term is one number, not a vector of 2"),
    (
        {"f": "sum(y[i * i] * 0 for i in range(99))"},
        "f: column 5: at most 64 such terms (got 99): use slices",
    ),
    ({"f": "x + dot(y, y[1:])"}, "f: column 5: vectors of different lengths do not combine: 2 and 1"),
    ({"f": "norm(x)"}, "f: column 1: norm takes a vector"),
    ({"f": "x > 0"}, "f: column 1: a comparison is no function to minimise"),
    (
        {"f": "x * 0 + len(y)", "start": {"x": 1.0, "y": [1.0]}, "parameters": {"x": 1.0}},
        "parameters.x: 'x' is a variable",
    ),
    ({"f": "len(y)", "start": {"y": [1.0]}}, "f: it has the same value at all points"),
    ({"f": "f = x"}, "f: column 3: invalid syntax; leave out what is left of the =\n    f = x\n      ^"),
    ({"f": "x + 2 * ||y||"}, "f: column 9: |x| is written abs(x), and ||x|| norm(x)"),
    ({"f": "x and y"}, "f: column 1: comparisons are multiplied, as in (x > 0) * (y > 0)"),
    ({"f": "-" * 9000 + "x"}, "f: this is no expression: nested too deeply"),
    ({"f": "x" * 10_001}, "f: an expression has at most 10,000 characters (got 10,001)"),
    ({"f": "x + sum(y)", "parameters": {"a": 1.0}}, "parameters.a: f does not use it"),
    ({"f": "x"}, "start.y: f does not use it"),
    ({"f": "x", "start": {"x": 1.0}, "dim": 2}, "dim: there is no vector in start"),
    ({"f": "sum(x)", "start": {"x": [1.0, 2.0]}, "dim": 1}, "start.x: more than dim: 2 numbers"),
    ({"f": "x", "start": {"sin": 1.0}}, "start.sin: 'sin' has a meaning in expressions"),
    ({"f": "x", "start": {"if": 1.0}}, "start.if: 'if' is no name in expressions"),
    ({"f": "x", "start": {"x": float("nan")}}, "start.x: must be finite"),
    (
        {"f": "norm(x)", "start": [1.0]},
        "start: must be a mapping such as {x: 1.0, y: [0.5, 1.0]} (got [1.0])",
    ),
]


@pytest.mark.parametrize(("options", "message"), MISTAKES, ids=[message[:40] for _, message in MISTAKES])
def test_a_mistake_is_named_with_its_place(options, message):
    run = {"optimizer": {"name": "SGD", "lr": 0.1}, "steps": 1}
    with pytest.raises(ConfigErrors) as error:
        from_mapping({"problem": {"name": "expression", "start": START, **options}, **run})
    assert str(error.value).startswith(f"<config>: problem.{message}")


def test_every_word_of_rules_is_one_of_expressions():
    assert set(GRAMMAR.words) == {*ops.__all__, "ceil", "min", "max", "len"} - {
        "debias",
        "total",
        *ops.OF_MATRICES,
    }


@pytest.mark.parametrize(
    ("f", "start", "note"),
    [
        ("1 / x + y", {"x": 0.0, "y": 1.0}, "f is inf where it starts, at x = 0.0, y = 1.0"),
        ("sum(log(x))", {"x": [1.0, -1.0]}, "f is nan where it starts, at x = [1.0, -1.0]"),
        (
            "abs(x)**0.25",
            {"x": 0.0},
            "the slope of f is not finite where it starts, at x = 0.0",
        ),
        ("(x - 2)**2", {"x": 2.0}, "f is flat where it starts, at x = 2.0: no step leaves it"),
        ("(x - 2)**2", {"x": 2.1}, ""),
    ],
)
def test_a_note_says_where_no_run_can_start(f, start, note):
    assert "; ".join(Expression(Arrays(dtype="float64"), f=f, start=start).notes) == note


@pytest.mark.parametrize("noise", [0.0, 0.1, {"kind": "gaussian", "scale": 0.1}], ids=str)
def test_groups_of_variables_change_no_bit(noise):
    problem = {"name": "expression", **SMALL["expression"], "noise": noise}
    runs = [
        optrun.run(
            {"problem": problem, "optimizer": {"name": "Adam", "lr": 0.1, **groups}, "steps": 30}, save=False
        )
        for groups in ({}, {"param_groups": [{"params": ["x", "z"], "lr": 0.1}]})
    ]
    assert runs[0].curves["loss"].tolist() == runs[1].curves["loss"].tolist()
    assert runs[0].summary["final_loss"] == runs[1].summary["final_loss"]


def test_lanes_differ_in_parameters_and_starts_with_the_bits_of_their_own_runs():
    problem = {
        "name": "expression",
        "f": "(1 - x)**2 + a * sum((y[i]**p - c[i % 2] * x**2)**2 for i in range(len(y)))",
        "start": {"x": -1.2, "y": [1.0, -2.0]},
        "parameters": {"a": 10.0, "c": [1.0, 2.0], "p": 2.0},
        "dim": 3,
    }
    axes = {
        "problem.parameters.a": [1.0, 10.0],
        "problem.parameters.c.0": [1.0, 3.0],
        "problem.parameters.p": [2.0, 3.0],
        "problem.start.y.1": [-2.0, 0.5],
        "problem.noise": [0.0, 0.1],
    }
    swept = {"problem": problem, "optimizer": {"name": "Adam", "lr": 0.01}, "steps": 20}
    sweep = optrun.sweep({**swept, "sweep": {"zip": [axes]}}, save=False)
    alone = [optrun.run(config, save=False).summary["final_loss"] for config in sweep.configs]
    assert [state.summary["final_loss"] for state in sweep.states] == alone
    assert alone[0] != alone[1]
    assert len(grouped(sweep.plan)) == 1


def test_starts_are_drawn_from_a_box_for_each_seed():
    run = {"optimizer": {"name": "SGD", "lr": 0.1}, "steps": 1, "seed": 3}
    problem = {"f": "x + sum(y)", "start": START, "init": {"uniform": [[0, 1], [5, 6], [7, 8]]}}
    assert from_mapping({**run, "problem": {"name": "expression", **problem}}).problem.options["init"]
    drawn = Expression(Arrays(), **problem).initial(3)
    assert 0 < drawn["x"] < 1
    assert 5 < drawn["y"][0] < 6 < 7 < drawn["y"][1] < 8
    assert drawn["x"] != Expression(Arrays(), **problem).initial(4)["x"]


@pytest.mark.parametrize("p", [2.0, 3.0, -1.0])
def test_a_swept_exponent_is_that_of_a_number_below_0_too(p):
    arrays, start = Arrays(dtype="float64"), {"x": -1.5, "y": 0.7}
    swept = Expression(arrays, f="x**p + y**p + power(p, y)", start=start, parameters={"p": p})
    loss, grad = at_start(swept)
    wanted, slopes = at_start(Expression(arrays, f=f"x**({p}) + y**({p}) + ({p})**y", start=start))
    np.testing.assert_allclose([loss, *grad], [wanted, *slopes], rtol=1e-12)


@pytest.mark.parametrize(
    ("f", "p", "slopes"),
    [
        ("x**p + y", 0.0, [0.0, 1.0]),
        ("x**p + y", 1.0, [1.0, 1.0]),
        ("x**p + y", 2.0, [0.0, 1.0]),
        ("x**(p * y)", 2.0, [0.0, 0.0]),
    ],
)
def test_a_power_of_0_has_its_slope(f, p, slopes):
    problem = Expression(Arrays(dtype="float64"), f=f, start={"x": 0.0, "y": 1.0}, parameters={"p": p})
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(at_start(problem)[1], slopes)


@pytest.mark.parametrize(
    ("f", "x", "slope"),
    [
        ("where(x > 0, x**1.5, x**2)", -1.0, -2.0),
        ("where(x > 0, x * log(x), 0) + x", -1.0, 1.0),
        ("where(x == 0, 1, sin(x) / x)", 0.0, 0.0),
        ("where(x <= 0, -x, sqrt(x) * sqrt(x) * x)", -4.0, -1.0),
        ("3 * (x**2 if x < 1 else exp(1000 * x) / x)", 0.5, 3.0),
        ("maximum(3 * x, x + 2)", 1.0, 3.0),
        ("minimum(3 * x, x + 2)", 1.0, 3.0),
        ("sqrt(x) + x", 0.0, 1.0),
    ],
)
def test_at_a_kink_the_first_one_counts_and_a_branch_that_is_not_taken_has_no_part_in_the_slope(f, x, slope):
    problem = Expression(Arrays(dtype="float64"), f=f, start={"x": x})
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(at_start(problem)[1], [slope], rtol=1e-12)


def own(minimum, **more):
    """Return a config of (x - a)² + |u|² + 3 with its minimum."""
    problem = {
        "name": "expression",
        "f": "(x - a)**2 + sum(u**2) + 3",
        "start": {"x": 1.0, "u": [2.0, 2.0]},
        "parameters": {"a": 4.0},
        "minimum": minimum,
    }
    evaluated = {"metrics": ["gap", "distance"] if isinstance(minimum, dict) else ["gap"]}
    config = {"problem": problem, "optimizer": {"name": "SGD", "lr": 0.1}, "steps": 3, "dtype": "float64"}
    return {**config, "evaluate": evaluated, **more}


@pytest.mark.parametrize("minimum", [3.0, {"x": 4.0, "u": [0.0, 0.0]}, {"u": [0.0, 0.0], "x": 4.0}])
def test_a_function_has_the_minimum_that_it_is_told(minimum):
    run = optrun.run(own(minimum), save=False)
    np.testing.assert_allclose(run.summary["gap"], run.summary["final_loss"] - 3, rtol=1e-12)
    if isinstance(minimum, dict):
        there = np.array([run.params["x"] - 4, *run.params["u"]])
        np.testing.assert_allclose(run.summary["distance"], np.linalg.norm(there), rtol=1e-12)


def test_the_minimum_at_a_point_is_that_of_the_parameters_of_each_lane():
    config = own({"x": 4.0, "u": [0.0, 0.0]}, sweep={"parameters": {"problem.parameters.a": [4.0, 5.0, 6.0]}})
    sweep = optrun.sweep(config, save=False)
    for run, each in zip(sweep.runs, sweep.configs, strict=True):
        a = each.problem.options["parameters"]["a"]
        np.testing.assert_allclose(
            run.summary["gap"], run.summary["final_loss"] - ((4 - a) ** 2 + 3), rtol=1e-12
        )
        assert run.summary == optrun.run(each, save=False).summary


@pytest.mark.parametrize(
    ("minimum", "said"),
    [
        ({"x": 4.0}, "problem.minimum: lacks u: a point has all variables"),
        ({"x": 4.0, "u": [0.0, 0.0], "X": 1.0}, "problem.minimum.X: no variable. Did you mean 'x'?"),
        ({"x": 4.0, "u": 0.0}, "problem.minimum.u: must be a vector of 2 numbers, as in start"),
        ("3", "problem.minimum: must be a number or a mapping or null (got '3')"),
    ],
)
def test_a_minimum_that_is_no_point_is_refused(minimum, said):
    with pytest.raises(ConfigErrors) as caught:
        from_mapping(own(minimum))
    assert said in str(caught.value)


def test_a_start_below_the_minimum_is_noted():
    options = {name: value for name, value in own(50.0)["problem"].items() if name != "name"}
    said = "f is 20.0 where it starts, at x = 1.0, u = [2.0, 2.0]: less than its minimum"
    assert Expression(Arrays(), **options).notes == [said]
