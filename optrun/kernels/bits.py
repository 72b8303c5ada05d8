"""Operations on the bits of floats, which scale by powers of two; the other half of a float's arithmetic."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from optrun.arrays import Array


@dataclass(frozen=True)
class Format:
    """An IEEE 754 format: bits of the fraction, and the bias of the exponent."""

    dtype: str
    integers: str
    fraction: int
    bias: int

    @property
    def mask(self) -> int:
        """The bits of the fraction."""
        return (1 << self.fraction) - 1

    @property
    def one(self) -> int:
        """The bits of 1."""
        return self.bias << self.fraction

    @property
    def large(self) -> int:
        """The bits of 2**fraction, whose fraction counts in ones."""
        return (self.bias + self.fraction) << self.fraction


FORMATS = {
    "float32": Format("float32", "int32", 23, 127),
    "float64": Format("float64", "int64", 52, 1023),
}

BITS = ("shifted", "exponent", "significand")
"""`shifted` moves the fraction to the place of sign and exponent; `exponent` is 2**fraction + the biased exponent of a
positive number; `significand` has the fraction of a number and the exponent of 1."""


def expression(op: str, bits: str, form: Format) -> str:
    """Return the operation on an integer with the bits of a number, written alike in Python and C."""
    match op:
        case "shifted":
            return f"{bits} << {form.fraction}"
        case "exponent":
            return f"({bits} >> {form.fraction}) | {form.large}"
        case "significand":
            return f"({bits} & {form.mask}) | {form.one}"
    raise NotImplementedError(op)


def apply_bits(xp: Any, op: str, x: Array, out: Array) -> None:
    """Write the result of an operation on the bits of an array's numbers."""
    form = FORMATS[x.dtype.name]
    source, target = x.view(form.integers), out.view(form.integers)
    fraction, mask, large, one = _numbers(xp, form)
    if op == "shifted":
        xp.left_shift(source, fraction, out=target)
    elif op == "exponent":
        xp.right_shift(source, fraction, out=target)
        xp.bitwise_or(target, large, out=target)
    else:
        xp.bitwise_and(source, mask, out=target)
        xp.bitwise_or(target, one, out=target)


@cache
def _numbers(xp: Any, form: Format) -> list[Array]:
    # Arrays, since ufuncs take twice as long with Python's numbers.
    return [xp.asarray(each, form.integers) for each in (form.fraction, form.mask, form.large, form.one)]
