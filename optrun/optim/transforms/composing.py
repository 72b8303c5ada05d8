"""A rule with transforms before, behind and around it: another rule, traced as one program."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, ClassVar

from optrun.errors import ConfigError
from optrun.kernels.symbols import Symbol, adding_up_for
from optrun.kernels.trace import Moving, Variable
from optrun.ops import where
from optrun.optim.optimizer import Optimizer
from optrun.optim.rule import Rule
from optrun.optim.transforms.decay import LR_MAX, kept
from optrun.optim.transforms.transform import (
    GradientTransform,
    Transform,
    UpdateTransform,
    Wrapper,
    probing_step,
)
from optrun.plugin_code import contract_error
from optrun.registry import DecayMode, NonNegative, Option, options_of

GRADIENT, UPDATE, WRAP = "gradient", "update", "wrap"
WEIGHT_DECAY = "weight_decay"

Step = Callable[[Variable, Any, Any], None]
"""Makes a step: changes the parameters in place, given the gradient and the number of the step."""


def composed(
    rule: type[Optimizer],
    *,
    gradient: Sequence[GradientTransform] = (),
    update: Sequence[UpdateTransform] = (),
    wrap: Sequence[Wrapper] = (),
    decay: DecayMode | None = None,
) -> partial[Optimizer]:
    """Return a rule whose gradients and updates are transformed, in this order; call it as the rule itself.

    Of several wrappers each is around the rule with those before it. An option of the first transform of the gradient
    is the hyperparameter ``gradient.0.max_norm``, and so on. ``decay`` tells how weight_decay is applied, in place of
    how the rule does it.

    Raises ConfigError where the rule takes no transforms, or has no weight decay.
    """
    given = {
        f"{kind}.{i}.{name}": value
        for kind, transforms in ((GRADIENT, gradient), (UPDATE, update), (WRAP, wrap))
        for i, transform in enumerate(transforms)
        for name, value in transform.given.items()
    }
    classes = (tuple(map(type, each)) for each in (gradient, update, wrap))
    made = rule_of(rule, *classes, decay)  # type: ignore[arg-type]
    return partial(made, **given)


@dataclass(frozen=True)
class _Place:
    """A transform, and the prefixes of its options and of its states."""

    transform: type[Any]
    options: str
    states: str

    @property
    def only_probes(self) -> bool:
        """Whether it changes nothing but where the gradient is taken."""
        return hasattr(self.transform, "probe") and self.transform.apply is probing_step

    @property
    def name(self) -> str:
        """What its sums are known by, in all groups."""
        return self.options + self.transform.__name__

    def apply(self, *given: Any, **options: Any) -> Any:
        """Apply the transform; PluginError where one that is no wrapper returns nothing."""
        with adding_up_for(self.name):
            found = self.transform.apply(*given, **options)
        if found is None and not issubclass(self.transform, Wrapper):
            raise contract_error(
                self.transform.apply, "returns None, and not what it makes of its first argument"
            )
        return found

    def of(self, values: Mapping[str, Any], method: str = "") -> dict[str, Any]:
        """Return its own options among those of the composed rule, or those of one of its methods."""
        own = {
            name.removeprefix(self.options): value
            for name, value in values.items()
            if name.startswith(self.options)
        }
        known = options_of(getattr(self.transform, method)) if method else own
        return {name: value for name, value in own.items() if name in known}


@dataclass(frozen=True)
class Inner:
    """The rule inside a wrapper, in one step."""

    whole: Step
    t: Any
    states: Sequence[Variable]
    calls: list[str] = field(default_factory=list)

    def step(self, p: Variable, g: Any, *, t: Any = None, when: Any = None) -> None:
        """Make the rule's step: change the parameters and its states in place, given the gradient.

        ``t`` is the number of the step for the rule, if it is another one; ``when`` a condition without which nothing
        changes.
        """
        if self.calls:
            raise TypeError("the step of the rule inside is made once, by rule.step or by rule.update")
        self.calls.append("step")
        before = [(variable, variable.node) for variable in (p, *self.states)]
        self.whole(p, g, self.t if t is None else t)
        for variable, old in before if when is not None else ():
            if variable.node is not old:
                variable[:] = where(when, variable, Symbol(old))

    def update(self, p: Variable, g: Any) -> Any:
        """Return what the rule's step would subtract from the parameters, decoupled weight decay included."""
        moving = Moving(p)
        self.step(moving, g)
        taken = 0.0 if moving.taken is None else moving.taken
        return taken if moving.is_kept else (1.0 - moving.kept) * p + taken


