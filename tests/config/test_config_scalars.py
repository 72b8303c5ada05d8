"""What scalars mean: in a file, in a list, in an override."""

import math
from typing import Any

import pytest

from optrun.config.overrides import override
from optrun.config.yaml.reader import read

MEANINGS: dict[str, Any] = {
    "1e-3": 0.001,
    "1E5": 100000.0,
    "1.0e-3": 0.001,
    "+1.5": 1.5,
    "-2.e3": -2000.0,
    ".5": 0.5,
    "-.5": -0.5,
    "0.": 0.0,
    ".inf": math.inf,
    "-.INF": -math.inf,
    "010": 10,
    "0o17": 15,
    "0x1F": 31,
    "-7": -7,
    "+7": 7,
    "0": 0,
    "true": True,
    "True": True,
    "FALSE": False,
    "null": None,
    "Null": None,
    "~": None,
    "no": "no",
    "on": "on",
    "yes": "yes",
    "Yes": "Yes",
    "off": "off",
    "y": "y",
    "tRUE": "tRUE",
    "nULL": "nULL",
    "1_000": "1_000",
    "1:30": "1:30",
    "12:30:45": "12:30:45",
    "2024-01-01": "2024-01-01",
    "2024-13-45": "2024-13-45",
    "0b11": "0b11",
    "0b_": "0b_",
    "-0x1F": "-0x1F",
    "0o8": "0o8",
    "1e": "1e",
    "e5": "e5",
    "1e-3x": "1e-3x",
    ".": ".",
    "+": "+",
    "inf": "inf",
    "nan": "nan",
    "١٢": "١٢",
    "=": "=",
    "<<": "<<",
    "'1e-3'": "1e-3",
    '"true"': "true",
    "''": "",
    "!!str 5": "5",
    "!!float 5": 5.0,
    "!!int '5'": 5,
    "!!null ''": None,
    "30s": "30s",
}


@pytest.mark.parametrize(("text", "meaning"), MEANINGS.items())
def test_a_scalar_means_the_same_everywhere(text: str, meaning: Any) -> None:
    document = read(f"a: {text}\nb: [{text}, {text}]\nc:\n- {text}\n", "f.yaml")
    assert not document.issues
    overridden, issues = override(document.root, [f"d={text}"])
    assert not issues
    found = overridden.plain()
    for value in (found["a"], *found["b"], *found["c"], found["d"]):
        assert value == meaning
        assert type(value) is type(meaning)


def test_nan_and_an_empty_value() -> None:
    found = read("a: .nan\nb:\nc: [.NaN]\n", "f.yaml").root.plain()
    assert math.isnan(found["a"])
    assert math.isnan(found["c"][0])
    assert found["b"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1" + "0" * 21, "the integer 1000000000000000000000 is too large"),
        ("1" * 5000, "the integer 11111111111111111111… (5000 characters) is too large"),
        ("0x" + "f" * 30, "the integer 0xffffffffffffffffff… (32 characters) is too large"),
        ("1e999", "the number 1e999 is too large for a float"),
        ("0." + "1" * 200, "the number 0.111111111111111111… (202 characters) is too long"),
        ("!!int x", "'x' is no int"),
        ("!!int 1.5", "'1.5' is no int"),
        ("!!int true", "'true' is no int"),
        ("!!bool foo", "'foo' is no bool"),
        ("!!timestamp foo", "the tag !!timestamp means nothing in a config: remove it"),
        (
            "!!python/object:os.system x",
            "the tag !!python/object:os.system means nothing in a config: remove it",
        ),
        ("!local x", "the tag !local means nothing in a config: remove it"),
        ('"a\\0b"', "no text holds the character U+0000"),
        ("! x", "the tag ! means nothing in a config: remove it"),
    ],
)
def test_a_scalar_that_means_nothing_has_its_place(text: str, message: str) -> None:
    document = read(f"a: 1\nb: [2, {text}]\n", "f.yaml")
    assert [str(issue) for issue in document.issues] == [f"f.yaml:2:8: b.1: {message}"]
