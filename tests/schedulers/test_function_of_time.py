"""Functions of t in a config: arithmetic, and nothing but arithmetic."""

import math

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from optrun.errors import ConfigError
from optrun.schedulers import FunctionOfTime, LambdaLR

T = np.arange(300.0).reshape(-1, 1)

ALL = [
    "0.95 ** t",
    "0.5 ** (t // 30)",
    "exp(-t / 100) * (1 + sin(2 * pi * t / 50)) / 2",
    "1 / sqrt(max(t, 10, 3))",
    "min(1, t / 20) if t < 100 else log(e + t) / 9",
    "-(-t % 7) + abs(cos(t)) - +floor(t / 3) * ceil(t / 7)",
    "(0 < t < 50) + (t == 7) * 2 + (t != 9) + (t >= 100) + (t <= 3)",
    "1",
    "  t  ",
    "1_000 * 1e-3",
]


@pytest.mark.parametrize("text", ALL)
def test_it_is_what_python_computes(text):
    names = {
        name: getattr(math, name) for name in ("exp", "sin", "cos", "sqrt", "log", "floor", "ceil", "pi", "e")
    }
    expected = [eval(text.strip(), {}, {**names, "t": t}) for t in T[:, 0].tolist()]
    assert FunctionOfTime(text)(T)[:, 0] == pytest.approx(np.array(expected, float), rel=1e-14, abs=1e-15)


@pytest.mark.parametrize("text", ALL)
def test_bits_do_not_depend_on_how_many_steps_are_asked_for(text):
    whole = FunctionOfTime(text)(T)
    for parts in (1, 2, 3, 7, 64):
        split = [FunctionOfTime(text)(part) for part in np.array_split(T, parts)]
        assert np.concatenate(split).tobytes() == whole.tobytes()
    assert (
        np.concatenate([FunctionOfTime(text)(T[i : i + 1]) for i in range(len(T))]).tobytes()
        == whole.tobytes()
    )
    assert FunctionOfTime(text)(T[::3]).tobytes() == whole[::3].tobytes()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.5 ** tt", "column 8: unknown name 'tt'. Did you mean 't'?"),
        ("sqr(t)", "column 1: unknown function 'sqr'. Did you mean 'sqrt'?"),
        ("t(3)", "column 1: 't' is no function"),
        ("1 + sin", "column 5: 'sin' is a function"),
        ("sin(t, 2)", "column 1: sin takes one number (got 2)"),
        ("max(t)", "column 1: max takes at least two numbers (got 1)"),
        (
            "1 + t^2",
            "column 6: only numbers, operators and functions of them are arithmetic: a power is written **",
        ),
        ("t^2 + t^2", "column 2: only numbers"),
        ("θ² + t", "column 2: ² is written **2\n    θ² + t\n     ^"),
        ("t > 2 ? t : 1", "column 7: ? is written a if c else b"),
        ("1 + (if t > 2 then t else 1)", "column 6: if is written in between: a if c else b"),
        ("2t", "column 1: invalid decimal literal; a product is written 2 * x"),
        (
            "2(t + 1)",
            "column 1: only numbers, operators and functions of them are arithmetic: a product is written *",
        ),
        ("ln(t)", "column 1: unknown function 'ln'. It is written log(x)."),
        ("1 +\n θ + tt", "column 6: unknown name 'θ'. There are: t, pi, e.\n    1 +  θ + tt\n         ^"),
        ("t" + " + t" * 40 + " + uv", "\n    …" + "+ t " * 14 + "+ uv\n" + " " * 63 + "^~"),
        ("", "an expression in t is empty"),
        ("  ", "an expression in t is empty"),
        ("1 +", "column 4: invalid syntax"),
        ("  (t", "column 3: '(' was never closed"),
        ("t; t", "column 2"),
        ("t.real", "column 1: only numbers"),
        ("t[0]", "column 1: only numbers"),
        ("1 + 'a'", "column 5: only numbers"),
        ("True", "column 1: only numbers"),
        ("2j", "column 1: only numbers"),
        ("None", "column 1: only numbers"),
        ("t and 1", "column 1: only numbers"),
        ("t & 1", "column 3: only numbers"),
        ("~t", "column 1: only numbers"),
        ("t in (1, 2)", "column 1: only numbers"),
        ("lambda: t", "column 1: only numbers"),
        ("(t := 3)", "column 2: only numbers"),
        ("[t for t in t]", "column 1: only numbers"),
        ("__import__('os').system('ls')", "column 1: only numbers"),
        ("max(1, *t)", "column 8: only numbers"),
        ("max(t, 1, key=t)", "column 1: only numbers"),
        ("f'{t}'", "column 1: only numbers"),
        ("t\0", "null bytes"),
        ("1 # at first\n+ t", "column 3: an expression has no comments\n    1 # at first + t\n      ^"),
        ("1e999", "column 1: a number that is too large"),
        ("9" * 400, "column 1: a number that is too large"),
        ("t" * 501, "at most 500 characters (got 501)"),
        ("(" * 240 + "t" + ")" * 240, ""),
        ("-" * 400 + "t", "nested deeper than 100 levels"),
        ("t" + "+t" * 240, "nested deeper than 100 levels"),
    ],
)
def test_anything_else_is_refused_with_its_place(text, message):
    with pytest.raises(ConfigError) as error:
        FunctionOfTime(text)
    assert message in str(error.value)
    with pytest.raises(ConfigError) as error:
        LambdaLR(lr_lambda=text)
    assert error.value.field == "lr_lambda"


def test_numbers_are_floats_and_do_not_blow_up():
    assert FunctionOfTime("9 ** 9 ** 9")(T)[0, 0] == np.inf
    assert FunctionOfTime("1 / 0 * t")(T[1:])[0, 0] == np.inf


def test_it_is_an_option_type_of_pydantic():
    adapter = TypeAdapter(FunctionOfTime)
    chosen = adapter.validate_python("0.9 ** t")
    assert isinstance(chosen, FunctionOfTime)
    assert adapter.validate_python(chosen) is chosen
    assert adapter.dump_json(chosen) == b'"0.9 ** t"'
    assert adapter.json_schema() == {"type": "string", "minLength": 1}
    with pytest.raises(ValidationError, match="Did you mean 't'"):
        adapter.validate_python("0.9 ** tt")
    with pytest.raises(ValidationError, match="must be an expression in t"):
        adapter.validate_python(0.9)
