"""The confirmation of a sweep: its best settings, run again on seeds that were not used to select them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from optrun.analysis.leaderboard import SweepPlan
from optrun.analysis.problem_labels import labels_of_settings
from optrun.analysis.selection import cells_of, selections, value_at, varying_part
from optrun.config import ConfigErrors
from optrun.store import RunRecord, RunState, Status
from optrun.sweeps.plan.expand import CONFIRM, MAX_SEED, Plan


def confirmation(plan: Plan, states: Sequence[RunState]) -> Plan | None:
    """Return the plan that confirms a sweep whose runs have ended: its best settings on fresh seeds.

    The configs are those of the settings, but for the seed. None where the sweep confirms nothing, or no setting has
    a result.
    """
    confirm = plan.swept.sweep.confirm
    if confirm is None:
        return None
    by = confirm.by or _usual(plan)
    chosen = [each.index for each in selections(ranking_of(plan), _records(plan, states), by, confirm.top)]
    if not chosen:
        return None
    chosen.sort(key=lambda index: not plan.nodes[index])
    seeds = list(islice(fresh_seeds(plan), confirm.seeds))
    runs = [(index * plan.repeats, seed) for index in chosen for seed in seeds]
    nodes = [plan.nodes[index] for index in chosen]
    return Plan(
        plan.swept.of_settings(nodes, seeds),
        len(seeds),
        nodes,
        [plan.settings[index] for index in chosen],
        [plan.configs[run].model_copy(update={"seed": seed}) for run, seed in runs],
        [{**plan.documents[run], "seed": seed} for run, seed in runs],
    ).distinct()


def foreseen(plan: Plan) -> int:
    """Return how many runs confirm a sweep, as far as its settings are known; 0 where it confirms nothing."""
    confirm = plan.swept.sweep.confirm
    if confirm is None:
        return 0
    waiting = [RunState(status=Status.WAITING)] * len(plan.configs)
    cells = cells_of(ranking_of(plan), _records(plan, waiting), confirm.by or _usual(plan))
    return sum(min(count, confirm.top) for count in Counter(cells).values()) * confirm.seeds


def check_compared(plan: Plan) -> None:
    """Raise ConfigErrors where no setting of a sweep has what its confirmation compares."""
    confirm = plan.swept.sweep.confirm
    by = confirm.by if confirm is not None else None
    if by is None or plan.method.grows:
        return
    if all(value_at(each, by) is None for each in plan.documents[:: plan.repeats]):
        raise ConfigErrors([plan.swept.issue((CONFIRM, "by"), f"no setting has {by}")])


def fresh_seeds(plan: Plan) -> Iterator[int]:
    """Yield the seeds that no run of a plan has, from its lowest one on."""
    used = {config.seed for config in plan.configs}
    first = min(used)
    return (seed for seed in chain(range(first, MAX_SEED), range(first)) if seed not in used)


def ranking_of(plan: Plan) -> SweepPlan:
    """Return by what the settings of a plan are ranked."""
    maximize = plan.metric.goal == "maximize"
    method = plan.swept.sweep.method
    problems = labels_of_settings(plan.told, lambda setting: plan.documents[setting * plan.repeats])
    return SweepPlan(
        plan.told,
        plan.repeats,
        plan.metric.name,
        maximize,
        plan.size,
        method,
        problems=problems,
        crossed=plan.crossed,
    )


def _usual(plan: Plan) -> str:
    """Return the path that is compared if nothing is said; an empty one compares all settings of a problem."""
    return varying_part(plan.documents[:: plan.repeats])


def _records(plan: Plan, states: Sequence[RunState]) -> list[RunRecord]:
    return [
        RunRecord.of(run, document["seed"], document, state)
        for run, (document, state) in enumerate(zip(plan.documents, states, strict=True))
    ]
