"""Notes about a config before it runs: what was inferred from data, and which options have no effect."""

from collections.abc import Collection, Iterable, Iterator

import numpy as np

from optrun.config import RunConfig
from optrun.config.goal import TEST, VALIDATION, has_usual_goal, of_data, on_data, usual_goal
from optrun.config.model.options import options_within
from optrun.errors import counted
from optrun.fallbacks import Fallback
from optrun.problems import Problem
from optrun.registry import RUN_SEED, TRANSFORMS, optimizers, problems
from optrun.store import Event
from optrun.store.event_names import INFERRED
from optrun.training.composition_notes import idle_decay, idle_parts, idle_rule
from optrun.training.pack import Pack
from optrun.training.run_seed import follows_seed
from optrun.training.schedule_notes import idle_schedule_options, idle_schedules, late_times, single_steps
from optrun.training.schedule_paths import observed_figures


def inferred(pack: Pack) -> list[str]:
    """Return what was inferred from the data and what in them may be a mistake, one line each."""
    first = [pack.problem.inferred] if pack.problem.inferred else []
    return first + [f"note: {each}" for each in pack.problem.notes]


def inferred_lines(events: Iterable[Event]) -> list[str]:
    """Return the distinct lines about inferred properties that the events of a store have recorded."""
    lines = [each.details.get("lines") for each in events if each.kind == INFERRED]
    return list(dict.fromkeys(str(line) for each in lines if isinstance(each, list) for line in each))


def ineffective_options(pack: Pack, varied: Collection[str] = ()) -> list[str]:
    """Return notes about options of the first lane without effect; ``varied`` are the paths that a sweep varies."""
    config = pack.configs[0]
    return [
        f"note: {each}"
        for each in (
            *_unread_options(pack, config, varied),
            *idle_schedules(pack, config, varied),
            *late_times(pack, config),
            *_rare_times(pack, config),
            *_idle_growth(pack, config, varied),
            *single_steps(pack, config),
            *_idle_seeds(pack, config, varied),
            *_reversed_modes(config),
            *idle_parts(pack, config, varied),
            *idle_decay(pack, config, varied),
            *idle_rule(pack, config, varied),
            *idle_schedule_options(pack, config, varied),
            *_restored_by_test(config),
        )
    ]


def selected_on_test(metric: str, config: RunConfig) -> str:
    """Return a note if settings are selected by a figure of test samples, given a run; empty if there is none."""
    better = _on_validation(metric, config)
    return f"note: settings are selected by {metric}, on the test data: give {better}" if better else ""


def _on_validation(metric: str, config: RunConfig) -> str:
    """Return what to give for a figure of validation samples; empty if this one is of no test samples."""
    options = problems.find(config.problem.name).options()
    if TEST not in of_data(metric) or "validation_fraction" not in options:
        return ""
    better = (
        f"metric {'_at_best_'.join(on_data(part, TEST, VALIDATION) for part in metric.split('_at_best_'))}"
    )
    chosen = config.problem.options
    is_drawn = not chosen.get("validation_fraction") and chosen.get("split") is None
    return f"problem.validation_fraction and {better}" if is_drawn else better


def seed_is_idle(pack: Pack, config: RunConfig) -> str:
    """Return why the seed of a run has no effect; empty if it has one."""
    problem = pack.problem
    if pack.optimizer.draws:
        return ""
    drawn = [purpose for purpose, (draws, _) in _DRAWS.items() if draws(problem)]
    follows = any(getattr(config.seeds, purpose) == RUN_SEED for purpose in drawn)
    if follows or follows_seed(config.problem.model_dump()):
        return ""
    if not drawn:
        return f"{config.problem.name} draws nothing, so that seeds have no effect"
    given = " and ".join(f"seeds.{purpose}" for purpose in drawn)
    return f"{given} {'are' if len(drawn) > 1 else 'is'} set, so that the seed of the run has no effect"


def draws_start(problem: Problem) -> bool:
    """Return whether the initial parameters depend on a seed."""
    one, other = (problem.initial(seed) for seed in (0, 1))
    return any(not np.array_equal(one[name], other[name]) for name in one)


def draws_batches(problem: Problem) -> bool:
    """Return whether the first batch depends on a seed."""
    first, second = (problem.batches([seed])[0] for seed in (0, 1))
    if first is None and second is None:
        return False
    to_host = problem.arrays.to_host
    with Fallback("batches of a plugin's own kind are taken to differ between seeds", TypeError, ValueError):
        return not np.array_equal(to_host(first), to_host(second))
    return True


_DRAWS = {
    "init": (draws_start, "starts from a fixed point"),
    "data": (draws_batches, "draws no batches and no noise"),
}
"""By purpose of a seed: whether a problem draws it, and what is true of one that does not."""