@cache
def rule_of(
    rule: type[Optimizer],
    gradient: tuple[type[GradientTransform], ...] = (),
    update: tuple[type[UpdateTransform], ...] = (),
    wrap: tuple[type[Wrapper], ...] = (),
    decay: DecayMode | None = None,
) -> type[Optimizer]:
    """Return the rule composed of these; ConfigError where the rule takes no transforms."""
    if not gradient and not update and not wrap and not decay:
        return rule
    if rule.needs_closure or not rule.traced:
        what = "evaluates the loss itself" if rule.traced else "is of another library"
        raise ConfigError(f"{rule.__name__} {what}, so it takes no transforms", field="name")
    if decay and WEIGHT_DECAY not in rule.options():
        raise ConfigError(f"{rule.__name__} has no weight_decay, which decay would apply", field="decay")
    before, after, around = _places(GRADIENT, gradient), _places(UPDATE, update), _places(WRAP, wrap)
    every = [*before, *after, *around]
    probing = [place for place in around if hasattr(place.transform, "probe")]
    if len(probing) > 1:
        both = " and ".join(place.transform.__name__ for place in probing)
        raise ConfigError(f"{both} take a second gradient: only one of them can", field="wrap")

    is_noisy = rule.needs_noise or any(place.transform.needs_noise for place in every)
    _check_order([place.transform for place in around if not place.only_probes])

    class Composed(rule, registered=False):  # type: ignore[misc, valid-type, call-arg]
        per_tensor = rule.per_tensor or any(place.transform.per_tensor for place in every)
        evaluated = _evaluated(around)
        needs_closure = bool(probing)
        needs_noise = is_noisy
        derived: ClassVar = {LR_MAX: "lr"} if decay == "corrected" else {}

        @staticmethod
        def update(p: Any, g: Any, t: Any, /, *states: Any, **options: Any) -> None:
            found = iter(states)
            curvature, noise = (_taken(found, needed) for needed in (rule.needs_curvature, is_noisy))
            more = [*curvature, *(noise if rule.needs_noise else ()), *_taken(found, rule.takes_loss())]
            own = _taken(found, len(rule.states()))
            of = {place.states: _taken(found, len(place.transform.states())) for place in every}
            hyperparameters = {name: value for name, value in options.items() if "." not in name}
            lr, weight_decay = options["lr"], options.get(WEIGHT_DECAY, 0.0)
            if decay:
                hyperparameters[WEIGHT_DECAY] = 0.0

            def update_of_rule(p: Variable, g: Any, t: Any, **others: Any) -> None:
                with adding_up_for(rule.__name__):
                    rule.update(p, g, t, *more, *own, **{**hyperparameters, **others})

            def moved_by_rule(p: Variable, g: Any, t: Any) -> tuple[Moving, bool]:
                """Return the parameters after the rule's step, and whether the rule has decayed them by itself."""
                moving, states = Moving(p), [(state, state.node) for state in own]
                if decay in ("decoupled", "cautious"):
                    # A rule that multiplies the parameters itself may have a rate of its own.
                    update_of_rule(moving, g, t, **{WEIGHT_DECAY: weight_decay})
                    if not moving.is_kept:
                        return moving, True
                    moving = Moving(p)
                    for state, old in states:
                        state.node = old
                update_of_rule(moving, g, t)
                return moving, False

            def step_of_rule(p: Variable, g: Any, t: Any) -> None:
                for place in before:
                    v = noise if place.transform.needs_noise else ()
                    g = place.apply(g, p, t, *v, *of[place.states], **place.of(options))
                if decay == "coupled":
                    g = g + weight_decay * p
                if not after and decay in (None, "coupled"):
                    update_of_rule(p, g, t)
                    return
                moving, decays = moved_by_rule(p, g, t)
                u = 0.0 if moving.taken is None else moving.taken
                for place in after:
                    v = noise if place.transform.needs_noise else ()
                    u = place.apply(u, g, p, lr, t, *v, *of[place.states], **place.of(options))
                if not decays:
                    p *= moving.kept
                if decay not in (None, "coupled"):
                    own_decay = moving.kept if decays else None
                    p *= kept(decay, p, u, lr, weight_decay, options.get(LR_MAX), own_decay)
                p -= u

            def step_around(
                inner: Step, inside: list[Variable], place: _Place, p: Variable, g: Any, t: Any
            ) -> None:
                rule_inside, own = Inner(inner, t, inside), place.of(options, "apply")
                v = noise if place.transform.needs_noise else ()
                place.apply(rule_inside, p, g, lr, t, *v, *of[place.states], **own)
                if not rule_inside.calls:
                    said = "makes no step of the rule inside: it calls rule.step or rule.update, once"
                    raise contract_error(place.transform.apply, said)

            step: Step = step_of_rule
            inside = [*own, *(state for place in (*before, *after) for state in of[place.states])]
            for place in around:
                step = partial(step_around, step, inside, place)
                inside = [*inside, *of[place.states]]
            step(p, g, t)

        @classmethod
        def reads_every(cls, options: Mapping[str, Any]) -> int:
            return rule.reads_every(options) if is_noisy == rule.needs_noise else 1

        @classmethod
        def probe(cls) -> type[Rule] | None:
            return _probe_of(cls, probing[0]) if probing else None  # type: ignore[arg-type]

        @classmethod
        def recipe(cls) -> tuple[Callable[..., type[Optimizer]], tuple[Any, ...]]:
            return rule_of, (rule, gradient, update, wrap, decay)

        def __reduce__(self) -> tuple[Any, ...]:
            return _blank, (rule, gradient, update, wrap, decay), self.__getstate__()

        @classmethod
        def options(cls) -> dict[str, Option]:
            added = {
                place.options + name: replace(option, name=place.options + name)
                for place in every
                for name, option in place.transform.options().items()
            }
            own = rule.options()
            derived = {name: Option(name, NonNegative, own[of].default) for name, of in cls.derived.items()}
            return {**own, **derived, **added}

        @classmethod
        def validate_options(cls, options: Mapping[str, Any]) -> None:
            rule.validate_options(options)
            for place in every:
                place.transform.validate_options(place.of(options))

        @classmethod
        def takes_loss(cls) -> bool:
            return rule.takes_loss()

        @classmethod
        def states(cls) -> tuple[str, ...]:
            added = (place.states + name for place in every for name in place.transform.states())
            return (*rule.states(), *added)

        @classmethod
        def scalar_states(cls) -> tuple[str, ...]:
            added = (place.states + name for place in every for name in place.transform.scalar_states())
            return (*rule.scalar_states(), *added)

        @classmethod
        def state_shapes(cls, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
            return {**dict.fromkeys(cls.states(), shape), **rule.state_shapes(shape)}

    decaying = [f"{decay} decay"] if decay else []
    names = (
        [each.__name__ for each in (*gradient, rule)]
        + decaying
        + [each.__name__ for each in (*update, *wrap)]
    )
    Composed.__name__ = Composed.__qualname__ = " + ".join(names)
    return Composed


def _check_order(around: Sequence[type[Wrapper]]) -> None:
    if inside := next((each for each in around[:-1] if each.outermost), None):
        said = f"{inside.__name__} sets the parameters from its own states, so that nothing of {around[-1].__name__}"
        raise ConfigError(f"{said} around it would stay: put it last", field="wrap")


@cache
def _probe_of(rule: type[Rule], place: _Place) -> type[Rule]:
    """Return the rule that moves the parameters to where the second gradient is taken; its options are the rule's."""

    class Probe(Rule, registered=False):
        per_tensor = place.transform.per_tensor

        @staticmethod
        def update(p: Any, g: Any, t: Any, /, **options: Any) -> None:
            with adding_up_for(place.name):
                place.transform.probe(p, g, t, **place.of(options, "probe"))

        @classmethod
        def options(cls) -> dict[str, Option]:
            return rule.options()

    Probe.__name__ = Probe.__qualname__ = rule.__name__
    return Probe


def _blank(*made_of: Any) -> Optimizer:
    """Return an optimizer of a composed rule, whose state pickle or copy will set."""
    rule = rule_of(*made_of)
    return rule.__new__(rule)


def _places(kind: str, transforms: Sequence[type[Transform]]) -> list[_Place]:
    return [_Place(each, f"{kind}.{i}.", f"{kind}_{i}_") for i, each in enumerate(transforms)]


def _evaluated(around: Sequence[_Place]) -> str:
    """Return the state that is evaluated in place of the parameters: that of the outermost wrapper with one."""
    named = [place.states + place.transform.evaluated for place in around if place.transform.evaluated]
    return named[-1] if named else ""


def _taken(values: Iterator[Any], count: int) -> list[Any]:
    return [next(values) for _ in range(count)]
