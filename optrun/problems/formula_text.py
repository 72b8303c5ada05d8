"""Functions written as text: arithmetic in numbers and vectors, in the words of `optrun.ops`.

element, slice    x[0]  x[-1]  x[1:]  x[:-1]  x[::2]
over a vector     sum(x**2)  prod(x)  mean(x)  norm(x)  dot(x, y)  len(x)
over an index     sum(x[i] * x[i + 1] for i in range(len(x) - 1)), also prod, mean, min and max
"""

import ast
import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from optrun import ops
from optrun.arithmetic.parser import Arithmetic
from optrun.arithmetic.words import OPERATORS, Operators
from optrun.errors import ConfigError, counted
from optrun.kernels.symbols import MOST_ITERATED, Symbol
from optrun.problems.formula_words import GRAMMAR, OVER_A_VECTOR, OVER_AN_INDEX, chosen, length_of, symbol_of
from optrun.problems.vectors import MOST_DIMENSIONS

MOST_TERMS = 2_000
"""Of sums over indices that are written out, since an index is not used as `i`, `i + 1` or `2 * i` alone."""

_OF_NOTHING = {"sum": np.float64(0), "prod": np.float64(1)}
_SLICES = "use slices, as in sum(x[1:] * x[:-1])"
_OF_WHOLE_NUMBERS: Operators = {
    op: OPERATORS[op] for op in (ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Mod)
}


