"""The config of a run."""

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, MaxLen, MinLen
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    model_validator,
)
from pydantic_core import PydanticCustomError

from optrun import registry
from optrun.checks.messages import MISSING, conflict, failure, not_one_of, shown
from optrun.checks.types import INTEGRAL
from optrun.checks.unions import union
from optrun.config.goal import Goal, goal_of, usual_goal
from optrun.config.model.components import Component, Named, OptimizerComponent, Schedule, Schedules, class_of
from optrun.config.model.durations import Duration
from optrun.config.model.expect import Expectations
from optrun.config.model.options import (
    GROUPS,
    NOTHING,
    SCHEDULES,
    Section,
    floats_of,
    options_within,
    unschedulable,
)
from optrun.config.model.seeds import Seed, Seeds
from optrun.config.yaml.tree import Path
from optrun.config.yaml.writer import to_yaml
from optrun.errors import ConfigError
from optrun.plugin_code import definition_of
from optrun.registry import Added

ALWAYS = {
    "loss": "The loss before the update, on the batch that the update uses; always recorded.",
    "lr": "The learning rate that the update uses, lr.1, lr.2, … in further groups; always recorded. Any other float "
    "hyperparameter of the optimizer is a metric in the same way: weight_decay, weight_decay.1, …",
}
"""What every curve has."""

Count = Annotated[int, Ge(1), INTEGRAL]

MOST_KEPT = 10_000
"""At most so many steps whose parameters are kept."""


def _always_recorded(metrics: list[str]) -> list[str]:
    if ALWAYS.keys() >= set(metrics):
        return list(ALWAYS)  # without the registry, which imports the optimizers
    known = [metric for metric in metric_names() if metric in (*ALWAYS, *metrics)]
    return list(dict.fromkeys([*known, *metrics]))


def metric_names() -> list[str]:
    """Return what can be recorded with any optimizer."""
    return [
        *ALWAYS,
        *(name for name in registry.metrics.in_order() if registry.metrics.find(name).is_recorded),
    ]


def evaluable_names() -> list[str]:
    """Return what can be evaluated: metrics of the parameters and the objective, and of predictions."""
    of_parameters = [name for name in registry.metrics.in_order() if registry.metrics.find(name).is_evaluated]
    return [*of_parameters, *registry.prediction_metrics.in_order()]


def _evaluable(metrics: list[str] | None) -> list[str] | None:
    known = evaluable_names()
    matrix = "is a matrix, and no number: `optrun show RUN --confusion` prints it"
    wrong = [
        ((i,), matrix if name == "confusion" else not_one_of(known, name))
        for i, name in enumerate(metrics or ())
        if name not in known
    ]
    if wrong:
        raise failure(*wrong)
    return metrics


def _each_step_once(steps: list[int]) -> list[int]:
    wrong = [((i,), f"{shown(step)} is listed twice") for i, step in enumerate(steps) if step in steps[:i]]
    if wrong:
        raise failure(*wrong)
    return sorted(steps)


_Steps = Annotated[
    list[Annotated[int, Ge(0), INTEGRAL]], MinLen(1), MaxLen(MOST_KEPT), AfterValidator(_each_step_once)
]


class Kept(Section):
    """Steps at equal distances, before whose update the parameters are kept."""

    every: Annotated[Count, "steps from one to the next, from the first on"] = 1


