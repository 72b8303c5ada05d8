"""Conformance: how far the optimizers of other libraries are from optrun's, step by step, and whose the paper is.

The gradients of each problem are those that optrun's rule meets: both get the same ones, so that the difference is
that of the rules alone, and not what a chaotic trajectory makes of a rounding error.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from optrun.arrays import Parameters, one_blas_thread
from optrun.config import from_mapping
from optrun.config.yaml.reader import read
from optrun.errors import ConfigError, MissingExtraError, OptrunError, UnknownNameError, did_you_mean, fold
from optrun.foreign import optax_rules, torch_rules
from optrun.foreign.rule import ForeignOptimizer
from optrun.foreign.signatures import version_of
from optrun.kernels.denormals import denormals
from optrun.optim.optimizer import Optimizer
from optrun.plugin_code import guarded
from optrun.registry import optimizers
from optrun.training.pack import Pack

TABLE = Path(__file__).with_name("counterparts.yaml")
STEPS = 100
BOUND = 1e-10
"""The largest difference, relative to the largest parameter, of what is the same algorithm in float64."""

LR = 0.01
"""The learning rate where a counterpart has no other one: defaults of libraries differ."""

_BETAS = {f"b{i}": f"beta{i}" for i in (1, 2, 3)}
_KINDS: Mapping[str, Callable[[str], type[ForeignOptimizer]]] = {
    "torch": torch_rules.torch_rule,
    "optax": optax_rules.optax_rule,
}

PROBLEMS: Sequence[Mapping[str, Any]] = (
    {"name": "rosenbrock", "dim": 6},
    {"name": "softmax_regression", "data": "iris", "batch_size": 32},
    {"name": "mlp", "data": "wine", "hidden": [4], "activation": "tanh", "batch_size": 32},
)
OF_MATRICES: Sequence[Mapping[str, Any]] = (
    {"name": "softmax_regression", "data": "iris", "bias": False, "batch_size": 32},
    {"name": "mlp", "data": "iris", "hidden": [6], "activation": "tanh", "bias": False, "batch_size": 32},
    {"name": "mlp", "data": "wine", "hidden": [4], "activation": "tanh", "bias": False, "batch_size": 32},
)
"""Of rules that update no vectors."""


class Conformity(StrEnum):
    """How a counterpart compares."""

    AGREES = "agrees"
    DIFFERS = "differs"
    FAILED = "failed"
    MISSING = "not installed"
    NONE = "no counterpart"


@dataclass(frozen=True)
class Counterpart:
    """Another library's optimizer for a rule, as the table has it."""

    kind: str
    path: str
    ours: Mapping[str, Any] = field(default_factory=dict)
    """Options of the rule that are not at their defaults."""
    theirs: Mapping[str, Any] = field(default_factory=dict)
    """Options of the other one; it has those of the rule that have the same names."""
    follows: str = ""
    """Where they differ, which of them follows the paper: optrun, theirs, both, neither; empty if that is not known."""
    why: str = ""
    agrees_with: Mapping[str, Any] | None = None
    """Options of theirs with which they agree, which shows that the reason is the whole of it."""
    agrees_at: Mapping[str, Any] | None = None
    """Options of the rule, and with them of theirs, at which they agree."""
    test: str = ""
    """The test that shows the reason, where no options do."""

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{'optax.' if self.kind == 'optax' else 'torch.optim.' if '.' not in self.path else ''}{self.path}"

    @property
    def package(self) -> str:
        """The package that it is of."""
        return self.name.partition(".")[0]


@dataclass(frozen=True)
class ConformanceRow:
    """The comparison of a rule with one counterpart."""

    rule: str
    counterpart: str
    version: str
    conformity: Conformity
    difference: float | None = None
    """The largest difference of a parameter over all steps and problems, relative to the largest parameter then."""
    ours: Mapping[str, Any] = field(default_factory=dict)
    theirs: Mapping[str, Any] = field(default_factory=dict)
    follows: str = ""
    why: str = ""
    agrees_with: Mapping[str, Any] = field(default_factory=dict)
    """The options with which they are to agree: of theirs, or of both."""
    difference_then: float | None = None
    """The difference with these."""
    test: str = ""
    """The test that shows the reason, where no options do."""

    @property
    def is_explained(self) -> bool:
        """Whether they agree, or differ by what the table says, and options or a test show that it is so."""
        if self.conformity is not Conformity.DIFFERS:
            return True
        is_shown = self.difference_then is not None and self.difference_then <= BOUND
        return bool(self.why and self.follows) and (is_shown or bool(self.test))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "conformity": str(self.conformity)}


@cache
def counterparts() -> dict[str, list[Counterpart]]:
    """Return the counterparts of each rule that has any, by its name."""
    document = read(TABLE.read_text(encoding="utf-8"), TABLE.name)
    if document.issues:
        raise ConfigError(document.issues[0].message)
    table: dict[str, list[Counterpart]] = {}
    for name, rows in document.root.plain().items():
        table[name] = [_counterpart(row) for row in rows]
    return table


def _counterpart(row: Mapping[str, Any]) -> Counterpart:
    (kind,) = row.keys() & _KINDS.keys()
    rest = {key: value for key, value in row.items() if key != kind}
    return Counterpart(kind, row[kind], **rest)


