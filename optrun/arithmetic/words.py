"""The words and operators of arithmetic: what expressions are made of, as tables."""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from optrun.arrays import power

CONSTANTS = {"pi": np.float64(math.pi), "e": np.float64(math.e)}

Operators = Mapping[type[ast.AST], Callable[..., Any]]


@dataclass(frozen=True)
class Word:
    """A function that an expression may call: what computes it, and the bounds of how many operands it takes."""

    compute: Callable[..., Any]
    least: int = 1
    most: int | None = 1
    """None for any number of them."""
    of: str = "number"

    @property
    def takes(self) -> str:
        """What it takes, in words."""
        count = f"{('no', 'one', 'two', 'three')[self.least]} {self.of}{'s' * (self.least > 1)}"
        return count if self.most else f"at least {count}"


OPERATORS: Operators = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: power,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
"""Of NumPy's numbers and arrays, which do not raise where Python's do; but for powers, also of what a program is traced
with.
"""

COMPARISONS: Operators = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
"""Of numbers, arrays, texts and what a program is traced with."""

WORDS: Mapping[str, Word] = {
    "sqrt": Word(np.sqrt),
    "exp": Word(np.exp),
    "log": Word(np.log),
    "sin": Word(np.sin),
    "cos": Word(np.cos),
    "abs": Word(np.abs),
    "floor": Word(np.floor),
    "ceil": Word(np.ceil),
    "min": Word(lambda *values: reduce(np.minimum, values), 2, None),
    "max": Word(lambda *values: reduce(np.maximum, values), 2, None),
}
"""Of numbers, in float64."""

INSTEAD = {
    "ln": "log(x)",
    "log2": "log(x) / log(2)",
    "log10": "log(x) / log(10)",
    "tan": "sin(x) / cos(x)",
    "sinh": "(exp(x) - exp(-x)) / 2",
    "cosh": "(exp(x) + exp(-x)) / 2",
}
"""How functions are written that are no words."""

SIGNS = {
    "²": "**2",
    "³": "**3",
    "×": "*",
    "·": "*",
    "÷": "/",
    "−": "-",
    "√": "sqrt(…)",
    "≤": "<=",
    "≥": ">=",
    "?": "a if c else b",
    "if": "in between: a if c else b",
}
"""How signs are written that are none of the grammar."""


@dataclass(frozen=True)
class Grammar:
    """What an expression may be made of; ``what`` and ``example`` are for messages."""

    what: str
    example: str
    words: Mapping[str, Word]
    operators: Operators
    longest: int = 500
