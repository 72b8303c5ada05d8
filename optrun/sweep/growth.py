"""How a sweep grows: which runs of a plan a store has already, whatever plan it had when they were made."""

import hashlib
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from optrun.config.identity import canonical, canonical_texts, determining
from optrun.store import RunRecord
from optrun.sweep.expand import Plan
from optrun.sweep.packs import Group
from optrun.training.identity import data_key


def family_of(plan: Plan) -> str:
    """Return the SHA-256, in hex, of what a sweep and those into which it can grow have in common.

    The values of parameters may be others, and what goes with one of them, and repeats, trials and the metric; but
    where decisions depend on all of it.
    """
    sweep = plan.swept.sweep
    if plan.is_decided_on_the_way:
        return plan.digest
    groups = [group for each in (sweep, *sweep.spaces) for group in ([*each.parameters], *each.zip)]
    paths = {path for group in groups for path in group}
    shared = determining(plan.documents[0])
    for path in paths or {path for each in sweep.include for path in each}:
        section = path.partition(".")[0]
        shared = _without(shared, section if path == f"{section}.name" else path)
    if not isinstance(sweep.repeats, int):
        shared.pop("seed", None)
    drawn = None if sweep.method == "grid" else [sweep.method, sweep.seed]
    text = canonical({"shared": shared, "paths": sorted(paths), "drawn": drawn})
    return hashlib.sha256(text.encode()).hexdigest()


def found_among(
    records: Sequence[RunRecord], data: Mapping[str, str], plan: Plan, groups: Sequence[Group]
) -> dict[int, int]:
    """Return which of the runs that there are each run of a plan is, where there is one.

    They are the same where all is that determines results: of the data, whose fingerprints are ``data`` by `data_key`
    of those that there are, and the groups' of the plan, what they hold.
    """
    there: defaultdict[bytes, deque[int]] = defaultdict(deque)
    documents = [record.config for record in records]
    fingerprints = (data.get(data_key(document), "") for document in documents)
    for record, key in zip(records, _keys(documents, fingerprints), strict=True):
        there[key].append(record.run)
    of_run = {run: group.data for group in groups for run in group.runs}
    wanted = _keys(plan.documents, (of_run.get(run, "") for run in range(len(plan.documents))))
    return {run: there[key].popleft() for run, key in enumerate(wanted) if there.get(key)}


def _keys(documents: Sequence[Mapping[str, Any]], fingerprints: Iterable[str]) -> Iterator[bytes]:
    for text, data in zip(canonical_texts(documents), fingerprints, strict=True):
        yield hashlib.sha256(f"{data}\n{text}".encode()).digest()


def _without(values: Any, path: str) -> Any:
    """Return values without what is at a path of them."""
    head, _, rest = path.partition(".")
    if isinstance(values, list):
        values = {str(index): value for index, value in enumerate(values)}
    if not isinstance(values, dict) or head not in values:
        return values
    kept = {key: value for key, value in values.items() if key != head}
    return kept | {head: _without(values[head], rest)} if rest else kept