def chosen_rules(names: Sequence[str]) -> list[str]:
    """Return the rules of these names, or all; UnknownNameError for one that is none."""
    return [optimizers.spelled(name) for name in names] or list(optimizers)


def known_libraries() -> list[str]:
    """Return the packages that counterparts are of."""
    return sorted({each.package for of in counterparts().values() for each in of})


def conformance(
    names: Sequence[str] = (), libraries: Sequence[str] = (), steps: int = STEPS
) -> Iterator[ConformanceRow]:
    """Yield a row for each rule and each of its counterparts, by default of all rules and of all that is installed.

    Raises UnknownNameError for a rule or a library that is none.
    """
    known = known_libraries()
    wanted = [next((of for of in known if fold(of) == fold(each)), each) for each in libraries]
    for each in wanted:
        if each not in known:
            hint = did_you_mean(each, known) or f" There are: {', '.join(known)}."
            raise UnknownNameError(f"there is no counterpart of {each!r}.{hint}")
    for name in chosen_rules(names):
        found = [each for each in counterparts().get(name, []) if not wanted or each.package in wanted]
        if not found and not wanted:
            yield ConformanceRow(name, "", "", Conformity.NONE, why=_alone(name))
        yield from (_row(name, each, steps) for each in found)


def _alone(name: str) -> str:
    rule = optimizers.find(name)
    return "it evaluates the loss itself" if rule.needs_closure else ""


def _row(name: str, of: Counterpart, steps: int) -> ConformanceRow:
    installed = find_spec(of.package) is not None
    ours, theirs = {"lr": LR, **of.ours}, dict(of.theirs)
    about: dict[str, Any] = {"ours": ours, "theirs": theirs}
    if not installed:
        return ConformanceRow(name, of.name, "", Conformity.MISSING, **about)
    try:
        difference = _difference(name, of, ours, theirs, steps)
    except MissingExtraError:
        return ConformanceRow(name, of.name, "", Conformity.MISSING, **about)
    except OptrunError as error:
        return ConformanceRow(
            name, of.name, version_of(of.package)[1], Conformity.FAILED, why=str(error), **about
        )
    row = ConformanceRow(name, of.name, version_of(of.package)[1], Conformity.AGREES, difference, **about)
    if difference <= BOUND:
        return row
    then, agrees_with = None, {**(of.agrees_at or {}), **(of.agrees_with or {})}
    if agrees_with:
        own = {**ours, **(of.agrees_at or {})}
        with suppress(OptrunError):  # it may take none of these options
            then = _difference(name, of, own, {**theirs, **(of.agrees_with or {})}, steps)
    return ConformanceRow(
        name,
        of.name,
        row.version,
        Conformity.DIFFERS,
        difference,
        follows=of.follows,
        why=of.why,
        agrees_with=agrees_with,
        difference_then=then,
        test=of.test,
        **about,
    )


def _difference(
    name: str, of: Counterpart, ours: Mapping[str, Any], theirs: Mapping[str, Any], steps: int
) -> float:
    rule = optimizers.find(name)
    foreign = _KINDS[of.kind](of.path)
    values = {key: option.default for key, option in rule.options().items() if not option.required} | dict(
        ours
    )
    options = {**_shared(foreign, values), **theirs}
    with guarded(of.name, foreign):
        return max(_on(problem, name, ours, foreign, options, steps) for problem in _problems(rule))


def _problems(rule: type[Optimizer]) -> Sequence[Mapping[str, Any]]:
    try:
        rule.validate_parameter("bias", (2,))
    except ConfigError:
        return OF_MATRICES
    return PROBLEMS


def _shared(foreign: type[ForeignOptimizer], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the options that are named alike."""
    known = {_BETAS.get(name, name): name for name in foreign.signature.options}
    rate = {} if foreign.signature.rate is None else {"lr": values["lr"]}
    own = {
        known[name]: value
        for name, value in values.items()
        if name in known and name not in ("lr", "maximize") and isinstance(value, float)
    }
    return {**own, **rate}


def _on(
    problem: Mapping[str, Any],
    name: str,
    ours: Mapping[str, Any],
    foreign: type[ForeignOptimizer],
    theirs: Mapping[str, Any],
    steps: int,
) -> float:
    """Return the largest relative difference on a problem."""
    config = {
        "problem": dict(problem),
        "optimizer": {"name": name, **ours},
        "steps": steps,
        "dtype": "float64",
    }
    pack = Pack([from_mapping(config)])
    other = pack.params.copy()
    made = foreign(other, **theirs)
    largest = 0.0
    with one_blas_thread, denormals(flushed=False), np.errstate(all="ignore"):
        for t, loss in pack.iterate(0):
            if t:
                largest = max(largest, _apart(pack.params, other))
            other.grad[:] = pack.params.grad
            made.step(loss=loss)
    return max(largest, _apart(pack.params, other))


def _apart(ours: Parameters, theirs: Parameters) -> float:
    scale = float(abs(ours.data).max())
    apart = float(abs(ours.data - theirs.data).max()) / (scale or 1.0)
    return apart if math.isfinite(apart) else math.inf
