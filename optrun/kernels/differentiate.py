"""Derivatives of programs in reverse mode: the gradient of a value is a program of the same kind.

Equal expressions are the same node, so the gradient shares what it can with the value. An adjoint may have a smaller
shape than its value, if it is the same for all elements. Conditions, `floor` and `detach` have no derivative; that of
√x at 0 is taken for 0, as that of |x|; where max(a, b) and min(a, b) have a = b, that of a counts. The branch that
`where` does not take counts for nothing, be it no number.
"""

import math
from collections.abc import Callable, Sequence

from optrun.kernels.program import Node, in_order, node
from optrun.kernels.symbols import Symbol, apply, as_node, total

Adjoints = Sequence[Symbol | None]
_Choice = tuple[Node, int]
"""A condition, and which operand of `where` it takes."""
_PASSES_ON = frozenset({"add", "copy", "sum", "slice", "pad", "where"})
"""Operations that do not multiply the adjoint."""


def gradient(value: Node, wrt: Node) -> Node:
    """Return the derivatives of a number with respect to each element of a vector, in its shape."""
    order = in_order({"": value})
    depends = {wrt}
    for each in order:
        if depends.intersection(each.args):
            depends.add(each)
    adjoints = {value: as_node(1.0)}
    for each in reversed(order):
        if each not in adjoints or each is wrt or each not in depends:
            continue
        operands = [Symbol(arg) for arg in each.args]
        rule = _RULES.get(each.op, _no_rule)
        chosen, adjoint = (None, adjoints[each]) if each.op in _PASSES_ON else _unmasked(adjoints[each])
        for arg, found in zip(each.args, rule(each, Symbol(adjoint), *operands), strict=True):
            if found is None or arg not in depends:
                continue
            adjoint = _as_for(found.node if chosen is None else _masked(chosen, found.node), each, arg)
            adjoints[arg] = _sum(adjoints[arg], adjoint) if arg in adjoints else adjoint
    whole = adjoints.get(wrt, as_node(0.0))
    return whole if whole.shape == wrt.shape else node("copy", whole, is_array=True, shape=wrt.shape)


def _as_for(adjoint: Node, value: Node, arg: Node) -> Node:
    """Return what an operation's adjoint is for an operand: the sum of all if one number was used for all elements."""
    if value.shape == arg.shape or value.op in ("sum", "slice", "pad"):
        return adjoint
    if adjoint.shape != value.shape:
        return _product(Symbol(as_node(float(value.shape[0]))), Symbol(adjoint)).node
    return total(Symbol(adjoint)).node


def _sum(left: Node, right: Node) -> Node:
    chosen, first = _unmasked(left)
    other, second = _unmasked(right)
    if chosen is not None and chosen == other:
        return _masked(chosen, apply("add", Symbol(first), Symbol(second)).node)
    return apply("add", Symbol(left), Symbol(right)).node


def _unmasked(adjoint: Node) -> tuple[_Choice | None, Node]:
    """Return an adjoint where a branch is taken, and which one; it is 0 where the other is.

    What is multiplied by it is chosen after that, so that a derivative that is no number where the branch is not taken
    counts for nothing there: 0 · ∞ would be NaN.
    """
    if adjoint.op == "where":
        for taken, left in ((1, 2), (2, 1)):
            if adjoint.args[left] == as_node(0.0):
                return (adjoint.args[0], taken), adjoint.args[taken]
    return None, adjoint


def _masked(chosen: _Choice, adjoint: Node) -> Node:
    condition, taken = chosen
    branches = (Symbol(adjoint), 0.0) if taken == 1 else (0.0, Symbol(adjoint))
    return _where(Symbol(condition), *branches).node


def _product(left: Symbol, right: Symbol) -> Symbol:
    """Return left · right with one coefficient in front, none if it is 1."""
    if right.node.is_array and not left.node.is_array:
        if right.node.op == "mul" and not right.node.args[0].is_array:
            inner, rest = map(Symbol, right.node.args)
            return _product(_product(left, inner), rest)
        return right if left.node.op == "const" and left.node.value == 1 else apply("mul", left, right)
    if left.node.is_array and not right.node.is_array:
        return _product(right, left)
    if left.node.op == right.node.op == "const":
        return Symbol(as_node(left.node.value * right.node.value))
    return apply("mul", left, right)


