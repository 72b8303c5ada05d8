"""A sweep → its runs, in the order of its plan; what is drawn depends on the sweep's seed alone."""

import hashlib
import json
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from optrun.config import ConfigErrors, Issue, RunConfig
from optrun.config.identity import canonical, canonical_texts, determining
from optrun.config.model.options import SWEEP
from optrun.config.same_problem import problem_keys
from optrun.config.sweep.model import Metric
from optrun.config.sweep.resolve import SweepConfig
from optrun.config.sweep.variants import Variant, Variants
from optrun.config.yaml.errors import condensed, in_order
from optrun.registry import SECTIONS
from optrun.store import blocks
from optrun.store.runs import Runs
from optrun.store.types import TIME_TO_TARGET
from optrun.sweeps.methods.method import Method, method_of, proposed
from optrun.sweeps.plan.completed import Completed, Settings
from optrun.sweeps.plan.spaces import Setting

CONFIRM = "confirm"
"""What of a sweep says which settings run again once it is through: no part of what its own runs are."""

MAX_RUNS = 1_000_000
MAX_REFUSED = 100
"""How many settings that cannot be used are looked at before their issues are raised."""
MAX_SEED = 2**63


@dataclass(frozen=True)
class Plan:
    """Every run of a sweep: the repeats of its first setting, then those of the next one."""

    swept: SweepConfig
    repeats: int
    nodes: Sequence[Setting] = ()
    """The values of the swept parameters by their paths, with their places."""
    settings: Sequence[dict[str, Any]] = ()
    """The same as plain values."""
    configs: Sequence[RunConfig] = ()
    documents: Sequence[dict[str, Any]] = ()
    """The config of each run, as plain values."""
    equal: int = 0
    """How many settings were left out because their configs are those of earlier ones."""
    columns: tuple[Settings, Completed] | None = None
    """Of what the settings and configs are made when they are asked for, if they are."""

    @classmethod
    def of(cls, swept: SweepConfig, settings: Settings, completed: Completed, equal: int = 0) -> "Plan":
        """Return the plan of settings and their configs in columns."""
        nodes, plain = settings.nodes, settings.plain
        made = completed.configs, completed.documents
        return cls(swept, swept.sweep.seeds, nodes, plain, *made, equal, (settings, completed))

    @property
    def name(self) -> str:
        """What the sweep is called."""
        return self.swept.name

    @property
    def metric(self) -> Metric:
        """By what settings are ranked."""
        return self.swept.sweep.metric

    @property
    def most_lanes(self) -> int | None:
        """The most lanes of a pack, if what settings are ranked by limits it: lanes have no times of their own."""
        return 1 if self.metric.name == TIME_TO_TARGET else None

    @cached_property
    def method(self) -> Method:
        """What chooses the settings; it is asked by an instance of its own."""
        return method_of(self.swept, self.configs)

    @property
    def crossed(self) -> list[str]:
        """The paths of whose values every drawn setting has each, and those that are paired with them."""
        return sorted({path for space in self.method.spaces for each in space.crossed for path in each.paths})

    @property
    def size(self) -> int:
        """How many runs there are to be in all, those that are to be added on the way among them."""
        if not self.method.grows:
            return len(self.configs)
        return (len(self.swept.sweep.include) + self.method.total()) * self.repeats

    @property
    def outline(self) -> list[tuple[int, int | None]]:
        """Of each stage how many settings it has, at most, and the step to which they go; None is their end."""
        counts = Counter(self.problems).values() if self.method.prunes else [len(self.settings)]
        outlines = [self.method.outline(count) for count in counts]
        if len(outlines) == 1:
            return outlines[0]

        def reach(until: int | None) -> float:
            return math.inf if until is None else until

        ends = sorted({until for each in outlines for _, until in each}, key=reach)
        # A problem without a comparison at a rung has there what comes to its next one.
        return [
            (sum(next(count for count, of in each if reach(of) >= reach(until)) for each in outlines), until)
            for until in ends
        ]

    def extended(self, nodes: Sequence[Setting]) -> "Plan":
        """Return the plan with more settings; raises ConfigErrors."""
        more = Settings(nodes), completed(self.swept, nodes)
        if self.columns is not None:
            settings, configs = self.columns
            more = settings + more[0], configs + more[1]
        return Plan.of(self.swept, *more, self.equal)

    def distinct(self) -> "Plan":
        """Return the plan with the first of all settings whose configs are equal."""
        if self.columns is not None and self.columns[1].differ:
            return self
        if self.columns is not None:
            settings, configs = self.columns
            texts = configs.texts(configs.runs[:: self.repeats], whole=True)
        else:
            texts = canonical_texts(self.documents[:: self.repeats], whole=True)
        known: set[bytes] = set()
        kept = array("q")
        for setting, text in enumerate(texts):
            digest = hashlib.sha256(text.encode()).digest()
            if digest not in known:
                known.add(digest)
                kept.append(setting)
        if (equal := len(self.nodes) - len(kept)) == 0:
            return self
        if self.columns is not None:
            return Plan.of(self.swept, settings.chosen(kept), configs.chosen(kept), equal)
        runs = [setting * self.repeats + i for setting in kept for i in range(self.repeats)]
        return replace(
            self,
            nodes=[self.nodes[setting] for setting in kept],
            settings=[self.settings[setting] for setting in kept],
            configs=[self.configs[run] for run in runs],
            documents=[self.documents[run] for run in runs],
            equal=equal,
        )

    @cached_property
    def digest(self) -> str:
        """The SHA-256, in hex, of all that decides the results, and how they are ranked.

        How many trials there are is no part of it where settings are added on the way: those that were made are the
        first ones of more.
        """
        digest = hashlib.sha256(self.metric.model_dump_json().encode())
        if self.method.prunes:
            digest.update(json.dumps(self.method.basis).encode())
        if self.method.grows:  # and has not asked for all runs yet
            written = determining(self.swept.to_dict())
            block = {
                key: value for key, value in written.pop(SWEEP).items() if key not in ("trials", CONFIRM)
            }
            digest.update(canonical({**written, SWEEP: block}).encode())
            return digest.hexdigest()
        for text in self.texts():
            digest.update(text.encode())
        return digest.hexdigest()

    @property
    def told(self) -> Sequence[Mapping[str, Any]]:
        """The settings as they are stored: in columns where they are many."""
        if self.columns is None or len(self.settings) < blocks.LEAST_RUNS:
            return self.settings
        return self.columns[0].columns

    def texts(self, first: int = 0) -> Iterator[str]:
        """Yield the canonical text of what is determining in the config of each run from ``first`` on."""
        if self.columns is None:
            return canonical_texts(self.documents[first:])
        _, configs = self.columns
        return configs.texts(configs.runs[first:])

    def rows(self, first: int = 0) -> Runs:
        """Return what a store is told of each run from ``first`` on: its config, or the JSON of it, and its seed."""
        if self.columns is None:
            return ((document, document["seed"]) for document in self.documents[first:])
        return self.columns[1].stored(first)

    def seeds(self) -> Iterable[int]:
        """Return the seed of each run."""
        if self.columns is None:
            return (config.seed for config in self.configs)
        _, configs = self.columns
        seeds: list[int] = configs.seeds(np.asarray(configs.runs)).tolist()
        return seeds

    def configs_of(self, runs: Sequence[int]) -> Sequence[RunConfig]:
        """Return the configs of a pack of runs, which are small where they are sent to a worker."""
        return [self.configs[run] for run in runs] if self.columns is None else self.columns[1].of_pack(runs)

    def first_of_kinds(self) -> Iterable[RunConfig]:
        """Yield configs from which all others differ in floats of their sections, and in seeds, alone."""
        return self.configs if self.columns is None else self.columns[1].first_of_kinds()

    @cached_property
    def paths(self) -> list[str]:
        """The paths of the swept parameters, in the order in which settings have them."""
        if self.columns is None:
            return list(dict.fromkeys(path for setting in self.settings for path in setting))
        return self.columns[0].paths

    @cached_property
    def problems(self) -> Sequence[str]:
        """What tells the problem of each setting; empty texts where all are of one."""
        return problem_keys(self.told, lambda setting: self.documents[setting * self.repeats])

    @property
    def has_several_problems(self) -> bool:
        """Whether its settings are of several problems, so that their metrics cannot be compared."""
        return len(set(self.problems)) > 1

    @property
    def is_decided_on_the_way(self) -> bool:
        """Whether what is run depends on how earlier runs did."""
        return self.method.grows or self.method.prunes


