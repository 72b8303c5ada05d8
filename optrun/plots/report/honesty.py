"""What a report rests on: spaces, budgets, seeds, counts, the correction, versions, and how to make it again."""

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optrun
from optrun.analysis.best_settings import ComparedSweep
from optrun.analysis.compare import Evidence
from optrun.analysis.comparison import Comparison
from optrun.analysis.selection import varying
from optrun.analysis.statistics import DRAWS, LEVEL, SIGNIFICANCE
from optrun.config.same_problem import tells_problem
from optrun.errors import counted
from optrun.plots.report.markup import Td, shown, table, text_of
from optrun.store import RunRecord, Store
from optrun.store.locate import CONFIG

LONGEST_CONFIG = 20_000
"""The most characters of a config that are shown."""

MOST_NAMES = 12
"""The most names of a search space that are shown."""


def honesty_box(evidence: Evidence, places: Sequence[Path | None], output: Path) -> str:
    """Return what a comparison was made from, and the command that makes its page again."""
    parts = []
    for source, place in zip(evidence.sources, places, strict=True):
        rows = [[Td(name), Td(text)] for name, text in facts(source, place)]
        parts.append(f"<h3>{shown(source.label)}</h3>{table(['', ''], rows, kind='facts')}{_config(place)}")
    return f"{_statistics(evidence.comparison)}{''.join(parts)}{_command(evidence, places, output)}"


def facts(source: ComparedSweep, place: Path | None) -> Iterator[tuple[str, str]]:
    """Yield what is told of a sweep: a name and a text."""
    plan = source.plan
    yield "directory", "not saved" if place is None else str(place)
    if plan.method:
        yield "method", plan.method
    yield "selected by", f"{plan.metric}, {plan.goal}d, the median over {counted(plan.repeats, 'seed')}"
    yield "settings", f"{len(plan.settings):,}"
    for path in varying(plan):
        if not tells_problem(path):
            yield path, _range(plan.settings, path)
    yield "seeds", _seeds(source.runs)
    yield "runs", _counts(source.runs)
    yield "digest of the results", results_digest(source.runs)
    confirmed = source.confirmed
    if confirmed is not None and confirmed is not source:
        yield "confirmed", f"{counted(len(confirmed.plan.settings), 'setting')}, {_counts(confirmed.runs)}"
        yield "fresh seeds", _seeds(confirmed.runs)
        yield "digest of the confirmation", results_digest(confirmed.runs)
    elif confirmed is None:
        yield "confirmed", "no: the seeds that are reported are those of the selection"
    if plan.plugins:
        yield "plugins", ", ".join(plan.plugins)
    yield from _versions(place)


def _range(settings: Sequence[Mapping[str, Any]], path: str) -> str:
    """Return what was tried at a path, in words; settings that do not have it do not count."""
    values = [setting[path] for setting in settings if path in setting]
    distinct = list({json.dumps(value, sort_keys=True, default=str): value for value in values}.values())
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in distinct):
        return f"{min(distinct):.4g} … {max(distinct):.4g} ({counted(len(distinct), 'value')})"
    more = f" and {len(distinct) - MOST_NAMES} more" if len(distinct) > MOST_NAMES else ""
    return ", ".join(map(text_of, distinct[:MOST_NAMES])) + more


def _seeds(runs: Sequence[RunRecord]) -> str:
    seeds = sorted({run.seed for run in runs})
    return ", ".join(map(str, seeds)) if len(seeds) <= 20 else f"{len(seeds)} from {seeds[0]} to {seeds[-1]}"


def _counts(runs: Sequence[RunRecord]) -> str:
    counts = Counter(str(run.status).replace("_", " ") for run in runs)
    return f"{counted(len(runs), 'run')}: {', '.join(f'{count:,} {name}' for name, count in counts.most_common())}"


def results_digest(runs: Sequence[RunRecord]) -> str:
    """Return the SHA-256 of the configs, seeds, ends and summaries of runs, which equal results share."""
    found = hashlib.sha256()
    for run in runs:
        line = [run.config, run.seed, str(run.status), run.steps, dict(run.summary)]
        found.update(json.dumps(line, sort_keys=True, ensure_ascii=True).encode() + b"\n")
    return found.hexdigest()


def _versions(place: Path | None) -> Iterator[tuple[str, str]]:
    if place is None:
        return
    with Store.open(place) as store:
        found = store.environments()
    for name in ("optrun", "python", "numpy", "numba", "platform", "cpu"):
        values = dict.fromkeys(str(each[name]) for each in found if each.get(name) is not None)
        if values:
            yield name, ", ".join(values)
    revisions = [git for each in found if isinstance(git := each.get("git"), Mapping)]
    if texts := dict.fromkeys(str(git.get("revision", "")) for git in revisions if git.get("revision")):
        yield "git", ", ".join(texts)


def _config(place: Path | None) -> str:
    if place is None or not (file := place / CONFIG).is_file():
        return ""
    text = file.read_text(encoding="utf-8", errors="replace")
    cut = "\n…" if len(text) > LONGEST_CONFIG else ""
    lines = "\n".join(shown(line) for line in text[:LONGEST_CONFIG].split("\n"))
    return f"<details><summary>config.yaml</summary><pre>{lines}{cut}</pre></details>"


def _statistics(found: Comparison) -> str:
    rows = [row for of in found.problems for row in of.rows]
    tested = sum(row.separable is not None for row in rows)
    tests = (
        f"{counted(tested, 'comparison')} with {found.baseline}, by the exact signed-rank test of Wilcoxon on pairs of "
        f"equal seeds; p-values corrected by Holm for their number, at a level of {100 * SIGNIFICANCE:.0f} %."
    )
    words = [
        tests if tested else f"No difference to {found.baseline} is tested.",
        f"Intervals: {100 * LEVEL:.0f} %, percentile bootstrap of {DRAWS:,} draws.",
        "A run that diverged counts as the worst; a failed one is left out.",
    ]
    return f"<p>{shown(' '.join(words))}</p>"


def _command(evidence: Evidence, places: Sequence[Path | None], output: Path) -> str:
    made = f"Made by optrun {optrun.__version__}."
    if None in places:
        return f"<p>{shown(made)}</p>"
    found = evidence.comparison
    words = ["optrun", "report", *map(str, places), "--by", found.by]
    words += ["--baseline", found.baseline, "--metric", found.metric, "-o", str(output)]
    return f"<p>{shown(made)} The same page again:</p><pre>{shown(shlex.join(words))}</pre>"
