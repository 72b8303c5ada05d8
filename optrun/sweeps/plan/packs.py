"""Which runs become lanes of one pack, and how many of them."""

import json
import math
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapreplace
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from optrun.config import ConfigErrors, RunConfig
from optrun.config.sweep.variants import ConfigKind
from optrun.config.yaml.errors import Issue, in_order
from optrun.errors import ConfigError, MissingExtraError, counted
from optrun.fallbacks import log
from optrun.kernels.threads import cores
from optrun.plugin_code import guarded
from optrun.problems import Problem
from optrun.problems.data_problem import DataProblem
from optrun.registry import TRANSFORMS, Option, Registry, averages, optimizers, schedulers
from optrun.sweeps.plan.expand import Plan
from optrun.sweeps.plan.width import width_of
from optrun.training.baselines import Baselines, baselines_of
from optrun.training.config_notes import ineffective_options, inferred, seed_is_idle
from optrun.training.figures import FINAL_LOSS, asks_for_figures, check_expected, figures_of, missing_figure
from optrun.training.grid import usual_numbers
from optrun.training.identity import Identity, data_key
from optrun.training.memory import GIB, MOST_KEPT_BYTES
from optrun.training.pack import Pack
from optrun.training.prepared import Prepared, prepared
from optrun.training.run_seed import follows_seed
from optrun.training.stacking import with_added_floats

MOST_FINE = 4
"""At most how many times as many packs as jobs there are, where the lanes do not ask for more."""

NEARLY_EVEN = 1.1
"""How much more than its share the busiest job may have to do before packs are made smaller."""

LITTLE_WORK = 100_000_000
"""Steps times parameters that take about as long as the start of a process."""

MOST_REFUSED = 20
"""After so many mistakes no more groups are looked at."""

MOST_LOOKED_AT = 20
"""In how many groups settings without effect are looked for."""

_STACKED: dict[str, Registry[Any]] = {
    "optimizer": optimizers,
    "scheduler": schedulers,
    "schedules": schedulers,
    "average": averages,
}
"""The sections whose floats are stacked, and where what they name is found."""

_NESTED: dict[str, Registry[Any]] = {"schedules": schedulers, **TRANSFORMS}
"""Where else what is named is found, by the keys that it stands under."""


@dataclass(frozen=True)
class Group:
    """Runs that may be lanes of one pack."""

    runs: Sequence[int]
    width: int
    """The most lanes that a pack of them should have."""
    repeats: int
    """Runs that follow each other with seeds of their own; those of the next setting have the same ones."""
    work: int
    """Steps times parameters, of all runs."""
    is_on_device: bool = False
    identity: Identity = field(default_factory=Identity)
    """The data and the code of which its packs are to be built."""
    inferred: Sequence[str] = ()
    """What was inferred from data, a line each."""
    remarks: Sequence[str] = ()
    """Which settings have no effect, a line each."""
    figures: Sequence[str] = ()
    """The figures that its runs end with, as far as somebody asks for them."""
    prepared: Sequence[Prepared] = ()
    """How their samples are prepared, if they have any."""
    baselines: Mapping[str, Baselines] = field(default_factory=dict)
    """The figures of what predicts without training, by the data; of one of the groups that share a problem."""

    @property
    def data(self) -> str:
        """The fingerprint of the problem's data; nothing where there are none, or it could not be built."""
        return self.identity.fingerprint or ""

    def block(self, runs: int, width: int, jobs: int) -> int:
        """Return how many of so many runs stay in one pack: a setting's where there are many settings.

        So the lanes of a seed share its minibatches.
        """
        return self.repeats if self.repeats <= width and runs >= 4 * jobs * self.repeats else 1


def grouped(plan: Plan, runs: Sequence[int] | None = None) -> list[Group]:
    """Return the groups of runs, all or those that are given, that differ in floats and seeds alone.

    Raises ConfigErrors, of all groups, where the first run of one cannot be configured, or does not measure what the
    sweep is ranked by or expects, and MissingExtraError. Where it cannot be built for another reason, its runs are left
    to fail, each for itself.
    """
    documents = plan.documents
    groups = _by_key(plan, range(len(documents)) if runs is None else runs)
    alike: defaultdict[str, list[Sequence[int]]] = defaultdict(list)
    for own in groups.values():
        alike[_problem_key(documents[own[0]])].append(own)
    found: dict[int, Group] = {}
    varied = _varied(plan)
    wrong: dict[Issue, None] = {}
    for of_problem in alike.values():
        problem = None  # one at a time, so that no more than one data set is in memory
        for each in of_problem:
            looked_at = varied if len(found) < MOST_LOOKED_AT else ()
            try:
                found[each[0]], problem = _group(plan, each, problem, looked_at)
            except ConfigErrors as error:
                wrong |= dict.fromkeys(error.issues)
                if len(wrong) >= MOST_REFUSED:
                    break
    if wrong:
        raise ConfigErrors(in_order(list(wrong), plan.swept.base.root.place.source))
    return [found[own[0]] for own in groups.values()]