def expand(swept: SweepConfig) -> Plan:
    """Return the runs of a sweep, each validated, and each once where its method does not choose them on the way.

    Raises ConfigErrors with the place of every value that makes no config, and where there are too many runs, and
    MissingExtraError where the method needs a package that is not installed.
    """
    plan = Plan(swept, swept.sweep.seeds).extended(_settings(swept))
    if not plan.method.grows:
        plan = plan.distinct()
    return plan


def foreseen(swept: SweepConfig) -> int:
    """Return how many runs a sweep has, those among them that are left out or equal to others."""
    return (method_of(swept).total() + len(swept.sweep.include)) * swept.sweep.seeds


def completed(swept: SweepConfig, settings: Sequence[Setting]) -> Completed:
    """Return the configs of settings, those of all seeds of the first one first; raises ConfigErrors."""
    repeats = swept.sweep.repeats
    found: list[Variant] = []
    issues: dict[Issue, None] = {}
    refused = 0
    for setting, variant in zip(settings, Variants(swept).find_all(settings), strict=True):
        if isinstance(variant, ConfigErrors):
            issues |= dict.fromkeys(_advised(issue, setting) for issue in variant.issues)
            refused += 1
            if refused == MAX_REFUSED:
                break
        else:
            last = variant.kind.config.seed + repeats - 1 if isinstance(repeats, int) else repeats[-1]
            if last >= MAX_SEED:
                text = f"the last seed would be {last}, and must be < 2⁶³"
                raise ConfigErrors([swept.issue(("repeats",), text)])
            found.append(variant)
    if issues:
        shown = condensed(list(issues), more=refused == MAX_REFUSED)
        raise ConfigErrors(in_order(shown, swept.base.root.place.source))
    return Completed(swept.sweep.seeds, None if isinstance(repeats, int) else repeats, found)


def _advised(issue: Issue, setting: Setting) -> Issue:
    """Return an issue with what to do about a key that is unknown to one of the classes that are swept over."""
    section, _, option = issue.path.partition(".")
    if not option or not issue.message.startswith("unknown key"):
        return issue
    for path in (section, f"{section}.name"):
        if path in setting and section in SECTIONS:
            value = setting[path].plain()
            name = value["name"] if isinstance(value, dict) else value
            advice = f"what varies of one {section} alone goes into a space of its own, under spaces"
            return replace(issue, message=f"{issue.message} ({section}: {name}); {advice}")
    return issue


def _settings(swept: SweepConfig) -> list[Setting]:
    if (runs := foreseen(swept)) > MAX_RUNS:
        raise ConfigErrors([swept.issue((), f"{runs:,} runs are more than {MAX_RUNS:,}")])
    included = [
        {path: swept.varied("include", i, path) for path in each}
        for i, each in enumerate(swept.sweep.include)
    ]
    method = method_of(swept)
    first = proposed(method, ())
    found = list(first.settings) if first is not None else []
    settings = [*included, *found] if method.grows else [*found, *included]
    if not settings:
        raise ConfigErrors([swept.issue(("exclude",), "leaves nothing: there is no run")])
    return settings
