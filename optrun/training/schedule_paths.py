"""The schedules of a config by their paths, those within others among them."""

from collections.abc import Iterator

from optrun.config import RunConfig
from optrun.config.model.components import Component
from optrun.registry import schedulers


def schedules_by_path(config: RunConfig) -> dict[str, Component]:
    """Return the schedules that are bound to a hyperparameter."""
    chosen = {"scheduler": config.scheduler} if config.scheduler else {}
    chosen |= {f"schedules.{name}": schedule for name, schedule in config.schedules.items()}
    for i, group in enumerate(config.optimizer.param_groups):
        chosen |= {f"optimizer.param_groups.{i}.schedules.{name}": of for name, of in group.schedules.items()}
    return chosen


def observed_figures(config: RunConfig) -> Iterator[tuple[str, Component, str]]:
    """Yield the path of each schedule that observes a figure of the evaluations, the schedule, and the figure."""
    for path, schedule in schedules_by_path(config).items():
        yield from _observed(path, schedule)


def _observed(path: str, schedule: Component) -> Iterator[tuple[str, Component, str]]:
    if (name := schedulers.find(schedule.name).observed_figure(schedule.options)) is not None:
        yield path, schedule, name
    for name, value in schedule.options.items():
        for i, each in enumerate(value if isinstance(value, list) else ()):
            if isinstance(each, Component):
                yield from _observed(f"{path}.{name}.{i}", each)