def _by_key(plan: Plan, runs: Sequence[int]) -> dict[str, Sequence[int]]:
    """Return the runs of each `pack_key`, in their order: that of its first run."""
    if plan.columns is None:
        parts: Iterable[tuple[str | None, Sequence[int]]] = [(None, runs)]
    else:
        # One for all of a kind and a seed, if it depends on none of their floats.
        parts = [(_key_of_kind(*alike), own) for alike, own in plan.columns[1].of_kinds_and_seeds(runs)]
    by_key: defaultdict[str, array[int]] = defaultdict(lambda: array("q"))
    for key, own in parts:
        if key is not None:
            by_key[key].extend(own)
            continue
        for run in own:
            by_key[pack_key(plan.documents[run])].append(run)
    groups = {key: as_range(array("q", sorted(own))) for key, own in by_key.items()}
    return dict(sorted(groups.items(), key=lambda each: each[1][0]))


def _key_of_kind(kind: ConfigKind, seed: int) -> str | None:
    values = kind.values or ()
    key = pack_key(kind.document_of(values, seed))
    others = [math.nextafter(value, math.inf) for value in values]
    return key if key == pack_key(kind.document_of(others, seed)) else None


def as_range(numbers: Sequence[int]) -> Sequence[int]:
    """Return increasing numbers as a range where none is left out, which takes no memory."""
    if not numbers:
        return range(0)
    whole = range(numbers[0], numbers[-1] + 1)
    return whole if len(whole) == len(numbers) else numbers


