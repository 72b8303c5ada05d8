"""The contract of a sweep method: which settings are run, given how earlier ones did."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from optrun.config import ConfigErrors, RunConfig
from optrun.config.sweep.model import SweepBlock
from optrun.config.sweep.resolve import SweepConfig
from optrun.config.yaml.tree import Path
from optrun.errors import ConfigError, PluginError
from optrun.plugin_code import definition_of, guarded
from optrun.registry import Option, check_annotated, methods, options_of, snake_case
from optrun.sweeps.plan.spaces import Setting, Space, matches, spaces_of


@dataclass(frozen=True)
class Candidate:
    """A setting of a sweep, and how its runs have done so far."""

    number: int
    setting: Setting
    score: float | None
    """The median of the metric over its seeds; None where a run failed, or half of them diverged."""
    failed: bool
    """Whether a run of it has failed."""
    is_latest: bool
    """Whether the latest proposal had it."""
    problem: str = ""
    """What tells its problem, of a method that prunes: scores of one problem are no better or worse than another's."""


@dataclass(frozen=True)
class Proposal:
    """What is run next: new settings, or earlier ones that go on.

    Those of the latest proposal that do not go on, where it has some that do, are ended.
    """

    settings: Sequence[Setting] = ()
    promoted: Sequence[Candidate] = ()
    until: int | None = None
    """The step before which the runs wait for the next proposal; None is their end."""


