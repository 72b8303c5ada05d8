"""Optimizers to test, their parameters and gradients."""

import contextlib
import itertools

import numpy as np
import pytest

from optrun.arrays import Arrays, Parameters
from optrun.errors import ConfigError
from optrun.optim import Optimizer
from optrun.optim.transforms.composing import rule_of
from optrun.registry import gradient_transforms, optimizers, update_transforms, wrappers
from tests.kernels.engines import each_on_every_engine
from tests.oracles.rules import TORCH, label, variants


def composed_rules():
    """Return a rule with each transform or wrapper, and one with several before, behind and around it."""
    under = [optimizers.find(name) for name in ("AdamW", "SGD", "RMSprop")]
    before = [(gradient_transforms.find(name),) for name in gradient_transforms]
    behind = [(update_transforms.find(name),) for name in update_transforms]
    alone = [rule_of(rule, first, ()) for rule, first in zip(itertools.cycle(under), before)]
    alone += [rule_of(rule, (), last) for rule, last in zip(itertools.cycle(under), behind)]
    alone += [
        rule_of(rule, (), (), (wrappers.find(name),)) for rule, name in zip(itertools.cycle(under), wrappers)
    ]
    alone += [
        rule_of(optimizers.find(name), decay=mode)
        for name, mode in (("AdamW", "cautious"), ("SGD", "corrected"))
    ]
    several = [gradient_transforms.find(name) for name in ("ClipNorm", "Centralize")]
    behind, around = update_transforms.find("Cautious"), wrappers.find("Lookahead")
    return [*alone, rule_of(optimizers.find("Muon"), tuple(several), (behind,), (around,))]


RULES = [optimizers.find(name) for name in optimizers] + composed_rules()


def option_sets(rule):
    """Return the defaults, and for every set of flags the options with all floats moved.

    Of rules that torch does not have, `maximize` is left to the test of its own, and of a composed rule the flags of
    the rule beneath to that one. How a matrix is orthogonalized is left to Muon.
    """
    flags = [name for name, option in rule.options().items() if not option.is_float]
    left = {"maximize", "ns_steps", "iteration"} if rule.__name__ not in TORCH else set()
    left |= {name for name in flags if "+" in rule.__name__ and "." not in name}
    found = [each for each in variants(rule) if not left & each.keys()]
    moved = {str({name: each[name] for name in flags if name in each}): each for each in found[1:]}
    return [found[0], *moved.values()]


VARIANTS_OF = {rule: option_sets(rule) for rule in RULES}
VARIANTS = [(rule, options) for rule in RULES for options in VARIANTS_OF[rule]]
LAST_VARIANTS = [(rule, VARIANTS_OF[rule][-1]) for rule in RULES]
"""Each rule with all floats moved and as many flags as go together: what is done with a state, whatever computes it."""


def in_turn(cases, *axes):
    """Return the cases with the combinations of some axes in turn, so that all meet each rule and not each case."""
    return [(*case, *more) for case, more in zip(cases, itertools.cycle(itertools.product(*axes)))]


EVERY_RULE = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)


EVERY_RULE_ON_EVERY_ENGINE = each_on_every_engine(
    ("rule",), zip(RULES), lambda rule: rule, lambda rule: rule.__name__
)


EVERY_LAST_VARIANT = pytest.mark.parametrize(("rule", "options"), LAST_VARIANTS, ids=str)
EVERY_RULE_IN_SOME_DTYPE = pytest.mark.parametrize(
    ("rule", "options", "dtype"), in_turn(LAST_VARIANTS, ("float32", "float64")), ids=str
)


def needs_lanes(rule):
    if not rule.batched:
        pytest.skip(f"{rule.__name__} has one lane")


def needs_groups(rule, options):
    if rule.needs_closure:
        pytest.skip(f"{rule.__name__} has one group, or adds up over all")
    own = {name: option.default for name, option in rule.options().items()} | options
    flags = tuple((name, own[name]) for name, option in rule.options().items() if not option.is_float)
    over = [] if rule.per_tensor else [each.name for each in rule.program(flags).reduced]
    if "run" in [*own.values(), *over]:
        pytest.skip(f"{rule.__name__} adds up over all groups")


EVERY_LAST_VARIANT_ON_EVERY_ENGINE = each_on_every_engine(
    ("rule", "options"),
    LAST_VARIANTS,
    lambda rule, _: rule,
    lambda rule, options: label(rule.__name__, options),
)


DTYPES = ("float32", "float64")


def last_in_short(cases):
    """Return cases of variants; those but the last one of each rule are left to the full run."""
    return [
        pytest.param(rule, options, *more, marks=() if options is VARIANTS_OF[rule][-1] else pytest.mark.full)
        for rule, options, *more in cases
    ]