def _group(
    plan: Plan, runs: Sequence[int], problem: Problem | None, varied: Collection[str]
) -> tuple[Group, Problem | None]:
    config = plan.configs[runs[0]]
    try:
        with guarded(config.problem.name):
            pack = Pack([config], problem=problem)
            is_asked = plan.metric.name != FINAL_LOSS or asks_for_figures(config)
            is_asked = is_asked or plan.swept.expected is not None
            figures = figures_of(pack) if is_asked else [FINAL_LOSS]
            check_expected(config, figures)
            width, identity = width_of(pack), Identity.of(config, pack.problem.fingerprint)
            documents = _of_problems(plan, runs, pack.problem)
            identity |= Identity.of_data(documents, pack.problem.fingerprint)
    except (ConfigErrors, MissingExtraError):
        raise
    except ConfigError as error:
        if error.field.partition(".")[0] not in RunConfig.model_fields:
            raise
        raise plan.swept.resolved(plan.nodes[runs[0] // plan.repeats]).located(error) from error
    except Exception:
        log.debug("run %d cannot be built", runs[0], exc_info=True)
        known = Identity.of(config, None)
        return Group(runs, 1, plan.repeats, len(runs) * (config.steps or 1), identity=known), problem
    metric = plan.metric.name
    if missing := missing_figure(config, metric, figures):
        raise ConfigErrors([plan.swept.issue(("metric", "name"), missing)])
    work = len(runs) * pack.steps * pack.params.size
    on_device = pack.arrays.is_on_device
    repeats = 1 if follows_seed(plan.documents[runs[0]]["problem"]) else plan.repeats
    lines = inferred(pack)
    if (size := len(runs) * pack.snapshot_bytes) > MOST_KEPT_BYTES:
        lines.append(
            f"note: record.params keeps {size / GIB:,.1f} GiB of parameters, of {counted(len(runs), 'run')}"
        )
    kept = [each for document in documents for each in prepared(document, pack.problem)]
    group = Group(runs, width, repeats, work, on_device, identity, lines, figures=figures, prepared=kept)
    # Where each seed has a split of its own, there are no figures of all runs.
    if problem is None and not follows_seed(plan.documents[runs[0]]["problem"]):
        group = replace(group, baselines=baselines_of(pack, documents))
    return replace(group, remarks=remarks_on(pack, varied)) if varied else group, pack.problem


def _of_problems(plan: Plan, runs: Sequence[int], problem: Problem) -> list[dict[str, Any]]:
    """Return the first config of each problem of a group, which differ in numbers alone; none without data."""
    if not problem.fingerprint and not isinstance(problem, DataProblem):
        return []
    documents = {id(document["problem"]): document for document in (plan.documents[run] for run in runs)}
    return list({data_key(document): document for document in documents.values()}.values())


def _varied(plan: Plan) -> set[str]:
    """Return the paths of a config in which the runs differ."""
    return {*plan.paths, "seed"} if plan.repeats > 1 else {*plan.paths}


def remarks_on(pack: Pack, varied: Collection[str]) -> list[str]:
    """Return which settings of a pack have no effect; nothing where a plugin's code raises."""
    try:
        found = ineffective_options(pack, varied)
        config = pack.configs[0]
        if "seed" in varied and (why := seed_is_idle(pack, config)):
            found.append(f"note: {why}")
    except Exception:
        log.debug("the settings could not be looked at", exc_info=True)
        return []
    return found


def divided(
    groups: Sequence[Group], runs: Collection[int], jobs: int, limit: int | None = None
) -> list[Sequence[int]]:
    """Return the packs of those runs that are wanted: as even as can be, and enough of them for all jobs.

    ``limit`` is the most lanes that a pack may have. For several jobs those with the most work come first, so that
    none of them is left for the end.
    """
    wanted = runs if isinstance(runs, (set, range)) else set(runs)
    chosen = [(group, as_range([run for run in group.runs if run in wanted])) for group in groups]
    parts = [_Part(group, own, min(group.width, limit or group.width), jobs) for group, own in chosen if own]
    total = sum(part.work for part in parts)
    if jobs == 1 or not total:
        return [pack for part in parts for pack in part.packs(1)]
    best: list[tuple[float, Sequence[int]]] = []
    least = math.inf
    for fineness in range(1, MOST_FINE + 1):
        found = [
            (part.work * len(pack) / len(part.runs), pack)
            for part in parts
            for pack in part.packs(math.ceil(fineness * jobs * part.work / total))
        ]
        found.sort(key=lambda each: -each[0])
        if (longest := _longest([work for work, _ in found], jobs)) < least:
            least, best = longest, found
        if least <= NEARLY_EVEN * total / jobs:
            break
    return [pack for _, pack in best]


@dataclass(frozen=True)
class _Part:
    """The wanted runs of a group."""

    group: Group
    runs: Sequence[int]
    width: int
    jobs: int

    @property
    def work(self) -> float:
        return self.group.work * len(self.runs) / len(self.group.runs)

    def packs(self, times: int) -> list[Sequence[int]]:
        """Return even packs, as many as a multiple of ``times``, or as there are runs."""
        block = self.group.block(len(self.runs), self.width, self.jobs)
        blocks = math.ceil(len(self.runs) / block)
        count = math.ceil(blocks / (self.width // block))
        count = min(times * math.ceil(count / times), blocks)
        bounds = [round(i * blocks / count) * block for i in range(count + 1)]
        return [self.runs[begin:end] for begin, end in pairwise(bounds)]


def _longest(work: Sequence[float], jobs: int) -> float:
    """Return how much the busiest of the jobs does where each takes the next pack as soon as it is free."""
    done = [0.0] * min(jobs, len(work))
    for each in work:
        heapreplace(done, done[0] + each)
    return max(done)


def jobs_for(groups: Sequence[Group]) -> int:
    """Return how many processes are worth their start: one for every core, or this one alone.

    It is this one where there is little to do, and on a device, which all processes would share.
    """
    is_little = sum(group.work for group in groups) < LITTLE_WORK
    return 1 if is_little or any(group.is_on_device for group in groups) else cores()


def pack_key(document: dict[str, Any]) -> str:
    """Return what the lanes of a pack have in common: the whole config but seeds, and floats that are stacked.

    Lanes also have the seed in common where their problem follows it.
    """
    problem = document["problem"]
    varied = ("seeds", *_STACKED, *(() if follows_seed(problem) else ("seed",)))
    shared = {name: value for name, value in document.items() if name not in varied}
    shared["problem"] = _without_numbers(problem)
    return json.dumps([shared, *(_shared(document.get(name), known) for name, known in _STACKED.items())])


def _without_numbers(problem: dict[str, Any]) -> dict[str, Any]:
    """Return a problem in which the floats in which lanes may differ look all the same."""
    usual = usual_numbers(problem["name"], problem)
    return {key: _alike(value) if key in usual else value for key, value in {**usual, **problem}.items()}


def _alike(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _alike(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_alike(each) for each in value]
    return "·" if isinstance(value, float) else value


def _problem_key(document: dict[str, Any]) -> str:
    """Return what runs have in common that one problem can serve."""
    key = data_key(document)
    return f"{key} {document['seed']}" if follows_seed(document["problem"]) else key


def _shared(value: Any, known: Registry[Any], options: Mapping[str, Option] = MappingProxyType({})) -> Any:
    """Return a section in which floats look all the same, but those of options that may also be something else."""
    if isinstance(value, list):
        return [_shared(each, known, options) for each in value]
    if not isinstance(value, dict):
        return value
    if "name" in value:
        options = known.find(value["name"]).options()
        if "params" not in value:  # a group has what the others have
            value = with_added_floats(value, known)
    return {
        key: "·"
        if isinstance(child, float) and key in options and options[key].is_float
        else _shared(child, _NESTED.get(key, known), options)
        for key, child in value.items()
    }