def _negative(x: Symbol) -> Symbol:
    return _product(Symbol(as_node(-1.0)), x)


def _no_rule(value: Node, *_: Symbol) -> Adjoints:
    raise TypeError(f"a function has no derivative of {value.op}")


def _of_product(value: Node, g: Symbol, a: Symbol, b: Symbol) -> Adjoints:
    if a.node is b.node:
        return _product(_product(Symbol(as_node(2.0)), g), a), None
    return _product(g, b), _product(g, a)


def _of_quotient(value: Node, g: Symbol, a: Symbol, b: Symbol) -> Adjoints:
    return g / b, _negative(_product(g, Symbol(value) / b))


def _of_root(value: Node, g: Symbol, a: Symbol) -> Adjoints:
    root = Symbol(value)
    return (_product(Symbol(as_node(0.5)), g) / _where(root == 0, math.inf, root),)


def _of_power(value: Node, g: Symbol, a: Symbol, b: Symbol) -> Adjoints:
    # 0⁰ is 1 whatever the exponent does around it: neither 0 · 0⁻¹ nor 0 · log 0 has to be a number.
    lower = b - 1 if b.node.op == "const" else _where(b == 0, 1.0, b - 1)
    log = _where(a == 0, 0.0, apply("log", a))
    return _product(g, _product(b, apply("pow", a, lower))), _product(g, Symbol(value) * log)


def _of_larger(op: str) -> Callable[..., Adjoints]:
    def rule(value: Node, g: Symbol, a: Symbol, b: Symbol) -> Adjoints:
        first = apply(op, a, b)
        return _where(first, g, 0.0), _where(first, 0.0, g)

    return rule


def _where(condition: Symbol, x: Symbol | float, y: Symbol | float) -> Symbol:
    return apply("where", condition, x, y)


def _of_slice(value: Node, g: Symbol, a: Symbol) -> Adjoints:
    return (Symbol(node("pad", g.node, name=value.name, is_array=True, shape=a.node.shape)),)


def _of_pad(value: Node, g: Symbol, a: Symbol) -> Adjoints:
    if g.node.shape != value.shape:
        return (g,)
    return (Symbol(node("slice", g.node, name=value.name, is_array=True, shape=a.node.shape)),)


_RULES: dict[str, Callable[..., Adjoints]] = {
    "add": lambda v, g, a, b: (g, g),
    "sub": lambda v, g, a, b: (g, _negative(g)),
    "mul": _of_product,
    "div": _of_quotient,
    "neg": lambda v, g, a: (_negative(g),),
    "pow": _of_power,
    "sqrt": _of_root,
    "exp": lambda v, g, a: (_product(g, Symbol(v)),),
    "log": lambda v, g, a: (g / a,),
    "log1p": lambda v, g, a: (g / (1 + a),),
    "sin": lambda v, g, a: (_product(g, apply("cos", a)),),
    "cos": lambda v, g, a: (_negative(_product(g, apply("sin", a))),),
    "arctan": lambda v, g, a: (g / (1 + a * a),),
    "tanh": lambda v, g, a: (_product(g, 1 - Symbol(v) * Symbol(v)),),
    "abs": lambda v, g, a: (_product(g, apply("sign", a)),),
    "sign": lambda v, g, a: (None,),
    "floor": lambda v, g, a: (None,),
    "detach": lambda v, g, a: (None,),
    "max": _of_larger("ge"),
    "min": _of_larger("le"),
    "where": lambda v, g, c, a, b: (None, _where(c, g, 0.0), _where(c, 0.0, g)),
    **dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne", "and", "or"), lambda v, g, a, b: (None, None)),
    "not": lambda v, g, a: (None,),
    "copy": lambda v, g, a: (g,),
    "sum": lambda v, g, a: (g,),
    "slice": _of_slice,
    "pad": _of_pad,
}
"""Per operation the adjoints of its operands, given the operation, its adjoint and its operands."""