def _idle_seeds(pack: Pack, config: RunConfig, varied: Collection[str]) -> Iterator[str]:
    """Yield seeds of what the problem does not draw."""
    for purpose, (draws, instead) in _DRAWS.items():
        path = f"seeds.{purpose}"
        is_set = path in varied or getattr(config.seeds, purpose) != RUN_SEED
        if is_set and not draws(pack.problem):
            yield f"{path} has no effect: {config.problem.name} {instead}"


def _unread_options(pack: Pack, config: RunConfig, varied: Collection[str]) -> Iterator[str]:
    """Yield hyperparameters that the optimizer does not read given the others, such as dampening without momentum."""
    name, chosen = config.optimizer.name, config.optimizer.options
    known = options_within(optimizers.find(name), chosen)
    floats = {each: option for each, option in known.items() if option.is_float}
    values = chosen | {
        f"{kind}.{i}.{key}": value
        for kind in TRANSFORMS
        for i, transform in enumerate(chosen.get(kind) or ())
        for key, value in transform.options.items()
    }
    paths = {path for path in varied if path.partition(".")[0] == "optimizer"}
    open = {path.partition(".")[2] for path in paths}
    if not open <= floats.keys():  # a varied option that is no float may change what is read
        return
    for each, option in floats.items():
        is_set = each in open or (each in values and values[each] != option.default)
        if is_set and not pack.optimizer.is_read(each, open):
            yield f"optimizer.{each} has no effect: with the other options {name} does not read it"


def _rare_times(pack: Pack, config: RunConfig) -> Iterator[str]:
    """Yield numbers of steps that the run is too short for."""
    steps, last = pack.steps, pack.steps - 1
    for path, every, most in (
        ("stop.patience", config.stop.patience, last),
        ("record.every", config.record.every, max(last, 1)),
        ("record.params.every", getattr(config.record.params, "every", None), max(last, 1)),
        ("evaluate.every", config.evaluate.every, steps),
        ("checkpoint.every", config.checkpoint.every, steps),
    ):
        if isinstance(every, int) and every > most:
            yield f"{path}: {every:,} is never reached in the run's {counted(steps, 'step')}"
    kept = config.record.params
    for i, step in enumerate(kept if isinstance(kept, list) else ()):
        if step > steps:
            yield f"record.params.{i}: {step:,} is never reached in the run's {counted(steps, 'step')}"


def _idle_growth(pack: Pack, config: RunConfig, varied: Collection[str]) -> Iterator[str]:
    """Yield that batches are to grow and do not, or not within the run."""
    milestones = config.problem.options.get("batch_milestones") or []
    gamma, known = config.problem.options.get("batch_gamma"), problems.find(config.problem.name).options()
    path, steps_in = "problem.batch_milestones", pack.problem.steps_in
    if gamma is not None and not milestones and gamma != known["batch_gamma"].default:
        yield f"problem.batch_gamma has no effect without {path}"
    if gamma == 1:
        if milestones and "problem.batch_gamma" not in varied:
            yield f"{path} has no effect: problem.batch_gamma is 1"
        return
    for i, epoch in enumerate(milestones):
        before, after = (steps_in(epoch + each) - steps_in(epoch + each - 1) for each in (0, 1))
        if steps_in(epoch) >= pack.steps:
            yield f"{path}.{i}: epoch {epoch:,} is never reached in the run's {counted(pack.steps, 'step')}"
        elif before == after:
            yield f"{path}.{i} has no effect: a batch has all training samples already"


def _reversed_modes(config: RunConfig) -> Iterator[str]:
    """Yield where the worse end of a figure is taken for the better one: the lowest accuracy, the highest loss."""
    observed = [
        (f"{path}.mode", schedule.options.get("mode", "min"), ("min", "max"), name)
        for path, schedule, name in observed_figures(config)
    ]
    if config.stop.metric is not None and config.stop.goal is not None:
        observed.append(("stop.goal", config.stop.goal, ("minimize", "maximize"), config.stop.metric))
    for path, given, ends, name in observed:
        usual = ends[usual_goal(name) == "maximize"]
        if has_usual_goal(name) and given != usual:
            end = "lowest" if given == ends[0] else "highest"
            key = path.rpartition(".")[2]
            yield f"{path}: {given} takes the {end} {name} for the best: give {key}: {usual}"


def _restored_by_test(config: RunConfig) -> Iterator[str]:
    """Yield that the parameters of a run are chosen on the data that report it, if they are."""
    name = config.stop.metric
    if config.stop.restore_best and name is not None and (better := _on_validation(name, config)):
        yield f"stop.restore_best chooses by {name}, on the test data: give {better}"
