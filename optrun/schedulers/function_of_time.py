"""Functions of the step, given as arithmetic expressions or Python functions."""

import threading
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from optrun.arithmetic.parser import Arithmetic
from optrun.arithmetic.words import COMPARISONS, OPERATORS, WORDS, Grammar
from optrun.arrays import Array
from optrun.errors import ConfigError, brief
from optrun.forks import renew_after_fork

GRAMMAR = Grammar("an expression in t", "0.95 ** t", WORDS, {**OPERATORS, **COMPARISONS})

_multiplying = threading.Lock()
"""Guards the cached products of a function, which runs in several threads may share."""
renew_after_fork(globals(), "_multiplying")


class FunctionOfTime(str):
    """A function of the step ``t``: arithmetic such as ``0.5 ** (t // 30)``, or a Python function.

    Arithmetic allows numbers, ``t``, ``pi`` and ``e``, the operators + - * / // % **, comparisons (1 or 0),
    ``a if c else b`` and the functions sqrt exp log sin cos abs floor ceil min max, computed in float64. A Python
    function is called for one step at a time, and never in advance.

    Raises ConfigError, with the column, for anything else.
    """

    function: Callable[[int], float] | None
    """The Python function; None for arithmetic."""

    def __new__(cls, source: "str | Callable[[int], float]") -> "FunctionOfTime":
        if isinstance(source, FunctionOfTime):
            return source
        if not isinstance(source, str) and not callable(source):
            raise ConfigError(f"must be an expression in t, such as '0.95 ** t' (got {brief(source)})")
        text = source if isinstance(source, str) else getattr(source, "__name__", repr(source))
        made = super().__new__(cls, text)
        made.function = None if isinstance(source, str) else source
        made._arithmetic = Arithmetic(text if isinstance(source, str) else "0", GRAMMAR, ["t"])
        made._products = array("d", [1.0])
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return FunctionOfTime, (str(self) if self.function is None else self.function,)

    _arithmetic: Arithmetic
    _products: "array[float]"

    def __call__(self, t: Any) -> Array:
        """Return the values at the steps ``t``, as float64 of the same shape."""
        steps = np.ascontiguousarray(t, np.float64)
        if self.function is not None:
            values = [float(self.function(int(step))) for step in steps.flat]
            return np.array(values).reshape(steps.shape)
        return np.array(np.broadcast_to(self._arithmetic.value({"t": steps}), steps.shape))

    def product(self, t: Array) -> Array:
        """Return the product of the values at the steps 1 … t, multiplied in this order; the empty product is 1."""
        products, last = self._products, int(t.max())
        with _multiplying:
            if last >= len(products):
                values = self(np.arange(len(products), last + 1, dtype=np.float64))
                products.extend(np.multiply.accumulate(np.append(products[-1], values))[1:].tolist())
            return np.frombuffer(products)[t.astype(np.int64)]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls, json_schema_input_schema=core_schema.str_schema(min_length=1)
        )