class Record(Section):
    """Which metrics are recorded (the loss and the lr always are) and at which steps, and which parameters are kept."""

    every: Annotated[
        Count | None, "steps from one row to the next; null, or `record: none`, for the first step alone"
    ] = 1
    metrics: Annotated[
        list[str], AfterValidator(_always_recorded), "besides loss and lr: norms, floats of the optimizer"
    ] = Field(default=[], validate_default=True)
    params: Annotated[
        union([_Steps, Kept, type(None)]),  # type: ignore[valid-type]
        "steps before whose update the parameters are kept: a list, or {every: 10}; those of the end always are",
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _written_short(cls, data: Any) -> Any:
        return {"every": None} if data == NOTHING else data

    def rows(self, steps: int) -> int:
        """Return how many rows so many steps have."""
        return -(-steps // self.every) if self.every else 1

    def kept(self, steps: int) -> Sequence[int]:
        """Return the steps of so many before whose update the parameters are kept, in order."""
        if isinstance(self.params, Kept):
            return range(0, steps, self.params.every)
        return [step for step in self.params or () if step < steps]

    @property
    def measured(self) -> list[str]:
        """The metrics that are measured; the others are the loss and hyperparameters."""
        return [name for name in self.metrics if name in registry.metrics]

    @property
    def hyperparameters(self) -> list[str]:
        """The hyperparameters that are recorded, of each group."""
        return [name for name in self.metrics if name != "loss" and name not in registry.metrics]


class Evaluate(Section):
    """How often the full objective is evaluated, in steps; by default at the end alone."""

    every: Annotated[Count | None, "steps from one evaluation to the next"] = None
    metrics: Annotated[
        Annotated[list[str], AfterValidator(_evaluable)] | None,
        "of predictions or parameters, beside what is always evaluated, such as f1_macro, rmse, param_norm",
    ] = None


class Checkpointing(Section):
    """How often a checkpoint is committed: in steps or in time; None is never."""

    every: Annotated[
        union([Count, Duration, type(None)]),  # type: ignore[valid-type]
        "steps, or time such as 30s, from one checkpoint to the next",
    ] = Duration("30s")


class Divergence(Section):
    """A loss that is too high beside the first one, of which the size counts, or 1 where it is less."""

    factor: Annotated[Annotated[float, Gt(1)], "times the first loss, or times 1 where that is smaller"] = (
        1000.0
    )


class Stop(Section):
    """What ends a run early: a loss reached or exceeded, steps without improvement, a span of time."""

    target: Annotated[float | None, "a loss that is low enough"] = None
    divergence: Annotated[
        union([Annotated[float, Gt(0)], Divergence, type(None)]),  # type: ignore[valid-type]
        "a loss that is too high: a number, or a factor of the first one; null is none that is finite",
    ] = Divergence()
    patience: Annotated[Count | None, "steps without a new lowest loss"] = None
    metric: Annotated[
        Annotated[str, MinLen(1)] | None,
        "an evaluated figure, such as val_loss, that target and patience observe in place of the loss",
    ] = None
    goal: Annotated[
        Goal | None, "which end of metric is the better one; by default higher for accuracy or r2, lower else"
    ] = None
    restore_best: Annotated[
        bool, Added(), "whether the run ends with the parameters of its best evaluation by metric"
    ] = False
    time: Annotated[Duration | None, "such as 10m"] = None

    def goal_of(self, name: str) -> Goal:
        """Return the goal of a figure where `metric` has that of these criteria."""
        if self.metric is None:
            return usual_goal(name)
        return goal_of(name, self.metric, self.goal or usual_goal(self.metric))


def _known_engine(name: str) -> str:
    from optrun.kernels import ENGINES

    if name not in ENGINES:
        raise ConfigError(not_one_of(ENGINES, name))
    return name


def _off(model: type[Section], **values: Any) -> BeforeValidator:
    def validator(value: Any) -> Any:
        return values if value is None else value

    return BeforeValidator(validator, json_schema_input_type=model | None)


def _length_at_odds(data: dict[str, Any]) -> list[tuple[Path, PydanticCustomError]]:
    given = [key for key in ("steps", "epochs") if data.get(key) is not None]
    if not given:
        text = "missing: how long is the run? Give steps or epochs"
        return [(("steps",), PydanticCustomError(MISSING.type, text, {"other": "epochs"}))]
    # The one that was set last is meant: the other is to be turned off.
    both = "steps and epochs are both set: turn one off"
    said = conflict(f"{both} (steps=null)", "steps", f"{both} (epochs=null)")
    return [(("epochs",), said)] if len(given) == 2 else []


def _stopping_at_odds(data: dict[str, Any]) -> list[tuple[Path, PydanticCustomError]]:
    stop, evaluate = ({} if data.get(key) is None else data[key] for key in ("stop", "evaluate"))
    if not isinstance(stop, dict) or not isinstance(evaluate, dict):
        return []
    restores = stop.get("restore_best") is True
    if stop.get("metric") is None:
        asking = [("restore_best", "by which figure?")] * restores
        asking += [("goal", "of which figure?")] * (stop.get("goal") is not None)
        return [
            (
                ("stop", key),
                PydanticCustomError(
                    "config", "{said}", {"said": f"{which} Give stop.metric, such as val_loss"}
                ),
            )
            for key, which in asking
        ]
    if stop.get("target") is None and stop.get("patience") is None and not restores:
        said = "nothing observes it: give stop.patience or stop.target"
    elif evaluate.get("every") is None:
        said = "is evaluated at the end alone: give evaluate.every"
    else:
        return []
    return [(("stop", "metric"), PydanticCustomError("config", "{said}", {"said": said}))]


def _of_group(optimizer: Any, name: str) -> str:
    """Return where the schedule of a hyperparameter goes that a parameter group with a rule of its own has alone."""
    groups = optimizer.get(GROUPS) if isinstance(optimizer, dict) else None
    for i, group in enumerate(groups if isinstance(groups, list) else []):
        rule = class_of("optimizer", group.get("name")) if isinstance(group, dict) else None
        if rule is not None and name in floats_of(rule.options()):
            return f"is of {rule.__name__} alone: it goes into schedules of optimizer.{GROUPS}.{i}"
    return ""


def _hyperparameters_at_odds(data: dict[str, Any]) -> list[tuple[Path, PydanticCustomError]]:
    schedules, optimizer = data.get(SCHEDULES), class_of("optimizer", data.get("optimizer"))
    problems: list[tuple[Path, PydanticCustomError]] = []
    if isinstance(schedules, dict) and schedules.get("lr") is not None and data.get("scheduler") is not None:
        both = "scheduler and schedules.lr are both set: turn one off (schedules.lr=null)"
        problems.append(((SCHEDULES, "lr"), PydanticCustomError("config", "{both}", {"both": both})))
    if optimizer is None:
        return problems
    options = options_within(optimizer, data["optimizer"])
    for path, what in unschedulable(optimizer, options, schedules):
        said = _of_group(data["optimizer"], str(path[-1]))
        problems.append((path, PydanticCustomError("config", "{said}", {"said": said}) if said else what))
    recorded = data["record"].get("metrics") if isinstance(data.get("record"), dict) else None
    floats = floats_of(options)
    known = list(dict.fromkeys([*metric_names(), *floats]))
    for i, metric in enumerate(recorded if isinstance(recorded, list) else []):
        if not isinstance(metric, str):
            continue
        if metric in registry.metrics and metric not in known:
            said = f"{metric} takes many gradients, or all data, for one value: name it in evaluate.metrics"
        elif metric not in known:
            said = not_one_of(known, metric)
        elif metric in floats and metric in registry.metrics:
            place = definition_of(registry.metrics.find(metric).measure)
            said = f"{metric!r} is both a metric ({place}) and a float of {optimizer.__name__}: rename the metric"
        else:
            continue
        problems.append((("record", "metrics", i), PydanticCustomError("config", "{said}", {"said": said})))
    return problems


def _engine_at_odds(data: dict[str, Any]) -> list[tuple[Path, PydanticCustomError]]:
    from optrun.kernels import ENGINES, engine_mismatch

    engine, backend = data.get("engine", "auto"), data.get("backend", "numpy")
    said = {
        "said": engine_mismatch(engine, backend) if engine in ENGINES and isinstance(backend, str) else ""
    }
    return [(("engine",), PydanticCustomError("config", "{said}", said))] if said["said"] else []


class RunConfig(Section):
    """Everything that decides what a run computes, complete: what was not given has its default.

    `problem`, `optimizer`, `scheduler` and `average` have a `name` to look up in the registry and `options` to call the
    class with, and so has each of the `schedules`. Exactly one of `steps` and `epochs` is set.
    """

    name: Annotated[str, MinLen(1), "of the run and its directory; by default the file's"]
    problem: Annotated[Component, Named(registry.problems), "what is minimised, by its name or with options"]
    optimizer: Annotated[OptimizerComponent, Named(registry.optimizers), "by its name or with options"]
    scheduler: Annotated[Schedule | None, "of the learning rate; constant without one"] = None
    schedules: Annotated[Schedules, "of other hyperparameters, by their names"] = Field(default={})
    average: Annotated[
        Annotated[Component, Named(registry.averages)] | None,
        "of the parameters, evaluated beside them; none by default",
    ] = None
    steps: Annotated[Count | None, "updates; or give epochs"] = None
    epochs: Annotated[Count | None, "passes over the training data; or give steps"] = None
    seed: Annotated[Seed, "of everything that is drawn"] = 0
    seeds: Annotated[Seeds, _off(Seeds), "of initialisation and of data, where they are not the run's"] = (
        Seeds()
    )
    dtype: Annotated[Literal["float32", "float64"], "of parameters, gradients and state"] = "float32"
    backend: Annotated[Literal["numpy", "cupy"], "CPU or GPU"] = "numpy"
    engine: Annotated[
        str,
        AfterValidator(_known_engine),
        "what executes the optimizer's rule and what is elementwise of the problem",
    ] = "auto"
    record: Annotated[Record, "which curves, and how often"] = Record()
    evaluate: Annotated[Evaluate, _off(Evaluate), "how often all data are evaluated"] = Evaluate()
    checkpoint: Annotated[Checkpointing, _off(Checkpointing, every=None), "how often; null is never"] = (
        Checkpointing()
    )
    stop: Annotated[Stop, _off(Stop, divergence=None), "what ends the run early"] = Stop()
    expect: Annotated[Expectations, "bounds of final figures; exit code 4 where one is missed"] = Field(
        default={}
    )

    @classmethod
    def known_keys(cls) -> list[str]:
        """Return the keys that a file may have; what it `extends`, its `sweep` and its `map` are dealt with before."""
        return [*super().known_keys(), "extends", "sweep", "map"]

    @classmethod
    def at_odds(cls, data: dict[str, Any]) -> list[tuple[Path, PydanticCustomError]]:
        """Return what is wrong with the length, the engine and the end, and with what is scheduled or recorded."""
        return [
            *_length_at_odds(data),
            *_engine_at_odds(data),
            *_stopping_at_odds(data),
            *_hyperparameters_at_odds(data),
        ]

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