EVERY_VARIANT_IN_SOME_DTYPE = pytest.mark.parametrize(
    ("rule", "options", "dtype"), last_in_short(in_turn(VARIANTS, DTYPES)), ids=str
)


def in_some_layout_on_every_engine(variants, in_short):
    return each_on_every_engine(
        ("rule", "options", "dtype", "lane_fast"),
        in_turn(variants, DTYPES, (False, True)),
        lambda rule, *_: rule,
        lambda rule, options, *how: "-".join([label(rule.__name__, options), *map(str, how)]),
        in_short,
    )


EVERY_VARIANT_IN_SOME_LAYOUT_ON_EVERY_ENGINE = in_some_layout_on_every_engine(
    VARIANTS, lambda rule, options, *_: options is VARIANTS_OF[rule][1]
)
EVERY_LAST_VARIANT_IN_SOME_LAYOUT_ON_EVERY_ENGINE = in_some_layout_on_every_engine(
    LAST_VARIANTS, lambda *_: True
)


EVERY_DTYPE = pytest.mark.parametrize("dtype", ["float32", "float64"])


SHAPES = {
    "a.weight": (3, 5),
    "a.bias": (5,),
    "b.weight": (5, 2),
    "b.bias": (2,),
    "a.number": (),
    "a.row": (1, 4),
    "b.column": (3, 1),
    "b.cube": (2, 3, 2),
    "b.nothing": (0,),
}


STEPS = 12


def accepted(rule):
    """Return the shapes of those parameters that the rule takes: Muon's are matrices."""
    shapes = {}
    for name, shape in SHAPES.items():
        with contextlib.suppress(ConfigError):
            rule.validate_parameter(name, shape)
            shapes[name] = shape
    return shapes


def parameters(rng, rule=Optimizer, lanes=1, dtype="float64", lane_fast=False):
    params = Parameters(accepted(rule), lanes=lanes, arrays=Arrays(dtype=dtype), lane_fast=lane_fast)
    params.data[:] = rng.normal(size=params.data.shape)
    return params


def gradients(rng, rule=Optimizer, lanes=1, steps=STEPS):
    """Gradients in which zeros, -0.0 and denormal numbers occur."""
    found = rng.normal(size=(steps, lanes, parameters(rng, rule).size))
    found[rng.random(found.shape) < 0.1] = 0.0
    found[rng.random(found.shape) < 0.1] = -0.0
    found[rng.random(found.shape) < 0.05] *= 1e-310
    return found


def stepped(optimizer, grads):
    params = optimizer.params

    def bowl():
        """A quadratic whose gradient where all parameters are 0 is the given one."""
        params.grad[:] = grad + 0.5 * params.data
        return float((grad * params.data + 0.25 * params.data**2).sum())

    def loss():
        """A number of each lane, from copies, so that its bits do not depend on the layout."""
        return [np.abs(np.ascontiguousarray(lane)).sum() for lane in params.data]

    with np.errstate(all="ignore"):  # 0 / 0 where eps is 0, and NaN where a test wants it
        for grad in grads:
            params.grad[:] = grad
            curve(optimizer)
            optimizer.step(
                bowl if optimizer.needs_closure else None, loss=loss() if optimizer.needs_loss else None
            )
    return optimizer


def curve(optimizer):
    """Write what the next step reads beside the gradient, on which alone it depends."""
    if optimizer.awaits_curvature:
        optimizer.params.curvature[:] = 0.5 + optimizer.params.grad
    if optimizer.awaits_noise:
        optimizer.params.noise[:] = 1.0 + 0.5 * optimizer.params.grad


def bits(optimizer):
    buffers = [optimizer.params.data]
    for entry in optimizer.state.values():
        buffers += [value for name, value in entry.items() if name != "step"]
    return [np.ascontiguousarray(buffer).tobytes() for buffer in buffers]


def per_lane(rule, options, lanes, rng):
    """Return hyperparameters that differ between lanes; each that may be zero is so in lanes of its own."""
    values = {}
    for name, option in rule.options().items():
        if not option.is_float:
            continue
        centre = options.get(name, option.default)
        factor = rng.uniform(0.8, 1.0, lanes)
        moved = np.full(lanes, centre) * factor
        holds = all(bound.holds(moved).all() for bound in option.bounds)
        values[name] = moved if holds else np.full(lanes, centre) / factor
        zeros = np.where(rng.random(lanes) < 0.4, 0.0, values[name])
        try:
            rule.validate_options(
                {**{n: o.default for n, o in rule.options().items()}, **options, name: zeros}
            )
        except ConfigError:
            continue
        if all(bound.holds(zeros).all() for bound in option.bounds):
            values[name] = zeros
    return values
