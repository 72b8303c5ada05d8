"""How a sweep grows: which runs of a plan a store has already, whatever plan it had when they were made."""

import hashlib
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optrun.config.identity import canonical, canonical_texts, determining
from optrun.config.sweep.rules import GRID
from optrun.store import RunRecord
from optrun.sweeps.plan.expand import Plan
from optrun.sweeps.plan.packs import Group
from optrun.training.identity import Identity


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
    options = [sweep.method_options] if sweep.method_options else []
    drawn = None if sweep.method == GRID else [sweep.method, sweep.seed, *options]
    text = canonical({"shared": shared, "paths": sorted(paths), "drawn": drawn})
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class There:
    """A run that there is, and of what it was made; None where only a part of it was made of one thing."""

    record: RunRecord
    identity: Identity | None


def found_among(there: Sequence[There], plan: Plan, groups: Sequence[Group]) -> dict[int, int]:
    """Return the numbers of those runs, of the ones that there are, which the runs of a plan are."""
    by_text: defaultdict[bytes, deque[There]] = defaultdict(deque)
    for each, text in zip(there, _texts(there, plan), strict=True):
        by_text[text].append(each)
    found: dict[int, int] = {}
    identities = _identities(plan, groups)
    for run, (document, text) in enumerate(zip(plan.documents, map(_digest, plan.texts()), strict=True)):
        alike = by_text.get(text, deque())
        for each in alike:
            if _is_made_of(each, document, identities[run]):
                found[run] = each.record.run
                alike.remove(each)
                break
    return found


def are_first(there: Sequence[There], plan: Plan, groups: Sequence[Group], first: int = 0) -> bool:
    """Return whether runs are those of a plan from ``first`` on, in their order, as far as both have them."""
    documents = plan.documents[first:]
    identities = _identities(plan, groups)[first:]
    wanted = zip(documents, map(_digest, plan.texts(first)), identities, strict=True)
    return all(
        text == its and _is_made_of(each, document, identity)
        for each, text, (document, its, identity) in zip(
            there, _texts(there, plan, first), wanted, strict=False
        )
    )


def _is_made_of(there: There, document: Mapping[str, Any], wanted: Identity) -> bool:
    """Return whether a run is the one of a config whose text is the same: it is where data and code are.

    Of the data of which nothing is known, it is the place that counts; unknown code is no other code.
    """
    if (own := there.identity) is None:
        return False
    data = own.fingerprint, wanted.fingerprint
    is_same = (
        data[0] == data[1] if all(data) else there.record.config.get("problem") == document.get("problem")
    )
    return is_same and all(own.code.get(name, of).sha256 == of.sha256 for name, of in wanted.code.items())


def _identities(plan: Plan, groups: Sequence[Group]) -> list[Identity]:
    of_run = {run: group.identity for group in groups for run in group.runs}
    nothing = Identity()
    return [of_run.get(run, nothing) for run in range(len(plan.documents))]


def _texts(there: Sequence[There], plan: Plan, first: int = 0) -> Iterator[bytes]:
    """Yield a digest of what is determining in each run; parts that are one object, as in a plan, are encoded once."""
    documents = plan.documents
    known = range(first, len(documents))
    numbered = ((each.record.run, each.record.config) for each in there)
    pairs = ((own, documents[run] if run in known else {}) for run, own in numbered)
    return map(_digest, canonical_texts(its if its == own else own for own, its in pairs))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _without(values: Any, path: str) -> Any:
    """Return values without what is at a path of them."""
    head, _, rest = path.partition(".")
    if isinstance(values, list):
        values = {str(index): value for index, value in enumerate(values)}
    if not isinstance(values, dict) or head not in values:
        return values
    kept = {key: value for key, value in values.items() if key != head}
    return kept | {head: _without(values[head], rest)} if rest else kept