class Method(ABC):
    """Chooses the settings of a sweep, one proposal after the other.

    A subclass names its options as the keyword-only arguments of ``__init__``, and is registered under its class name
    in snake case: in a config, its options stand under this name beside `method`. What it draws depends on
    ``self.swept.sweep.seed`` alone, and its proposals on the history alone: a sweep that was interrupted asks a new
    instance from the beginning. One that prunes is told the scores of that time then, and earlier decisions stand.

    Raises ConfigError, naming the option, where one does not go with others.
    """

    trials: ClassVar[bool | None] = True
    """Whether it draws as many settings as there are `trials`; None where a sweep may have them or not."""
    grows: ClassVar[bool] = False
    """Whether it proposes more settings once it knows how earlier ones did."""
    prunes: ClassVar[bool] = False
    """Whether it ends runs early, given how they do beside others."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__name__.startswith("_") or ABC in cls.__bases__:
            return
        name = snake_case(cls.__name__)
        check_annotated(cls.__name__, cls.__init__)
        if cls.grows and cls.prunes:
            # A sweep that goes on is told later scores of the runs that were promoted.
            raise TypeError(f"{cls.__name__}: a method either grows or prunes")
        if cls.options() and name in SweepBlock.known_keys():
            raise TypeError(
                f"{cls.__name__}: its options would stand under {name}, which is a key of every sweep"
            )
        methods.add(cls, name)

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Refuse a class that lacks a method."""
        if missing := ", ".join(sorted(cls.__abstractmethods__)):
            raise PluginError(f"method {cls.__name__} lacks {missing} ({definition_of(cls)})")
        return super().__new__(cls)

    def __init__(self, swept: SweepConfig, /) -> None:
        self.swept = swept
        self.spaces: Sequence[Space] = spaces_of(swept)

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Return the options, by name."""
        return options_of(cls.__init__)

    @abstractmethod
    def propose(self, history: Sequence[Candidate]) -> Proposal | None:
        """Return what is run next, given all settings so far; None where all has been proposed."""

    def prepare(self, configs: Sequence[RunConfig]) -> None:
        """Take in the configs of the runs that are known first.

        Raises ConfigError where they do not go with the method.
        """
        del configs

    def total(self) -> int:
        """Return how many settings it proposes in all, at most."""
        return sum(space.size for space in self.spaces)

    def outline(self, settings: int) -> list[tuple[int, int | None]]:
        """Return of each proposal how many settings it has, at most, where the first has so many, and its `until`.

        One that prunes is asked for each problem.
        """
        return [(settings, None)]

    @property
    def basis(self) -> Any:
        """On what it depends, besides the configs, which runs are ended early; as JSON has it."""
        return self.swept.sweep.method_options

    def notes(self) -> Iterator[str]:
        """Yield what of the sweep may be a mistake, a line each."""
        yield from ()


class Sampler(Method, ABC):
    """A method that proposes all its settings at once, space by space."""

    @abstractmethod
    def sample(self, space: Space) -> Iterable[Setting]:
        """Return the settings of a space: `space.trials` of them, where they are drawn."""

    def propose(self, history: Sequence[Candidate]) -> Proposal | None:
        """Return the settings of all spaces but those that are excluded; ConfigErrors where a rule excludes none."""
        if history:
            return None
        found = [
            (space, setting)
            for space in self.spaces
            for drawn in self.sample(space)
            for setting in space.completed(drawn)
        ]
        if not self.swept.sweep.draws:
            self._check_excluded(found)
        return Proposal([setting for space, setting in found if not space.leaves_out(setting)])

    def _check_excluded(self, found: Sequence[tuple[Space, Setting]]) -> None:
        sweep = self.swept.sweep
        rules: list[tuple[Path, tuple[int, ...], Mapping[str, Any]]] = []
        rules += [(("exclude", i), (), each) for i, each in enumerate(sweep.exclude)]
        for of, space in enumerate(sweep.spaces):
            rules += [(("spaces", of, "exclude", i), (of,), each) for i, each in enumerate(space.exclude)]
        for place, index, rule in rules:
            if not any(matches(setting, rule) for space, setting in found if index in ((), space.index)):
                said = "leaves nothing out: no setting has these values"
                raise ConfigErrors([self.swept.issue(place, said)])


def method_of(swept: SweepConfig, configs: Sequence[RunConfig] = ()) -> Method:
    """Return the method of a sweep, which has not been asked yet, prepared for the configs.

    Raises ConfigErrors with the place of the option to blame, and PluginError for a faulty class.
    """
    with _placed_errors(swept):
        method: Method = methods.find(swept.sweep.method)(swept, **swept.sweep.method_options)
        if configs:
            method.prepare(configs)
    return method


def proposed(method: Method, history: Sequence[Candidate]) -> Proposal | None:
    """Return the next proposal of a method; it raises as `method_of` does."""
    with _placed_errors(method.swept):
        proposal = method.propose(history)
        if not isinstance(proposal, Proposal | None):
            raise TypeError(f"propose returns a Proposal or None, not {type(proposal).__name__}")
        if proposal is None or (not proposal.settings and (method.grows or not history)):
            return None
        if (proposal.promoted or proposal.until is not None) and not method.prunes:
            raise TypeError("a method that has runs wait, or go on, says prunes = True")
        if history and proposal.settings and not method.grows:
            raise TypeError("a method that adds settings on the way says grows = True")
        return proposal


def notes_of(swept: SweepConfig) -> list[str]:
    """Return what the method has to say of a sweep; it raises as `method_of` does."""
    method = method_of(swept)
    with _placed_errors(swept):
        return list(method.notes())


@contextmanager
def _placed_errors(swept: SweepConfig) -> Iterator[None]:
    """Give what a method raises within its place in the config, or in a plugin's code."""
    name = swept.sweep.method
    cls: type[Method] = methods.find(name)
    try:
        with guarded(cls.__name__, cls):
            yield
    except ConfigErrors:
        raise
    except ConfigError as error:
        place: Path = (name, error.field) if error.field else ("method",)
        raise ConfigErrors([swept.issue(place, str(error))]) from None


def decides_on_the_way(name: Any) -> bool:
    """Whether what is run depends on how earlier runs did, by the method of this name or one that is not known here."""
    if not isinstance(name, str):
        return False
    return name not in methods or methods.find(name).grows or methods.find(name).prunes
