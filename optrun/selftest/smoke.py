"""Smoke test of all registered classes: every optimizer with every scheduler, on small problems, for a few steps."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import Any

import numpy as np

from optrun.arrays import Array, one_blas_thread
from optrun.config import RunConfig, from_mapping
from optrun.errors import ConfigError, OptrunError
from optrun.plugin_code import guarded
from optrun.registry import optimizers, problems, schedulers
from optrun.selftest import examples
from optrun.store import Status
from optrun.training.memory_store import MemoryStore
from optrun.training.pack import Pack
from optrun.training.stacking import built
from optrun.training.trainer import Trainer

STEPS = 12
PROBLEMS = ("beale", "quadratic", "mlp", "softmax_regression")
NO_SCHEDULER = "none"

_LANES = (1.0, 0.5, 0.1)
"""The learning rates of the lanes, as multiples of the optimizer's default."""


class Verdict(StrEnum):
    """The result of a combination."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"
    """The combination is an invalid config."""


@dataclass(frozen=True)
class Combination:
    """An optimizer, a scheduler (or `none`) and a problem."""

    optimizer: str
    scheduler: str
    problem: str

    def __str__(self) -> str:
        return f"{self.optimizer} × {self.scheduler} × {self.problem}"


@dataclass(frozen=True)
class Outcome:
    """The verdict on a combination, and the reason."""

    combination: Combination
    verdict: Verdict
    reason: str
    seconds: float


def combinations(
    optimizer_names: Sequence[str], scheduler_names: Sequence[str], problem_names: Sequence[str]
) -> list[Combination]:
    """Return every combination of these names; an empty list means all. UnknownNameError for an unknown name."""
    all_schedulers = [NO_SCHEDULER, *schedulers]
    chosen = [
        [optimizers.spelled(name) for name in optimizer_names] or list(optimizers),
        [name if name == NO_SCHEDULER else schedulers.spelled(name) for name in scheduler_names]
        or all_schedulers,
        [problems.spelled(name) for name in problem_names] or PROBLEMS,
    ]
    return [Combination(*names) for names in product(*map(dict.fromkeys, chosen))]


def outcomes(
    chosen: Iterable[Combination], steps: int = STEPS, *, interrupted: Callable[[], bool] = lambda: False
) -> Iterator[Outcome]:
    """Run the combinations lazily and yield their outcomes, until an interruption."""
    with one_blas_thread:  # entered once: finding the BLAS libraries takes as long as ten steps
        for combination in chosen:
            began = time.monotonic()
            with np.errstate(all="ignore"):
                verdict, reason = _tried(combination, steps, interrupted)
            if interrupted():
                return
            yield Outcome(combination, verdict, reason, time.monotonic() - began)


def _tried(combination: Combination, steps: int, interrupted: Callable[[], bool]) -> tuple[Verdict, str]:
    try:
        try:
            configs, pack = _pack(combination, steps)
        except ConfigError as error:
            return Verdict.NOT_APPLICABLE, str(error).removeprefix("<config>: ")
        return _checked(configs, pack, interrupted)
    except OptrunError as error:
        return Verdict.FAILED, str(error)
    except Exception as error:  # any exception of a plugin is a failure of the combination
        return Verdict.FAILED, f"{type(error).__name__}: {error}"


def _pack(combination: Combination, steps: int) -> tuple[list[RunConfig], Pack]:
    """Return a pack of several lanes; a scheduler option that is on by default and refused here is turned off."""
    mapping = _mapping(combination, steps)
    configs = _lanes(mapping)
    try:
        return configs, Pack(configs)
    except ConfigError as error:
        section, _, option = error.field.partition(".")
        options = configs[0].scheduler.options if configs[0].scheduler and section == "scheduler" else {}
        if options.get(option) is not True:
            raise
        mapping["scheduler"] |= {option: False}
    configs = _lanes(mapping)
    return configs, Pack(configs)


def _checked(
    configs: Sequence[RunConfig], pack: Pack, interrupted: Callable[[], bool]
) -> tuple[Verdict, str]:
    together = _run(configs, pack, interrupted)
    for lane, config in enumerate(configs):
        reason = _wrong(config, together, lane)
        if reason:
            return Verdict.FAILED, f"{reason} (lane {lane}, lr {config.optimizer.options['lr']:g})"
    if len(configs) == 1:
        return Verdict.PASSED, ""
    alone = _run(configs[-1:], Pack(configs[-1:]), interrupted)
    last = len(configs) - 1
    for ours, others in (
        (together.curves(last), alone.curves()),
        (together.params(last), alone.params()),
    ):
        for name, values in ours.items():
            if values.tobytes() != others[name].tobytes():
                return (
                    Verdict.FAILED,
                    f"{name} of lane {last} differs between the pack and a run of the lane alone",
                )
    return Verdict.PASSED, ""


def _wrong(config: RunConfig, results: MemoryStore, lane: int) -> str:
    """Return why a lane fails: not completed, not finite, or learning rates other than the schedule's; else empty."""
    record, curves = results.run(lane), results.curves(lane)
    if record.status is not Status.COMPLETED:
        return f"{record.status}: {record.reason}"
    for name, values in results.params(lane).items():
        if not np.isfinite(values).all():
            return f"{name} is not finite after the last step"
    with guarded(config.scheduler.name if config.scheduler else "lr"):
        expected = _rates(config, curves)
    (apart,) = np.nonzero(curves["lr"] != expected)
    if apart.size:
        step = apart[0]
        return f"lr at step {step} is {curves['lr'][step]:g} where the schedule says {expected[step]:g}"
    return ""


