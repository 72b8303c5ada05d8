"""The config of a run."""

import hashlib
import json
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Lt, MinLen
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from optrun import registry
from optrun.config.components import Component, Named, OptimizerComponent
from optrun.config.durations import Duration
from optrun.config.explain import failure, not_one_of
from optrun.config.schema import INTEGRAL, Model, union
from optrun.config.writer import to_yaml
from optrun.errors import ConfigError

METRICS = ("loss", "lr", "grad_norm", "update_norm", "param_norm")

Metric = Literal["loss", "lr", "grad_norm", "update_norm", "param_norm"]
Count = Annotated[int, Ge(1), INTEGRAL]


class _Section(Model):
    """A part of the config; what is off is left out of its dump."""

    @model_serializer(mode="wrap")
    def _what_is_on(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        defaults = {name: field.default for name, field in type(self).model_fields.items()}
        dumped: dict[str, Any] = handler(self)
        return {
            key: value
            for key, value in dumped.items()
            if value != {} and not (value is None and defaults[key] is None)
        }


def _always_recorded(metrics: list[str]) -> list[str]:
    return [metric for metric in METRICS if metric in ("loss", "lr", *metrics)]


class Record(_Section):
    """Which metrics are recorded (the loss and the lr always are), and at which steps."""

    every: Count = 1
    metrics: Annotated[list[Metric], AfterValidator(_always_recorded)] = Field(
        default=[], validate_default=True
    )


class Evaluate(_Section):
    """How often the full objective is evaluated, in steps; by default at the end alone."""

    every: Count | None = None


class Checkpoint(_Section):
    """How often a checkpoint is committed: in steps or in time; None is never."""

    every: union([Count, Duration, type(None)]) = Duration("30s")  # type: ignore[valid-type]


class Stop(_Section):
    """What ends a run early: a loss reached or exceeded, steps without improvement, a span of time."""

    target: float | None = None
    divergence: Annotated[float, Gt(0)] | None = None
    patience: Count | None = None
    time: Duration | None = None


def _known_engine(name: str) -> str:
    from optrun.kernels import ENGINES

    if name not in ENGINES:
        raise ConfigError(not_one_of(ENGINES, name))
    return name


def _off(**values: Any) -> BeforeValidator:
    return BeforeValidator(lambda value: values if value is None else value)


class RunConfig(_Section):
    """Everything that decides what a run computes, complete: what was not given has its default.

    `problem`, `optimizer` and `scheduler` have a `name` to look up in the registry and `options` to call the
    class with. Exactly one of `steps` and `epochs` is set.
    """

    name: Annotated[str, MinLen(1)]
    problem: Annotated[Component, Named(registry.problems)]
    optimizer: Annotated[OptimizerComponent, Named(registry.optimizers)]
    scheduler: Annotated[Component, Named(registry.schedulers)] | None = None
    steps: Count | None = None
    epochs: Count | None = None
    seed: Annotated[int, Ge(0), Lt(2**63), INTEGRAL] = 0
    dtype: Literal["float32", "float64"] = "float32"
    backend: Literal["numpy", "cupy"] = "numpy"
    engine: Annotated[str, AfterValidator(_known_engine)] = "auto"
    record: Record = Record()
    evaluate: Annotated[Evaluate, _off()] = Evaluate()
    checkpoint: Annotated[Checkpoint, _off(every=None)] = Checkpoint()
    stop: Annotated[Stop, _off()] = Stop()

    @model_validator(mode="after")
    def _steps_or_epochs(self) -> "RunConfig":
        if self.steps is None and self.epochs is None:
            raise failure((("steps",), "missing: how long is the run? Give steps or epochs"))
        if self.steps is not None and self.epochs is not None:
            raise failure((("epochs",), "steps and epochs are both set: turn one off (epochs=null)"))
        return self

    def to_dict(self) -> dict[str, Any]:
        """Return the config as plain JSON values, in the order in which people write them."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """Return the config as YAML that reads back as an equal config."""
        return to_yaml(self.to_dict())

    @property
    def digest(self) -> str:
        """The SHA-256 of the config's canonical JSON, in hex."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()
