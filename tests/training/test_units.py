"""A plugin's option that is annotated as `Steps` is a time wherever one is: nothing guesses it by its name."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import optrun
from optrun.config import RunConfig, from_mapping
from optrun.config.shorten import smoke
from optrun.registry import Epochs, NonNegativeSteps, PositiveInt, Steps, averages, schedulers
from optrun.training import prolong
from optrun.training.config_notes import ineffective_options
from optrun.training.pack import Pack
from tests.registries import restore_after


@pytest.fixture(autouse=True, scope="module")
def plugins() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        restore_after(patch, schedulers, averages)

        class Pulse(optrun.schedulers.LRScheduler):
            @staticmethod
            def value(
                t: Any,
                base: Any,
                /,
                *,
                period: Steps,
                rest: NonNegativeSteps | None = None,
                turns: list[Steps] = [1],  # noqa: B006
                rounds: Epochs = 1,
                harmonics: PositiveInt = 300,
            ) -> Any:
                del turns, rounds
                return base * (
                    0.5 + 0.5 * np.cos(2 * np.pi * harmonics * (t % (period + (rest or 0))) / period)
                )

        class Window(optrun.optim.Average):
            @staticmethod
            def update(a: Any, p: Any, n: Any, /, *, length: Steps = 500, order: PositiveInt = 500) -> None:
                a += (p - a) / length

        yield


PULSE = {"name": "Pulse", "period": 400, "rest": 100, "turns": [100, 200], "rounds": 20, "harmonics": 300}


def config(steps: int = 1000, **more: Any) -> RunConfig:
    data = {"name": "mlp", "data": "iris", "hidden": [2], "batch_size": 12}
    return from_mapping({"name": "units", "problem": data, "optimizer": "SGD", "steps": steps, **more})


def pulse(options: dict[str, Any]) -> list[Any]:
    return [options[name] for name in ("period", "rest", "turns", "rounds", "harmonics")]


def test_a_short_run_has_all_of_it() -> None:
    composite = {"name": "SequentialLR", "schedulers": ["ConstantLR", PULSE], "milestones": [500]}
    short, _ = smoke(config(scheduler=composite, schedules={"momentum": PULSE}, average="window"), 1000)
    assert short.scheduler is not None
    assert short.average is not None
    assert short.scheduler.options["milestones"] == [50]
    inner = short.scheduler.options["schedulers"][1]
    assert pulse(inner.options) == pulse(short.schedules["momentum"].options) == [40, 10, [10, 20], 2, 300]
    assert short.average.options == {"start": 0, "every": 1, "length": 50, "order": 500}


def notes(**more: Any) -> list[str]:
    return [each for each in ineffective_options(Pack([config(40, **more)])) if "beyond" in each]


def test_what_lies_beyond_the_end_is_noted() -> None:
    assert notes(scheduler=PULSE | {"turns": [39, 40]}) == [
        "note: scheduler.period: 400 is beyond the 40 steps that the run has for it",
        "note: scheduler.rest: 100 is beyond the 40 steps that the run has for it",
        "note: scheduler.turns.1: 40 is beyond the 40 steps that the run has for it",
        "note: scheduler.rounds: 20 is beyond the 4 epochs that the run has for it",
    ]
    within = {"rest": 0, "turns": [3], "rounds": 4}
    assert notes(scheduler=PULSE | within | {"period": 4, "interval": "epoch"}) == []
    assert notes(scheduler=PULSE | within | {"period": 5, "interval": "epoch"}) == [
        "note: scheduler.period: 5 is beyond the 4 epochs that the run has for it"
    ]


def test_a_longer_run_is_compared_with_the_one_that_was_made() -> None:
    one, other = (Pack([config(40, scheduler=PULSE | {"period": period})]) for period in (30, 31))
    assert prolong.differing_schedule(one, other, 20) == "Pulse"
    assert prolong.differing_schedule(one, one, 20) is None
    short = config(scheduler=PULSE).to_dict()
    optrun.run(short | {"steps": 21}, directory="short")
    whole = optrun.run(short | {"steps": 34}, directory="whole")
    again = optrun.resume("short", steps=34)
    assert [again.curves[name].tobytes() for name in ("loss", "lr")] == [
        whole.curves[name].tobytes() for name in ("loss", "lr")
    ]
