"""Notes on stderr: inferred values, and valid configs that are probably mistakes."""

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
"""The most lines of one kind to print."""

FOLD = "problem.fold"

MANY_RUNS = 20_000
"""The number of runs from which expanding a sweep takes a second or more."""


def note_pack(pack: "Pack") -> None:
    """Print what was inferred from the data of a run, and which options have no effect."""
    from optrun.training.config_notes import inferred

    print_lines(inferred(pack))
    note_without_effect(pack)


def note_without_effect(pack: "Pack") -> None:
    """Print which options have no effect."""
    from optrun.training.config_notes import ineffective_options

    print_lines(ineffective_options(pack))


def note_groups(groups: "Sequence[Group]") -> None:
    """Print what was inferred from the data of a sweep, and which options have no effect."""
    print_lines(dict.fromkeys(line for group in groups for line in (*group.inferred, *group.remarks)))


def note_equal_results(sweep: "Sweep") -> None:
    """Print which settings of a sweep had bit-identical results."""
    from optrun.cli.text.setting_table import Labels

    if not (alike := sweep.equal_settings()):
        return
    settings = sweep.settings
    labels = Labels(settings)
    texts = [[labels.text(settings[setting]) for setting in each] for each in alike]
    print_lines(
        f"note: {', '.join(each[: MOST - 1])}{f', … {each[-1]}' if len(each) >= MOST else ''} gave equal results"
        for each in texts
    )


def print_lines(lines: Iterable[str]) -> None:
    lines = list(lines)
    for line in lines[:MOST]:
        print(printable(line), file=sys.stderr)
    if len(lines) > MOST:
        print(f"note: {len(lines) - MOST:,} more like these", file=sys.stderr)


def note_equal(plan: "Plan") -> None:
    """Print how many settings of a sweep are duplicates and not run."""
    if plan.equal:
        are = "1 setting is" if plan.equal == 1 else f"{plan.equal:,} settings are"
        print(f"note: {are} equal to earlier ones and not repeated", file=sys.stderr)


def note_ranking(plan: "Plan") -> None:
    """Warn if the ranking is probably a mistake: an unusual goal, seeds as settings, several problems compared."""
    from optrun.config.goal import has_usual_goal, usual_goal
    from optrun.config.seed_paths import REPEAT_SEEDS, is_of_seeds

    swept = {
        path: len({repr(each.get(path)) for each in plan.settings})
        for path in filter(is_of_seeds, plan.settings[0])
    }
    if several := [path for path, count in swept.items() if count > 1]:
        ranked = f"{' and '.join(several)} is swept, and its values are ranked like settings"
        print(f"note: {ranked}: {REPEAT_SEEDS}", file=sys.stderr)

    if FOLD in plan.settings[0] and len({str(each.get(FOLD)) for each in plan.settings}) > 1:
        folds = plan.configs[0].problem.options["folds"]
        over_all = f"{FOLD}=seed seed={','.join(map(str, range(folds)))} ranks them over all folds"
        print(
            f"note: {FOLD} is swept, and the settings of each fold are ranked alone: {over_all}",
            file=sys.stderr,
        )

    metric = plan.metric
    if metric.goal != usual_goal(metric.name) and has_usual_goal(metric.name):
        first = "highest" if metric.goal == "maximize" else "lowest"
        said = f"goal: {metric.goal} ranks the {first} {metric.name} first"
        print(f"note: {said}; sweep.metric.goal=null chooses the usual goal", file=sys.stderr)
    method = plan.swept.sweep.method
    if plan.method.grows and plan.has_several_problems:
        said = f"{method} compares the settings of several problems by one metric, {metric.name}"
        rather = "sweep each problem alone, or choose another method"
        print(f"note: {said}, whose scale may differ between problems: {rather}", file=sys.stderr)
    if plan.method.prunes and 1 < len(plan.settings) == len(set(plan.problems)):
        said = f"{method} compares the settings of each problem, and each setting has a problem of its own"
        print(f"note: {said}: none ends early", file=sys.stderr)


def note_design(plan: "Plan") -> None:
    """Print what a comparison of the sweep's results would lack: equal numbers of trials, or seeds for a test."""
    from optrun.analysis.draws import uneven_cells
    from optrun.analysis.statistics import LEAST_SEEDS

    lines = [uneven_cells(plan)]
    if (confirm := plan.swept.sweep.confirm) is not None and confirm.seeds < LEAST_SEEDS:
        lines.append(
            f"{confirm.seeds} fresh seeds confirm, which are too few for a test: {LEAST_SEEDS} are the fewest that "
            "can show a difference; sweep.confirm.seeds is how many"
        )
    print_lines(f"note: {line}" for line in lines if line)


def note_selection(plan: "Plan") -> None:
    """Print that settings are selected on the test data, if they are."""
    from optrun.config.goal import TEST, of_data
    from optrun.training.config_notes import selected_on_test

    if plan.size > plan.repeats and TEST in of_data(plan.metric.name):
        found = {selected_on_test(plan.metric.name, config) for config in plan.configs[:: plan.repeats]}
        print_lines(sorted(found - {""})[:1])


def note_expansion(swept: "SweepConfig") -> None:
    """Print that a sweep is being expanded, if that takes seconds."""
    from optrun.sweeps.plan.expand import MAX_RUNS, foreseen

    if MANY_RUNS <= (runs := foreseen(swept)) <= MAX_RUNS:
        print(f"expanding {runs:,} runs", file=sys.stderr)


def note_method(swept: "SweepConfig") -> None:
    """Print what of the config has no effect on a sweep, and the notes of its method about its options."""
    from optrun.sweeps.methods.method import notes_of

    print_lines(f"note: {line}" for line in (*swept.notes, *notes_of(swept)))


@contextmanager
def plugins_named(run: Path, loaded: Sequence[str]) -> Iterator[None]:
    """Add the plugins with which a run or a sweep was started to a ConfigErrors, if they are not loaded."""
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
