"""exp, log, sin, cos, arctan, tanh and powers of arrays in elementary operations: all engines give the same bits.

NumPy's kernels of these functions, the C library's and CUDA's differ from each other, and NumPy's from processor to
processor and, by their documentation, from one memory layout to another. Sums, products, `floor` and operations on bits
do not. So these functions are written in them: a reduction of the argument that is exact, then a Taylor polynomial. The
results are within 2 units in the last place, but those of powers xʸ of other exponents than small whole numbers are
within |y log x| of them. A loop with them remains one loop of vectors. The price is paid where NumPy runs a single
lane: 20 to 40 calls in place of one.

A function is expanded after derivatives are taken and coefficients are folded, for the dtype of the parameters.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from optrun.kernels.bits import FORMATS, Format
from optrun.kernels.program import Node, in_order, node
from optrun.kernels.symbols import Symbol, apply

_LN2 = Fraction("0.69314718055994530941723212145817656807550013436025525412068")
_HALF_PI = Fraction("1.57079632679489661923132169163975144209858469968755291048747")


@dataclass(frozen=True)
class _Kernel:
    """What the functions need in one format: terms of their polynomials, and constants in several parts."""

    form: Format
    exp_terms: int
    log_terms: int
    sin_terms: int
    cos_terms: int
    arctan_terms: int
    exp_range: tuple[float, float]
    """Beyond, the result is 0 or infinite."""
    ln2_bits: tuple[int, ...]
    half_pi_bits: tuple[int, ...]
    turns: int
    """Largest multiple of π/2 of which all products with the parts but the last are exact."""

    def number(self, value: float | Fraction) -> Symbol:
        """Return a number in the program, rounded to the format."""
        with np.errstate(over="ignore"):
            rounded = float(np.dtype(self.form.dtype).type(float(value)))
        return Symbol(node("literal", name=rounded.hex(), value=rounded, is_array=True))

    def parts(self, value: Fraction, bits: Sequence[int]) -> list[Symbol]:
        """Return numbers that add up to a value: the first ones in so many bits behind the point, and the rest."""
        found = []
        for places in bits:
            part = Fraction(round(value * 2**places), 2**places)
            found.append(self.number(part))
            value -= part
        return [*found, self.number(value)]

    def polynomial(self, x: Symbol, coefficients: Sequence[Fraction]) -> Symbol:
        """Return c₀ + c₁ x + c₂ x² + …"""
        *rest, last = [self.number(each) for each in coefficients]
        value = last
        for each in reversed(rest):
            value = value * x + each
        return value

    def power_of_two(self, n: Symbol) -> Symbol:
        """Return 2ⁿ for an integer within the range of normal numbers."""
        # The sum has n plus the bias in its last bits, which are those of the exponent of 2ⁿ.
        shift = self.number(1.5 * 2**self.form.fraction + self.form.bias)
        return apply("shifted", n + shift)

    def reduced(self, x: Symbol) -> tuple[Symbol, Symbol]:
        """Return n and p with exp(x) = 2ⁿ (1 + p) and |p| < 0.42."""
        n = apply("floor", x * self.number(1 / _LN2) + self.number(0.5))
        high, low = self.parts(_LN2, self.ln2_bits)
        r = (x - n * high) - n * low
        series = [Fraction(1, math.factorial(k)) for k in range(2, self.exp_terms)]
        return n, r + r * r * self.polynomial(r, series)

    def exp(self, x: Symbol) -> Symbol:
        least, most = map(self.number, self.exp_range)
        n, p = self.reduced(apply("min", apply("max", x, least), most))
        half = apply("floor", n * self.number(0.5))
        return (p + self.number(1)) * self.power_of_two(half) * self.power_of_two(n - half)

    def tanh(self, x: Symbol) -> Symbol:
        # From here on it is 1 in either format.
        n, p = self.reduced(self.number(2) * apply("min", apply("abs", x), self.number(20)))
        scale = self.power_of_two(n)
        e = scale * p + (scale - self.number(1))  # exp(2|x|) - 1
        return apply("sign", x) * (e / (e + self.number(2)))

    def log(self, x: Symbol) -> Symbol:
        number, fraction = self.number, self.form.fraction
        is_subnormal = x < number(2.0 ** (1 - self.form.bias))
        normal = apply("where", is_subnormal, x * number(2.0**fraction), x)
        bias = number(2**fraction + self.form.bias)
        e = apply("exponent", normal) - bias - apply("where", is_subnormal, number(fraction), number(0))
        m = apply("significand", normal)
        is_large = m > number(math.sqrt(2))
        e = apply("where", is_large, e + number(1), e)
        f = apply("where", is_large, m * number(0.5), m) - number(1)
        # log(1 + f) = 2 atanh s = 2 s + 2 s³/3 + …, with its largest part, f - f²/2, split off
        s = f / (f + number(2))
        z = s * s
        rest = z * self.polynomial(z, [Fraction(2, 2 * k + 3) for k in range(self.log_terms)])
        square = number(0.5) * f * f
        high, low = self.parts(_LN2, self.ln2_bits)
        value = e * high - ((square - (s * (square + rest) + e * low)) - f)
        infinite, nothing = number(math.inf), number(math.nan)
        at_most = apply("where", x < infinite, value, x)
        at_least = apply("where", apply("eq", x, number(0)), number(-math.inf), nothing)
        return apply("where", x > number(0), at_most, at_least)

    def log1p(self, x: Symbol) -> Symbol:
        one = self.number(1)
        u = x + one
        is_plain = (u > self.number(0)) & (u < self.number(math.inf))
        lost = apply("where", is_plain, (x - (u - one)) / u, self.number(0))
        return self.log(u) + lost

    def quarter(self, x: Symbol) -> tuple[Symbol, Symbol, Symbol, Symbol]:
        """Return sin r, cos r, and the bits of n mod 4, of x = n π/2 + r; NaN if x is too large for it."""
        number = self.number
        is_near = apply("abs", x) <= number(self.turns * math.pi / 2)
        x = apply("where", is_near, x, number(math.nan))
        n = apply("floor", x * number(1 / _HALF_PI) + number(0.5))
        r = x
        for part in self.parts(_HALF_PI, self.half_pi_bits):
            r = r - n * part
        z = r * r
        odd = [Fraction((-1) ** k, math.factorial(2 * k + 1)) for k in range(1, self.sin_terms)]
        even = [Fraction((-1) ** k, math.factorial(2 * k)) for k in range(2, self.cos_terms)]
        sine = r + r * z * self.polynomial(z, odd)
        half = number(0.5) * z
        most = number(1) - half
        cosine = most + (((number(1) - most) - half) + z * z * self.polynomial(z, even))
        q = n - number(4) * apply("floor", n * number(0.25))
        high = apply("floor", q * number(0.5))
        return sine, cosine, high, q - number(2) * high

    def sin(self, x: Symbol) -> Symbol:
        sine, cosine, high, low = self.quarter(x)
        value = apply("where", low > self.number(0.5), cosine, sine)
        return value * (self.number(1) - self.number(2) * high)

    def cos(self, x: Symbol) -> Symbol:
        sine, cosine, high, low = self.quarter(x)
        one, two = self.number(1), self.number(2)
        value = apply("where", low > self.number(0.5), sine, cosine)
        return value * ((one - two * high) * (one - two * low))

    def arctan(self, x: Symbol) -> Symbol:
        number, quarter = self.number, _HALF_PI / 2
        size = apply("abs", x)
        t = apply("min", size, number(1)) / apply("max", size, number(1))
        is_far = t > number(math.sqrt(2) - 1)  # tan π/8
        u = apply("where", is_far, (t - number(1)) / (t + number(1)), t)
        series = [Fraction((-1) ** k, 2 * k + 1) for k in range(1, self.arctan_terms)]
        angle = u + u * u * u * self.polynomial(u * u, series)
        angle = apply("where", is_far, angle + number(quarter), angle)
        return apply("sign", x) * apply("where", size > number(1), number(_HALF_PI) - angle, angle)

    def pow(self, x: Symbol, y: Symbol) -> Symbol:
        return apply("where", apply("eq", y, self.number(0)), self.number(1), self.exp(y * self.log(x)))


_KERNELS = {
    "float32": _Kernel(FORMATS["float32"], 8, 5, 5, 6, 9, (-104.0, 89.0), (15,), (10, 21, 32), 1 << 13),
    "float64": _Kernel(FORMATS["float64"], 14, 11, 10, 10, 21, (-746.0, 710.0), (40,), (32, 65), 1 << 20),
}
EXPANSIONS = ("exp", "log", "log1p", "sin", "cos", "arctan", "tanh", "pow")


def expansion(op: str, dtype: str, *args: Node) -> Node:
    """Return an operation of EXPANSIONS in elementary operations."""
    function: Callable[..., Symbol] = getattr(_KERNELS[dtype], op)
    return function(*map(Symbol, args)).node


def expanded(outputs: Mapping[str, Node], dtype: str) -> dict[str, Node]:
    """Return outputs whose array operations are elementary; `detach` is of derivatives, which are taken."""
    rebuilt: dict[Node, Node] = {}
    for value in in_order(outputs):
        args = tuple(rebuilt.get(arg, arg) for arg in value.args)
        if value.op in EXPANSIONS:
            rebuilt[value] = expansion(value.op, dtype, *args)
        elif value.op == "detach":
            rebuilt[value] = args[0]
        elif args != value.args:
            rebuilt[value] = node(value.op, *args, name=value.name, is_array=True, shape=value.shape)
    return {name: rebuilt.get(value, value) for name, value in outputs.items()}