class FormulaText(Arithmetic):
    """A function of numbers and vectors, as text; ``names`` are those of its variables and parameters.

    Raises ConfigError, with the column, for anything but arithmetic.
    """

    def __init__(self, text: str, names: Collection[str]) -> None:
        super().__init__(text, GRAMMAR, names)
        self.used = {node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name)}
        """The names that occur in it."""
        self._terms = 0

    def value(self, values: Mapping[str, Any]) -> Any:
        """Return the value, one number, at values of the names: symbols, numbers and vectors of numbers.

        Raises ConfigError, with the column, for operations that vectors of these lengths do not have.
        """
        self._terms = 0
        value = super().value(values)
        if length_of(value) is not None:
            said = f"this is a vector of {counted(len(value), 'number')}: sum(…) or norm(…) makes it one"
            self.refuse(self.tree, said)
        if isinstance(value, Symbol) and value.node.is_condition:
            self.refuse(self.tree, "a comparison is no function to minimise: it is 0 or 1")
        return value

    def _check_value(self, node: ast.expr, depth: int) -> None:
        match node:
            case ast.Call(ast.Name(id=name), [ast.GeneratorExp() | ast.ListComp() as terms], []) if (
                name in OVER_AN_INDEX
            ):
                known = len(self._names)
                for each in terms.generators:
                    self._names.append(self._checked_index(node, each))
                self._check_value(terms.elt, depth + 1)
                del self._names[known:]
            case ast.Subscript(ast.Name() as vector, index):
                self._check_name(vector)
                self._check_within(index)
            case ast.Subscript(value):
                self.refuse(value, "only a name has elements and slices: x[0], x[1:]")
            case _:
                super()._check_value(node, depth)

    def _checked_index(self, node: ast.expr, clause: ast.comprehension) -> str:
        match clause:
            case ast.comprehension(ast.Name(id=name), ast.Call(ast.Name("range"), [_, *_] as bounds), [], 0):
                for each in bounds:
                    self._check_within(each)
                if name in self._names or name in self.grammar.words:
                    self.refuse(clause.target, f"{name!r} has a meaning already: call the index otherwise")
                return name
            case ast.comprehension(ifs=[condition, *_]):
                said = "an index has no 'if': multiply by a comparison, such as (i != 0) * x[i]"
                self.refuse(condition, said)
        return self.refuse(node, "an index counts, as in sum(x[i]**2 for i in range(len(x)))")

    def _check_call(self, node: ast.expr, called: ast.Name, args: Sequence[ast.expr]) -> None:
        if called.id in ("min", "max") and len(args) == 1:
            over = f"that of a vector is {called.id}(x[i] for i in range(len(x)))"
            self.refuse(node, f"{called.id} takes at least two numbers (got 1): {over}")
        super()._check_call(node, called, args)

    def _check_within(self, index: ast.expr) -> None:
        """Raise ConfigError if an index has an unknown name."""
        for each in ast.walk(index):
            if isinstance(each, ast.Name) and each.id != "len":
                self._check_name(each)

    def _syntax(self, message: str, signs: str) -> str:
        if signs[:1] == "=":
            return f"{message}; leave out what is left of the ="
        if signs[:1] == "|":
            return "|x| is written abs(x), and ||x|| norm(x)"
        return super()._syntax(message, signs)

    def _advice(self, node: ast.expr) -> str:
        if isinstance(node, (ast.GeneratorExp, ast.ListComp)):
            return f"only {', '.join(OVER_AN_INDEX)} are over an index"
        if isinstance(node, ast.BoolOp):
            return "comparisons are multiplied, as in (x > 0) * (y > 0), or chained, as in 0 < x < 1"
        return super()._advice(node)

    def _value(self, node: ast.expr, values: Mapping[str, Any]) -> Any:
        try:
            match node:
                case ast.Call(ast.Name(id=name), [ast.GeneratorExp() | ast.ListComp() as terms], []):
                    value, count = self._over_index(name, terms.elt, terms.generators, values)
                    if not count and name not in _OF_NOTHING:
                        self.refuse(node, f"{name} of no terms")
                    return value if count else _OF_NOTHING[name]
                case ast.Subscript(ast.Name(id=name) as vector, index):
                    if length_of(values[name]) is None:
                        self.refuse(vector, f"{name} is one number; [1.0, 2.0], say, is a vector")
                    return self._part(node, values[name], index, values)
                case ast.Name(id=name) if isinstance(values[name], (int, range)):
                    return np.float64(values[name])
            return super()._value(node, values)
        except ConfigError:
            raise
        except (TypeError, ValueError, ArithmeticError) as error:
            return self.refuse(node, str(error))

    def _all(self, holds: Sequence[Any]) -> Any:
        if any(isinstance(each, Symbol) for each in holds):
            return reduce(
                operator.and_, (each if isinstance(each, Symbol) else symbol_of(each) != 0 for each in holds)
            )
        return super()._all(holds)[()]

    def _where(self, condition: Any, value: Any, otherwise: Any) -> Any:
        return chosen(condition, value, otherwise)

    def _part(self, node: ast.Subscript, vector: Any, index: ast.expr, values: Mapping[str, Any]) -> Any:
        """Return an element, a slice, or the elements at an index that stands for many."""
        size = len(vector)
        if isinstance(index, ast.Slice):
            bounds = (index.lower, index.upper, index.step)
            part = slice(*(None if each is None else self._number(each, values) for each in bounds))
            if not range(size)[part]:
                self.refuse(node, f"no element of a vector of {size}")
            return vector[part]
        at = self._whole(index, values)
        if isinstance(at, int):
            if not -size <= at < size:
                self.refuse(node, f"there is no element {at} in a vector of {size}: they count from 0")
            return vector[at]
        if min(at[0], at[-1]) < 0 or max(at[0], at[-1]) >= size:
            self.refuse(
                node, f"elements {at[0]} … {at[-1]} are not all in a vector of {size}: they count from 0"
            )
        end = at[-1] + at.step
        return vector[slice(at[0], end if end >= 0 else None, at.step)]

    def _over_index(
        self, word: str, term: ast.expr, clauses: Sequence[ast.comprehension], values: Mapping[str, Any]
    ) -> tuple[Any, int]:
        """Return a sum, say, over the indices of the clauses, and of how many terms.

        It is that of a vector if it can be one, otherwise it is written out term by term.
        """
        numbers, name = self._range(clauses[0], values), _target(clauses[0])
        count = len(numbers)
        if count and len(clauses) == 1 and self._is_elementwise(term, values):
            self._count(term)
            try:
                value = self._value(term, {**values, name: numbers})
            except _NotEvenly:
                pass
            else:
                if length_of(value) is None:
                    return {"sum": value * count, "prod": value**count}.get(word, value), count
                if word in OVER_A_VECTOR:
                    return getattr(ops, word)(value), count
        if count > MOST_ITERATED:
            self.refuse(term, f"at most {MOST_ITERATED} such terms (got {count:,}): {_SLICES}")
        terms, counts = [], []
        for number in numbers:
            within = {**values, name: number}
            if clauses[1:]:
                value, count = self._over_index(word, term, clauses[1:], within)
            else:
                self._count(term)
                value, count = self._value(term, within), 1
                if length_of(value) is not None:
                    self.refuse(term, f"each term is one number, not a vector of {len(value)}")
            if count:
                terms.append(value)
                counts.append(count)
        if not terms:
            return None, 0
        if word == "mean" and len(set(counts)) > 1:
            terms = [
                value * (count * len(counts) / sum(counts))
                for value, count in zip(terms, counts, strict=True)
            ]
        while len(terms) > 1:
            pairs = zip(terms[::2], terms[1::2], strict=False)
            terms = [OVER_AN_INDEX[word](*pair) for pair in pairs] + terms[len(terms) // 2 * 2 :]
        return terms[0] / len(counts) if word == "mean" else terms[0], sum(counts)

    def _count(self, term: ast.expr) -> None:
        """Raise ConfigError for too many terms in all."""
        self._terms += 1
        if self._terms > MOST_TERMS:
            self.refuse(term, f"more than {MOST_TERMS:,} terms: {_SLICES}")

    def _is_elementwise(self, term: ast.expr, values: Mapping[str, Any]) -> bool:
        """Whether a term, as a function of an index, takes vectors by their elements alone."""
        inside: set[ast.AST] = set()
        for node in ast.walk(term):
            match node:
                case ast.GeneratorExp() | ast.ListComp() | ast.Slice():
                    return False
                case ast.Call(ast.Name(id="len"), args):
                    inside.update(args)
                case ast.Call(ast.Name(id=name)) if name in (*OVER_A_VECTOR, "dot"):
                    return False
                case ast.Subscript(vector):
                    inside.add(vector)
                case ast.Name(id=name) if node not in inside and length_of(values.get(name)) is not None:
                    return False
        return True

    def _range(self, clause: ast.comprehension, values: Mapping[str, Any]) -> range:
        assert isinstance(clause.iter, ast.Call)
        bounds = [self._number(each, values) for each in clause.iter.args]
        if len(bounds) > 3 or 0 in bounds[2:]:
            self.refuse(clause.iter, "range(n), range(first, end) or range(first, end, step)")
        numbers = range(*bounds)
        names = {each.id for each in ast.walk(clause.iter) if isinstance(each, ast.Name)}
        if not numbers and not any(isinstance(values.get(name), int) for name in names):
            self.refuse(clause.iter, "an index without values")
        if numbers[MOST_DIMENSIONS:]:
            self.refuse(clause.iter, f"an index has at most {MOST_DIMENSIONS:,} values")
        return numbers

    def _number(self, node: ast.expr, values: Mapping[str, Any]) -> int:
        number = self._whole(node, values)
        if isinstance(number, range):
            raise _NotEvenly
        return number

    def _whole(self, node: ast.expr, values: Mapping[str, Any]) -> int | range:
        """Return an index: a whole number, or the numbers of one that stands for many, evenly spaced."""
        match node:
            case ast.Constant(value=int() as number) if not isinstance(number, bool):
                return number
            case ast.Name(id=name) if isinstance(found := values.get(name), (int, range)):
                return found
            case ast.Call(ast.Name(id="len"), [_], []):
                return int(self._value(node, values))
            case ast.UnaryOp(ast.USub(), operand):
                return _combined(operator.mul, -1, self._whole(operand, values))
            case ast.BinOp(left, op, right) if type(op) in _OF_WHOLE_NUMBERS:
                sides = self._whole(left, values), self._whole(right, values)
                return _combined(_OF_WHOLE_NUMBERS[type(op)], *sides)
        return self.refuse(node, "an index is a whole number, such as 0, i + 1 or len(x) - 1")


class _NotEvenly(Exception):
    """The values of an index are not evenly spaced."""


def _combined(function: Callable[[Any, Any], Any], left: int | range, right: int | range) -> int | range:
    """Return the sum, difference or product of two indices, of which one may stand for many."""
    if isinstance(left, int) and isinstance(right, int):
        return int(function(left, right))
    if function is operator.sub:
        return _combined(operator.add, left, _combined(operator.mul, -1, right))
    many, one = (left, right) if isinstance(left, range) else (right, left)
    if isinstance(one, range) or not isinstance(many, range):
        raise _NotEvenly
    if function is operator.add:
        return range(many.start + one, many.stop + one, many.step)
    if function is operator.mul and one:
        return range(many.start * one, many.stop * one, many.step * one)
    raise _NotEvenly


def _target(clause: ast.comprehension) -> str:
    assert isinstance(clause.target, ast.Name)
    return clause.target.id
