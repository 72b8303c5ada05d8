"""What is allowed, but hardly meant."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from optrun.config import ConfigErrors
from optrun.errors import ConfigError, printable

if TYPE_CHECKING:
    from optrun.api.sweeps import Sweep
    from optrun.config.sweep.resolve import SweepConfig
    from optrun.sweeps.plan.expand import Plan
    from optrun.sweeps.plan.packs import Group
    from optrun.training.pack import Pack

MOST = 6
"""How many lines of one kind are printed."""

MANY_RUNS = 20_000
"""From how many on it takes a second or more to make them of their sweep."""


def note_pack(pack: "Pack") -> None:
    """Say on stderr what was inferred from the data of a run, and which of its settings have no effect."""
    from optrun.training.remarks import inferred

    _say(inferred(pack))
    note_without_effect(pack)


def note_without_effect(pack: "Pack") -> None:
    """Say on stderr which settings have no effect."""
    from optrun.training.remarks import without_effect

    _say(without_effect(pack))


def note_groups(groups: "Sequence[Group]") -> None:
    """Say on stderr what was inferred from the data of a sweep, and which of its settings have no effect."""
    _say(dict.fromkeys(line for group in groups for line in (*group.inferred, *group.remarks)))


def note_equal_results(sweep: "Sweep") -> None:
    """Say on stderr which settings of a sweep had the same results to the last bit."""
    from optrun.cli.text.setting_table import Labels

    alike = sweep.equal_settings()
    settings = sweep.settings
    labels = Labels(settings)
    texts = [[labels.text(settings[setting]) for setting in each] for each in alike]
    _say(
        f"note: {', '.join(each[: MOST - 1])}{f', … {each[-1]}' if len(each) >= MOST else ''} gave equal results"
        for each in texts
    )


def _say(lines: Iterable[str]) -> None:
    lines = list(lines)
    for line in lines[:MOST]:
        print(printable(line), file=sys.stderr)
    if len(lines) > MOST:
        print(f"note: {len(lines) - MOST:,} more like these", file=sys.stderr)


def note_equal(plan: "Plan") -> None:
    """Say on stderr how many settings of a sweep are left out because others are the same."""
    if plan.equal:
        are = "1 setting is" if plan.equal == 1 else f"{plan.equal:,} settings are"
        print(f"note: {are} equal to earlier ones, and not run again", file=sys.stderr)


def note_ranking(plan: "Plan") -> None:
    """Say on stderr where settings are ranked in an order that is hardly meant."""
    from optrun.config.sweep.model import usual_goal

    metric = plan.metric
    if metric.goal != usual_goal(metric.name) and metric.name.endswith(("loss", "accuracy")):
        first = "highest" if metric.goal == "maximize" else "lowest"
        said = f"the {first} {metric.name} is the best here, as goal: {metric.goal} says"
        print(f"note: {said}; sweep.metric.goal=null takes the usual one", file=sys.stderr)
    problems = list(dict.fromkeys(config.problem.name for config in plan.configs))
    if len(problems) > 1:
        compared = "compared at rungs" if plan.method.prunes else "ranked"
        said = f"settings of several problems ({', '.join(problems)}) are {compared} by one figure, {metric.name}"
        print(f"note: {said}, which means something else in each", file=sys.stderr)


def note_expansion(swept: "SweepConfig") -> None:
    """Say on stderr that the runs of a sweep are made, where that takes seconds."""
    from optrun.sweeps.plan.expand import MAX_RUNS, foreseen

    if MANY_RUNS <= (runs := foreseen(swept)) <= MAX_RUNS:
        print(f"expanding {runs:,} runs", file=sys.stderr)


def note_method(swept: "SweepConfig") -> None:
    """Say on stderr what the method of a sweep has to say of its settings."""
    from optrun.sweeps.methods.method import notes_of

    _say(f"note: {line}" for line in notes_of(swept))


@contextmanager
def plugins_named(run: Path, loaded: Sequence[str]) -> Iterator[None]:
    """Add to an error of the config which plugins a run or a sweep was started with and are not loaded."""
    from optrun.analysis.leaderboard import plugins_of
    from optrun.cli.text.console import quoted, with_plugins
    from optrun.store import Store

    try:
        yield
    except ConfigErrors as error:
        with Store.open(run) as store:
            plugins = plugins_of(store)
        if set(plugins) <= set(loaded):
            raise
        command = f"optrun resume {quoted(run)}{with_plugins(plugins)}"
        raise ConfigError(f"{error}\nit was started with plugins: {command}") from None
