"""Registered classes of the tests' own: what a config can say must not depend on what is shipped."""

from abc import ABC
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import pytest

from optrun import registry
from optrun.errors import ConfigError
from optrun.registry import Decay, NonNegative, Option, PathOrName, PositiveInt, Registry, options_of


class Registered:
    """What every registered class has."""

    @classmethod
    def options(cls) -> dict[str, Option]:
        return options_of(cls.__init__)


class Bowl(Registered):
    def __init__(self, arrays: Any, /, *, dim: PositiveInt = 2, start: list[float] | None = None) -> None: ...


class Net(Registered):
    def __init__(
        self,
        arrays: Any,
        /,
        *,
        data: Annotated[str, PathOrName()],
        hidden: list[PositiveInt] = [64, 64],  # noqa: B006
        activation: Literal["relu", "tanh", "gelu"] = "relu",
        batch_size: PositiveInt | None = None,
        bias: bool = True,
        copy: str = "an option may be called like a method of pydantic's",
    ) -> None: ...


class Descent(Registered):
    def __init__(
        self,
        params: Any,
        /,
        *,
        lr: NonNegative = 1e-3,
        momentum: NonNegative = 0,
        weight_decay: NonNegative = 0.0,
        nesterov: bool = False,
    ) -> None: ...

    @classmethod
    def validate_options(cls, options: dict[str, Any]) -> None:
        if options["nesterov"] and not options["momentum"]:
            raise ConfigError("needs momentum", field="nesterov")


class Moments(Registered):
    tuples: ClassVar = {"betas": ("beta1", "beta2")}

    def __init__(
        self,
        params: Any,
        /,
        *,
        lr: NonNegative = 1e-3,
        beta1: Decay = 0.9,
        beta2: Decay = 0.999,
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 0.0,
        amsgrad: bool = False,
    ) -> None: ...


class Schedule(Registered, ABC):
    """The base that stands for "any scheduler" in an annotation."""


class Steps(Schedule):
    def __init__(self, optimizer: Any, /, *, step_size: PositiveInt, gamma: NonNegative = 0.1) -> None: ...


class Chain(Schedule):
    def __init__(
        self, optimizer: Any, /, *, schedulers: list[Schedule], milestones: list[PositiveInt]
    ) -> None: ...

    @classmethod
    def validate_options(cls, options: dict[str, Any]) -> None:
        if sorted(options["milestones"]) != options["milestones"]:
            raise ConfigError("must rise", field="milestones")


class Range(Schedule):
    def __init__(self, optimizer: Any, /, *, base: float | list[float], T_max: PositiveInt = 10) -> None: ...


FAKES: dict[Registry[Any], dict[str, type]] = {
    registry.problems: {"bowl": Bowl, "net": Net},
    registry.optimizers: {"SGD": Descent, "Adam": Moments},
    registry.schedulers: {"StepLR": Steps, "SequentialLR": Chain, "RangeLR": Range},
}


@pytest.fixture(scope="module")
def fakes() -> Iterator[None]:
    """Put the tests' own classes in the place of the shipped ones."""
    with pytest.MonkeyPatch.context() as patch:
        for real, classes in FAKES.items():
            len(real)  # what is shipped registers now, not among the fakes
            fake: Registry[Any] = Registry(real.kind, "optrun.config")
            for name, cls in classes.items():
                fake.add(cls, name)
            for attribute in ("_package", "_classes", "_names"):
                patch.setattr(real, attribute, getattr(fake, attribute))
        yield