def _rates(config: RunConfig, curves: Mapping[str, Array]) -> Array:
    """Return the learning rates `[T]` of a lane's schedule, which may depend on the lane's losses."""
    lr, steps = config.optimizer.options["lr"], curves["step"]
    if config.scheduler is None:
        return np.full(len(steps), lr)
    schedule = built(config.scheduler)
    if not schedule.needs_metrics:
        known: Array = schedule.at(steps, lr)[:, 0]
        return known
    rates = np.empty(len(steps))
    for t, loss in enumerate(curves["loss"]):
        rates[t] = schedule.at([t], lr)[0, 0]
        schedule.observe_metric(t, np.array([loss]))
    return rates


def _run(configs: Sequence[RunConfig], pack: Pack, interrupted: Callable[[], bool]) -> MemoryStore:
    memory = MemoryStore(configs)
    Trainer(pack, memory, interrupted=interrupted).run()
    return memory


def _mapping(combination: Combination, steps: int) -> dict[str, Any]:
    optimizer = examples.optimizer(combination.optimizer)
    lr = optimizer.get("lr", optimizers.find(combination.optimizer).options()["lr"].default)
    scheduler = None
    if combination.scheduler != NO_SCHEDULER:
        scheduler = examples.scheduler(combination.scheduler, steps, lr)
    return {
        "name": "smoke",
        "problem": examples.problem(combination.problem),
        "optimizer": optimizer,
        "scheduler": scheduler,
        "steps": steps,
        "stop": {"divergence": None},  # a loss only has to be finite
        "checkpoint": None,
    }


def _lanes(mapping: dict[str, Any]) -> list[RunConfig]:
    """Return configs of several learning rates and seeds; only one if the optimizer is not batched."""
    config = from_mapping(mapping)
    part = config.optimizer
    lanes = len(_LANES) if optimizers.find(part.name).batched else 1
    return [
        config.model_copy(
            update={
                "seed": seed,
                "optimizer": part.model_copy(
                    update={"options": {**part.options, "lr": part.options["lr"] * rate}}
                ),
            }
        )
        for seed, rate in enumerate(_LANES[:lanes])
    ]
